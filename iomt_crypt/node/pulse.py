"""How the supervisor knows that a part of the node makes progress.

Before each step a part says by when it will speak again. A part that lets that moment pass hangs, and is replaced.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress

_PROMISE = struct.Struct("<d")  # smaller than PIPE_BUF, so a write is whole or not at all
_LOOK_S = 30.0  # the supervisor looks several times as often
_START_S = 900.0  # until the first word: the kernels are compiled once on a machine, which may be a busy one


class Pulse:
    """The end of a part: ``promise(seconds)``. Never waits."""

    def __init__(self, write_fd: int) -> None:
        self._write_fd = write_fd
        os.set_blocking(write_fd, False)

    def promise(self, within_s: float) -> None:
        """Say that there will be another word within ``within_s`` seconds."""
        # A full pipe: the supervisor is busy, and has promises enough to read. A broken one: it is gone.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._write_fd, _PROMISE.pack(within_s))


class PulseWatch:
    """The end of the supervisor, for one process after the other."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        self._until = self._looked_at = 0.0
        self.reset()

    def reset(self) -> None:
        """A new process begins."""
        self._read()
        self._looked_at = time.monotonic()
        self._until = self._looked_at + _START_S

    def late_s(self) -> float:
        """By how many seconds the last promise is broken; zero or less when it is not."""
        now = time.monotonic()
        # Whoever was stopped together with the part (a debugger, a frozen container) gives it that time again.
        self._until += max(now - self._looked_at - _LOOK_S, 0.0)
        self._looked_at = now
        for within_s in self._read():
            self._until = now + within_s
        return now - self._until

    def _read(self) -> list[float]:
        data = b""
        with suppress(BlockingIOError):
            while part := os.read(self.read_fd, 4096):
                data += part
        return [value for (value,) in _PROMISE.iter_unpack(data[: len(data) // _PROMISE.size * _PROMISE.size])]

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_fd)
        os.close(self.write_fd)
