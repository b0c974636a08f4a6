"""A wake-up call between processes: a pipe that nobody ever blocks on."""

from __future__ import annotations

import os
import select
import signal


class Wake:
    """Wakes the process that waits. Only the fact arrives, however often `call` was used; nothing is lost or queued.

    The two ends are file descriptors, so they can be handed to child processes; a missing end is -1.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        for descriptor in (read_fd, write_fd):
            if descriptor >= 0:
                os.set_blocking(descriptor, False)

    @classmethod
    def create(cls) -> Wake:
        """A new pair of ends."""
        return cls(*os.pipe())

    def call(self) -> None:
        """Wake the one who waits, now or when it next waits. Safe in a signal handler."""
        try:
            os.write(self.write_fd, b"\0")
        except (BlockingIOError, BrokenPipeError):
            # A full pipe has calls enough in it; a broken one has nobody left to wake.
            return

    def on_signal(self) -> None:
        """Be called by every signal that has a handler, from now on; for the main thread only.

        A handler alone is not enough: a signal that comes just before the wait begins would have its handler run only
        when the wait is over.
        """
        signal.set_wakeup_fd(self.write_fd, warn_on_full_buffer=False)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a call; return whether one came within ``timeout_s`` seconds."""
        ready, _, _ = select.select([self.read_fd], [], [], timeout_s)
        if not ready:
            return False
        try:
            while len(os.read(self.read_fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        return True

    def close(self) -> None:
        """Close both ends."""
        for descriptor in (self.read_fd, self.write_fd):
            if descriptor >= 0:
                os.close(descriptor)
