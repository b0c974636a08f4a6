"""From the spool to the archive: claim, let the guard look, send, let the answer decide."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.uid import ExplicitVRLittleEndian

from iomt_crypt.errors import InputError, NetworkError, StorageError
from iomt_crypt.node import status
from iomt_crypt.node.backoff import Backoff
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.destination import PluginClient
from iomt_crypt.node.entry import Entry, State
from iomt_crypt.node.history import is_ours_alone
from iomt_crypt.node.journal import Journal
from iomt_crypt.node.route import Routes
from iomt_crypt.node.spool import Spool

if TYPE_CHECKING:
    from iomt_crypt.checks import Guard

_log = logging.getLogger(__name__)

# Objects claimed at a time, with one commit for all. Few enough that a person's hold finds most of a queue unclaimed.
_BATCH = 16
_LEASE_S = 3600.0
# The journal is looked at this often even when nobody wakes the forwarder: a person may have released something.
_POLL_S = 2.0


class Forwarder:
    """Delivers what is queued, in order of arrival.

    Two kinds of failure are kept apart. When the archive is away or full, everything waits, and is tried again for
    ever. When it refuses one object, that object steps back behind the others, and fails after ``max_attempts``.

    ``guard`` looks at each object before it is sent; None: nobody does.
    """

    def __init__(self, config: NodeConfig, *, spool: Spool, journal: Journal, guard: Guard | None = None) -> None:
        destination = config.destination
        self._guard = guard
        self._destination = destination
        self._spool = spool
        self._journal = journal
        self._backoff = Backoff(destination.retry_first_seconds, destination.retry_limit_seconds)
        self._routes = Routes(destination.predicates)
        self._client = _client(config)
        self._n_failures = 0  # of the destination, in a row
        self._retry_at = 0.0
        # Of the batch in hand and not noted yet, each with the archive's warning.
        self._delivered: list[tuple[Entry, str]] = []

    def recover(self) -> None:
        """Put journal and spool in step after the last forwarder ended, however it ended."""
        n_queued = self._journal.requeue_sending()
        n_missing = 0
        for entry in self._journal.undelivered():
            if not self._spool.path(entry.spool_name).exists():
                self._journal.lost(entry.id, reason="its file is missing from the spool")
                n_missing += 1
        for name, state in self._journal.known(self._spool.names()).items():
            if state in (State.DELIVERED, State.COMMITTED):
                self._spool.remove(name)
        if n_queued or n_missing:
            _log.warning("recovered n_queued_again=%d n_files_missing=%d", n_queued, n_missing)

    def run(self, *, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Deliver until ``stop()``. ``wait(seconds)`` returns early when there may be work."""
        idle_since: float | None = None
        while not stop():
            try:
                entries = self._claim()
                self._deliver(entries, stop)
            except StorageError as error:
                # The journal cannot be written, for want of room most likely: nothing is delivered that could not be
                # noted, and the claim lapses.
                _log.error("forwarding waits: %s", error)
                self._put_off()
                self._journal_back(stop, wait)
                continue
            if entries:
                idle_since = None
                continue
            now = time.monotonic()
            idle_since = now if idle_since is None else idle_since
            if self._client.is_open and now - idle_since >= self._destination.idle_release_seconds:
                self._client.release()
            if not wait(self._pause_s()):
                self._journal.requeue_sending(lease_before=time.time())
        self._client.release()

    def _journal_back(self, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Wait until the claims of the interrupted batch can be given back."""
        while not stop():
            wait(self._pause_s())
            try:
                self._journal.requeue_sending()
            except StorageError:
                continue
            return

    def _claim(self) -> list[Entry]:
        if time.time() < self._retry_at:
            return []
        # One at a time until the archive has shown that it is well again.
        return self._journal.claim(limit=1 if self._n_failures else _BATCH, lease_s=_LEASE_S)

    def _pause_s(self) -> float:
        """Seconds until something becomes due."""
        now = time.time()
        try:
            due = self._journal.next_due()
        except StorageError:
            due = None
        # What is due already and was not claimed waits for an earlier version of itself: only the poll finds it.
        moments = [moment for moment in (due, self._retry_at) if moment is not None and moment > now]
        return min(max(moments, default=now + _POLL_S) - now, _POLL_S)

    def _deliver(self, entries: Sequence[Entry], stop: Callable[[], bool]) -> None:
        rest: Sequence[Entry] = ()
        try:
            for index, entry in enumerate(entries):
                stopping = stop()
                if stopping or not self._deliver_one(entry, entries):
                    rest = entries[index if stopping else index + 1 :]
                    break
        finally:
            self._settle()
        self._journal.unclaimed([other.id for other in rest])

    def _settle(self) -> None:
        """Note the deliveries of a batch, with one durable commit for all: each would make the receiver wait."""
        delivered, self._delivered = self._delivered, []
        for reason in dict.fromkeys(warning for _, warning in delivered):
            entries = [entry for entry, warning in delivered if warning == reason]
            self._journal.delivered([entry.id for entry in entries], reason=reason)
            if reason:
                _log.warning("delivered with a remark, ids %s: %s", [entry.id for entry in entries], reason)
            # Only now: had the node died before the commit, the objects would be sent once more, never less.
            for entry in entries:
                self._spool.remove(entry.spool_name)

    def _deliver_one(self, entry: Entry, batch: Sequence[Entry]) -> bool:
        """Try one object; return False when the destination itself has to be left alone for a while."""
        path = self._spool.path(entry.spool_name)
        try:
            self._client.open([(other.sop_class_uid, ExplicitVRLittleEndian) for other in batch])
        except NetworkError as error:
            # The object had no part in this: its own count stays.
            self._put_off(str(error))
            self._journal.waiting(entry.id, reason=str(error))
            return False
        if not self._may_leave(entry, path):
            return True
        try:
            code, comment = self._client.store(path)
        except NetworkError as error:
            # Perhaps the archive went away, perhaps it chokes on this very object: both wait, and the object steps
            # back so that in the second case the others get through.
            self._put_off(str(error))
            self._step_back(entry, str(error), refused=False)
            return False
        except InputError as error:
            self._refused(entry, str(error))
            return True
        except FileNotFoundError:
            self._journal.failed(entry.id, reason="its file is missing from the spool")
            return True
        except OSError as error:
            self._refused(entry, f"its file cannot be read: {error.strerror}")
            return True
        return self._answered(entry, code, comment)

    def _may_leave(self, entry: Entry, path: Path) -> bool:
        """Ask guard and routes, right before the object is sent: what they have read is what the archive gets."""
        if entry.cleared or not path.exists():
            return True
        # The guard first: whoever releases what a route has turned down knows that the guard had seen it.
        if not self._is_encrypted(entry, path):
            return False
        if refusal := self._routes.refusal(path):
            _log.warning("HELD id=%d sop_instance_uid=%s: %s", entry.id, entry.sop_instance_uid, refusal)
            self._journal.blocked(entry.id, reason=refusal)
            return False
        return True

    def _is_encrypted(self, entry: Entry, path: Path) -> bool:
        """Ask the guard; what it says no to is held, or noted where the policy is to warn."""
        if self._guard is None:
            return True
        verdict = self._guard.check(path, sha256=entry.sha256)
        _log.debug("guard id=%d cost_ms=%.1f", entry.id, verdict.cost_s * 1000)
        if verdict.passed:
            return True
        reason = str(verdict)
        if self._guard.policy.action == "warn":
            if entry.alarm != reason:  # once, and not at every attempt
                _log.warning(
                    "ALARM, sent all the same id=%d sop_instance_uid=%s: %s", entry.id, entry.sop_instance_uid, reason
                )
                self._journal.warned(entry.id, reason=reason)
            return True
        _log.error("HELD by the guard id=%d sop_instance_uid=%s: %s", entry.id, entry.sop_instance_uid, reason)
        self._journal.blocked(entry.id, reason=reason)
        return False

    def _answered(self, entry: Entry, code: int, comment: str) -> bool:
        is_ours = code == status.DUPLICATE and self._journal.ask(partial(is_ours_alone, entry=entry))
        verdict = status.judge(code, is_ours=is_ours)
        text = f"{self._client.peer} answered 0x{code:04X} ({status.meaning(code)})" + (
            f": {comment}" if comment else ""
        )
        if verdict is status.Verdict.DELIVERED:
            self._n_failures = 0
            if is_ours:  # the answer to an earlier attempt was lost
                text = f"duplicate: the archive has it; {text}"
            self._delivered.append((entry, "" if code == status.SUCCESS else text))
            _log.debug("delivered id=%d sop_instance_uid=%s", entry.id, entry.sop_instance_uid)
            return True
        if verdict is status.Verdict.TRANSIENT:
            self._put_off(text)
            self._step_back(entry, text, refused=False)
            return False
        self._n_failures = 0
        self._refused(entry, text)
        return True

    def _put_off(self, reason: str = "") -> None:
        self._n_failures += 1
        delay_s = self._backoff.delay_s(self._n_failures)
        self._retry_at = time.time() + delay_s
        if reason:
            _log.warning("destination: %s; next attempt in %.1f s", reason, delay_s)

    def _refused(self, entry: Entry, reason: str) -> None:
        if entry.refusals + 1 >= self._destination.max_attempts:
            self._journal.failed(entry.id, reason=reason)
            _log.error("failed id=%d sop_instance_uid=%s: %s", entry.id, entry.sop_instance_uid, reason)
        else:
            self._step_back(entry, reason, refused=True)
            _log.warning("refused id=%d sop_instance_uid=%s: %s", entry.id, entry.sop_instance_uid, reason)

    def _step_back(self, entry: Entry, reason: str, *, refused: bool) -> None:
        not_before = time.time() + self._backoff.delay_s(entry.attempts + 1)
        self._journal.deferred(entry.id, reason=reason, not_before=not_before, refused=refused)


def _client(config: NodeConfig) -> Client | PluginClient:
    destination = config.destination
    if destination.plugin is not None:
        return PluginClient(destination.plugin)
    return Client(
        destination.peer,
        calling_ae_title=destination.calling_ae_title or config.node.ae_title,
        timeouts=Timeouts(destination.connect_seconds, destination.answer_seconds),
    )
