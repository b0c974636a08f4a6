"""A part of the node, receiver or forwarder: a process forked from the supervisor.

Forked, not started anew: what the parts import takes a second of a processor and is imported once, their code shares
its memory, one that died is back in milliseconds, and runs the code of its supervisor also while another version is
being installed. The supervisor has one more thread, which writes its log; it holds no lock that a part ever takes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from setproctitle import setproctitle

from iomt_crypt.node.lifeline import RELOAD, SIGNALS
from iomt_crypt.node.log_output import leave, log_unexpected
from iomt_crypt.node.pulse import Pulse, PulseWatch

Work = Callable[[int, Pulse], int]
"""What a part does, in its process: takes the descriptor of its lifeline and its pulse, returns the exit status."""

_CONTEXT = multiprocessing.get_context("fork")


class Part:
    """What the supervisor knows about a part, and its process where it has one.

    Attributes
    ----------
    started_at, restart_at
        Seconds of the monotonic clock: of its last start, and before which it is not started again.
    n_crashes
        In a row.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self.pulse = PulseWatch()
        self.n_crashes = 0
        self.started_at = self.restart_at = 0.0
        self._process: multiprocessing.context.ForkProcess | None = None
        self._lifeline_fd = -1

    @property
    def is_there(self) -> bool:
        """Whether it has a process, alive or dead, that was not given up."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative where a signal ended it, as in `subprocess`."""
        return self._process.exitcode if self._process is not None else None

    @property
    def descriptors(self) -> list[int]:
        """Those that no other part may keep open."""
        return [fd for fd in (self._lifeline_fd, self.pulse.read_fd, self.pulse.write_fd) if fd >= 0]

    def start(self, work: Work, *, closing: Iterable[int] = ()) -> None:
        """Fork a process that does ``work``; it closes the descriptors ``closing`` first.

        All other descriptors stay open in it: with the lock on the spool, so no other node starts beside what is left
        of this one.
        """
        self.pulse.reset()
        read_fd, write_fd = os.pipe()
        unwanted = [*closing, write_fd, self.pulse.read_fd]
        self._process = _CONTEXT.Process(target=self._run, args=(work, read_fd, unwanted), name=self.role)
        # A signal that came before the part has its own handlers would be taken by ours, and be lost to it.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(read_fd)
        self._lifeline_fd = write_fd
        self.started_at = time.monotonic()

    def _run(self, work: Work, lifeline_fd: int, unwanted: Iterable[int]) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in unwanted:
                os.close(descriptor)
            setproctitle(f"iomt-crypt node {self.role}")
            code = work(lifeline_fd, Pulse(self.pulse.write_fd))
        except Exception as error:  # noqa: BLE001 - it ends the process, and the supervisor starts another one
            log_unexpected(error)
        # Not by returning: a reactor thread of an association that hangs in the kernel must not keep the process.
        leave(code)

    def reload(self) -> None:
        """Have the keys read again. By the lifeline, since a signal would end a process that is only just starting."""
        if self._lifeline_fd >= 0:
            with suppress(BrokenPipeError):
                os.write(self._lifeline_fd, RELOAD)

    def send_signal(self, number: int) -> None:
        """Send a signal; a process that has ended gets none."""
        if self._process is not None and self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; return whether it came."""
        if self._process is not None:
            self._process.join(timeout_s)
        return self.exit_status is not None

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self.send_signal(signal.SIGKILL)
        if self._process is not None:
            self._process.join()

    def give_up(self) -> None:
        """Forget the process, which has ended."""
        if self._lifeline_fd >= 0:
            os.close(self._lifeline_fd)
        self._process, self._lifeline_fd = None, -1
