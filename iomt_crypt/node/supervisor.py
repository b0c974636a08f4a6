"""``iomt-crypt node run``: one process that keeps receiver and forwarder alive.

Two processes, because a Python process tops out near 250 objects/s, and because either may die without the other:
they share the spool, the journal and a pipe, nothing else.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field

from iomt_crypt.errors import DiskFullError
from iomt_crypt.node.backoff import Backoff
from iomt_crypt.node.child import EXIT_CANNOT_START
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.pulse import PulseWatch
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.wake import Wake

_log = logging.getLogger(__name__)

_RESTART = Backoff(first_s=0.5, limit_s=30.0)
# A child that ran for so long before it died is started again at once.
_STEADY_S = 60.0
_TRACE_S = 1.0  # for a process that hangs to write where it is


@dataclass
class _Child:
    role: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    n_crashes: int = 0
    restart_at: float = 0.0
    pulse: PulseWatch = field(default_factory=PulseWatch)


class Supervisor:
    """Runs a node. `run` returns when the node has ended."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._spool = Spool(config.spool.folder, reserve_bytes=config.spool.reserve_bytes)
        self._children = [_Child("receiver"), _Child("forwarder")]
        self._events = Wake.create()  # a signal came, or a child ended
        self._pipe = Wake.create()  # receiver wakes forwarder; both ends stay open here, so either may be restarted
        self._stopping = False
        self._reload = False
        self._lock_fd = -1

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return 0, or 1 when a part cannot start or had to be killed.

        At SIGHUP the keys are read again.

        Raises
        ------
        StorageError
            When the spool cannot be used or another node has it.
        ConfigurationError
            When the journal belongs to another version, or packages of the guard are missing.
        """
        self._config.checks.guard.require_packages()
        # Everything that is written here is nobody else's, whatever makes it; the children inherit it.
        os.umask(0o077)
        self._spool.create()
        self._lock_fd = self._spool.lock(wait_s=5.0)
        self._spool.withdraw()
        self._events.on_signal()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # to end the wait; what happened is seen by polling
        n_unable = 0
        try:
            # The children import what they need while the journal is made; they go on when they get their
            # configuration.
            for child in self._children:
                self._start(child)
            self._create_journal()
            for child in self._children:
                self._configure(child)
            n_unable = self._watch()
        finally:
            n_killed = self._end()
            self._spool.withdraw()
            os.close(self._lock_fd)
        _log.info("node stopped")
        return 1 if n_unable or n_killed else 0

    def _create_journal(self) -> None:
        from iomt_crypt.node.journal import Journal

        journal = Journal(self._spool.journal_path)
        try:
            journal.create()
        except DiskFullError:
            if not self._spool.ballast.give_up():
                raise
            _log.error("the disk is full; the room set aside for the journal is given up")
            journal.create()
        finally:
            journal.close()

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    def _on_reload(self, *_: object) -> None:
        self._reload = True

    def _watch(self) -> int:
        """Start and restart the children until the node is to stop; return 1 when one cannot start."""
        while not self._stopping:
            if self._reload:
                self._reload = False
                self._tell_receiver()
            now = time.monotonic()
            for child in self._children:
                if child.process is not None and child.process.poll() is not None:
                    # What is wrong now was right when the node became ready: a person is mending a key file perhaps.
                    # The forwarder loads the guard for seconds, and is not ready yet when the receiver is.
                    never_ran = self._spool.announced() is None or (child.role == "forwarder" and not child.n_crashes)
                    if child.process.returncode == EXIT_CANNOT_START and never_ran:
                        return 1
                    self._note_crash(child, now)
                self._replace_if_stuck(child)
                if child.process is None and now >= child.restart_at:
                    self._start(child)
                    self._configure(child)
            due = [child.restart_at - now for child in self._children if child.process is None]
            self._events.wait(max(min([*due, 5.0]), 0.01))
        return 0

    def _replace_if_stuck(self, child: _Child) -> None:
        """End a part that let the moment pass by which it was to make progress; the next look starts it again."""
        process = child.process
        if process is None or process.poll() is not None or (late_s := child.pulse.late_s()) <= 0:
            return
        _log.error("%s makes no progress, late by %.0f s; it is replaced", child.role, late_s)
        process.send_signal(signal.SIGUSR1)  # it writes where its threads are, no values
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TRACE_S)
        process.kill()
        process.wait()
        self._note_crash(child, time.monotonic())

    def _note_crash(self, child: _Child, now: float) -> None:
        assert child.process is not None  # noqa: S101 - for the type checker
        child.n_crashes = 1 if now - child.started_at > _STEADY_S else child.n_crashes + 1
        delay_s = _RESTART.delay_s(child.n_crashes)
        child.restart_at = now + delay_s
        _log.error("%s ended with status %d; restart in %.1f s", child.role, child.process.returncode, delay_s)
        child.process = None

    def _start(self, child: _Child) -> None:
        read_fd, write_fd, pulse_fd = self._pipe.read_fd, self._pipe.write_fd, child.pulse.write_fd
        child.pulse.reset()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "iomt_crypt.node.child", child.role, *map(str, (read_fd, write_fd, pulse_fd))],
            stdin=subprocess.PIPE,
            # The child holds the lock too, so no other node starts beside what is left of this one.
            pass_fds=(read_fd, write_fd, pulse_fd, self._lock_fd),
        )
        child.process = process
        child.started_at = time.monotonic()

    def _configure(self, child: _Child) -> None:
        stdin = child.process.stdin if child.process is not None else None
        if stdin is None:
            return
        # A child that is dead already is noticed by its exit status.
        with suppress(BrokenPipeError):
            stdin.write(self._child_config().model_dump_json().encode() + b"\n")
            stdin.flush()

    def _tell_receiver(self) -> None:
        """Have the keys read again. By its stdin, since a signal would end a process that is only just starting."""
        for child in self._children:
            stdin = child.process.stdin if child.process is not None and child.role == "receiver" else None
            if stdin is not None:
                with suppress(BrokenPipeError):
                    stdin.write(b"r")
                    stdin.flush()

    def _child_config(self) -> NodeConfig:
        """The configuration; a receiver that is started again takes the port it had, also when that was a free one."""
        announced = self._spool.announced()
        if self._config.node.port or announced is None:
            return self._config
        node = self._config.node.model_copy(update={"port": announced["port"]})
        return self._config.model_copy(update={"node": node})

    def _end(self) -> int:
        """Stop the children; return how many had to be killed, which loses nothing but takes a recovery."""
        processes = [child.process for child in self._children if child.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._config.node.grace_seconds
        n_killed = 0
        for process in processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                _log.error("process %d did not end within %.0f s", process.pid, self._config.node.grace_seconds)
                process.kill()
                process.wait()
                n_killed += 1
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()
        return n_killed
