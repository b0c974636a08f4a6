"""``iomt-crypt node run``: one process that keeps receiver and forwarder alive.

Two processes, because a Python process tops out near 250 objects/s, and because either may die without the other:
they share the spool, the journal and a pipe, nothing else.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from functools import partial

from iomt_crypt.errors import DiskFullError
from iomt_crypt.node import child
from iomt_crypt.node.backoff import Backoff
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.part import Part
from iomt_crypt.node.spool import Spool
from iomt_crypt.node.wake import Wake

_log = logging.getLogger(__name__)

_RESTART = Backoff(first_s=0.5, limit_s=30.0)
# A part that ran for so long before it died is started again at once.
_STEADY_S = 60.0
_TRACE_S = 1.0  # for a process that hangs to write where it is


class Supervisor:
    """Runs a node. `run` returns when the node has ended."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._spool = Spool(config.spool.folder, reserve_bytes=config.spool.reserve_bytes)
        self._receiver, self._forwarder = self._parts = (Part("receiver"), Part("forwarder"))
        self._events = Wake.create()  # a signal came, or a part ended
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
        # Everything that is written here is nobody else's, whatever makes it; the parts inherit it.
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
            self._create_journal()
            # What is there now is the parts' as well: memory that no collector writes to stays shared.
            gc.freeze()
            n_unable = self._watch()
        finally:
            n_killed = self._end()
            self._spool.withdraw()
            os.close(self._lock_fd)
        _log.info("node stopped")
        return 1 if n_unable or n_killed else 0

    def _create_journal(self) -> None:
        journal = Journal(self._spool.journal_path)
        try:
            journal.create()
        except DiskFullError:
            if not self._spool.ballast.give_up():
                raise
            _log.error("the disk is full; the room set aside for the journal is given up")
            journal.create()
        finally:
            # No part may inherit a connection.
            journal.close()

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    def _on_reload(self, *_: object) -> None:
        self._reload = True

    def _watch(self) -> int:
        """Start and restart the parts until the node is to stop; return 1 when one cannot start."""
        while not self._stopping:
            if self._reload:
                self._reload = False
                self._receiver.reload()
            now = time.monotonic()
            for part in self._parts:
                if part.exit_status is not None:
                    # What is wrong now was right when the node became ready: a person is mending a key file perhaps.
                    # The forwarder loads the guard for seconds, and is not ready yet when the receiver is.
                    never_ran = self._spool.announced() is None or (part is self._forwarder and not part.n_crashes)
                    if part.exit_status == child.EXIT_CANNOT_START and never_ran:
                        return 1
                    self._note_crash(part, now)
                self._replace_if_stuck(part)
                if not part.is_there and now >= part.restart_at:
                    self._start(part)
            due = [part.restart_at - now for part in self._parts if not part.is_there]
            self._events.wait(max(min([*due, 5.0]), 0.01))
        return 0

    def _replace_if_stuck(self, part: Part) -> None:
        """End a part that let the moment pass by which it was to make progress; the next look starts it again."""
        if not part.is_there or part.exit_status is not None or (late_s := part.pulse.late_s()) <= 0:
            return
        _log.error("%s makes no progress, late by %.0f s; it is replaced", part.role, late_s)
        part.send_signal(signal.SIGUSR1)  # it writes where its threads are, no values
        part.wait(_TRACE_S)
        part.kill()
        self._note_crash(part, time.monotonic())

    def _note_crash(self, part: Part, now: float) -> None:
        part.n_crashes = 1 if now - part.started_at > _STEADY_S else part.n_crashes + 1
        delay_s = _RESTART.delay_s(part.n_crashes)
        part.restart_at = now + delay_s
        _log.error("%s ended with status %d; restart in %.1f s", part.role, part.exit_status, delay_s)
        part.give_up()

    def _start(self, part: Part) -> None:
        others = [fd for other in self._parts if other is not part for fd in other.descriptors]
        work = partial(child.main, part.role, self._part_config(), self._pipe)
        part.start(work, closing=[*others, self._events.read_fd, self._events.write_fd])

    def _part_config(self) -> NodeConfig:
        """The configuration; a receiver that is started again takes the port it had, also when that was a free one."""
        announced = self._spool.announced()
        if self._config.node.port or announced is None:
            return self._config
        node = self._config.node.model_copy(update={"port": announced["port"]})
        return self._config.model_copy(update={"node": node})

    def _end(self) -> int:
        """Stop the parts; return how many had to be killed, which loses nothing but takes a recovery."""
        parts = [part for part in self._parts if part.is_there]
        for part in parts:
            part.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._config.node.grace_seconds
        n_killed = 0
        for part in parts:
            if not part.wait(max(deadline - time.monotonic(), 0.1)):
                _log.error("process %d did not end within %.0f s", part.pid, self._config.node.grace_seconds)
                part.kill()
                n_killed += 1
            part.give_up()
        return n_killed
