"""From the spool to the archive: claim, let the guard look, send, let the answer decide."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydicom.uid import ExplicitVRLittleEndian

from iomt_crypt.errors import DiskFullError, InputError, IomtCryptError, NetworkError, StorageError
from iomt_crypt.foreign_text import printable, shown_uid
from iomt_crypt.node import status
from iomt_crypt.node.backoff import Backoff
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.config import NodeConfig
from iomt_crypt.node.destination import PluginClient
from iomt_crypt.node.entry import Entry, State
from iomt_crypt.node.gate import Gate
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
# What a step may take before the supervisor takes it for a hang. Generous: an archive that takes bytes at all is waited
# for, and one that takes none is noticed by the sockets' own limits.
_STEP_S = 120.0
_SLOWEST_BYTES_PER_SECOND = 20_000
# The journal is looked at this often even when nobody wakes the forwarder: a person may have released something.
_POLL_S = 2.0


class Forwarder:
    """Delivers what is queued, in order of arrival.

    Two kinds of failure are kept apart. When the archive is away or full, everything waits, and is tried again for
    ever. When it refuses one object, that object steps back behind the others, and fails after ``max_attempts``.

    ``guard`` looks at each object before it is sent; None: only its digest is compared.
    ``promise(seconds)`` is called before each step, with the time after which it hangs.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        spool: Spool,
        journal: Journal,
        guard: Guard | None = None,
        promise: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        destination = config.destination
        self._promise = promise
        self._destination = destination
        self._spool = spool
        self._journal = journal
        self._backoff = Backoff(destination.retry_first_seconds, destination.retry_limit_seconds)
        self._gate = Gate(journal, guard=guard, routes=Routes(destination.predicates))
        self._client = _client(config)
        self._n_failures = 0  # of the destination, in a row
        self._retry_at = -math.inf  # monotonic: clocks are set back
        # Of the batch in hand and not noted yet, each with the archive's warning.
        self._delivered: list[tuple[Entry, str]] = []

    def recover(self) -> None:
        """Put journal and spool in step after the last forwarder ended, however it ended."""
        # Perhaps the last one died of one of these: they step back, so that the others get through.
        try:
            n_queued = self._journal.requeue_sending(step_back_s=self._backoff.delay_s(1))
        except DiskFullError:
            if not self._spool.ballast.give_up():
                raise
            n_queued = self._journal.requeue_sending(step_back_s=self._backoff.delay_s(1))
        self._n_failures = 1 if n_queued else 0  # one at a time, until one of them has arrived
        n_missing = 0
        for entry in self._journal.undelivered():
            if not self._spool.path(entry.spool_name).exists():
                self._journal.lost(entry.id, reason="its file is missing from the spool")
                n_missing += 1
        for name, state in self._journal.known(self._spool.names()).items():
            if state in (State.DELIVERED, State.COMMITTED):
                self._remove(name)
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
                if isinstance(error, DiskFullError) and self._spool.ballast.give_up():
                    _log.error("%s; the room set aside for the journal is given up, forwarding goes on", error)
                else:
                    _log.error("forwarding waits: %s", error)
                    self._put_off()
                self._journal_back(stop, wait)
                continue
            if entries:
                idle_since = None
                self._spool.restore_ballast()
                continue
            now = time.monotonic()
            idle_since = now if idle_since is None else idle_since
            if self._client.is_open and now - idle_since >= self._destination.idle_release_seconds:
                self._client.release()
            self._promise(_STEP_S)
            if not wait(self._pause_s()):
                self._tidy()
        self._client.release()

    def _tidy(self) -> None:
        """Between objects: nothing is in hand, so what is marked as being sent was left so by an error."""
        self._spool.restore_ballast()
        try:
            self._journal.requeue_sending()
        except StorageError as error:
            _log.error("journal: %s", error)

    def _journal_back(self, stop: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Wait until the claims of the interrupted batch can be given back."""
        while not stop():
            self._promise(_STEP_S)
            try:
                self._journal.requeue_sending()
            except StorageError as error:
                if not (isinstance(error, DiskFullError) and self._spool.ballast.give_up()):
                    wait(self._pause_s())
                continue
            return

    def _claim(self) -> list[Entry]:
        self._promise(_STEP_S)
        if time.monotonic() < self._retry_at and not self._journal.is_asked_for():
            return []
        # One at a time until the archive has shown that it is well again.
        return self._journal.claim(
            limit=1 if self._n_failures else _BATCH,
            lease_s=_LEASE_S,
            longest_wait_s=self._destination.retry_limit_seconds,
        )

    def _pause_s(self) -> float:
        """Seconds until something becomes due."""
        try:
            due = self._journal.next_due()
        except StorageError:
            due = None
        # What is due already and was not claimed waits for an earlier version of itself: only the poll finds it.
        waits = [0.0 if due is None else due - time.time(), self._retry_at - time.monotonic()]
        return min(max((wait for wait in waits if wait > 0), default=_POLL_S), _POLL_S)

    def _deliver(self, entries: Sequence[Entry], stop: Callable[[], bool]) -> None:
        rest: Sequence[Entry] = ()
        try:
            for index, entry in enumerate(entries):
                stopping = stop()
                if stopping or not self._try(entry, entries):
                    rest = entries[index if stopping else index + 1 :]
                    break
        finally:
            self._settle()
        self._journal.unclaimed([other.id for other in rest])

    def _try(self, entry: Entry, batch: Sequence[Entry]) -> bool:
        """`_deliver_one`; what nobody foresaw ends the process, and counts against the object it happened at."""
        try:
            return self._deliver_one(entry, batch)
        except IomtCryptError:
            raise
        except Exception as error:
            self._refused(entry, f"unexpected {type(error).__name__}, see the log")
            raise

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
                _log.debug("delivered id=%d sop_instance_uid=%s", entry.id, shown_uid(entry.sop_instance_uid))
                self._remove(entry.spool_name)

    def _remove(self, name: str) -> None:
        """Remove the file of an object that was delivered. What cannot be removed costs room and nothing else."""
        try:
            self._spool.remove(name)
        except OSError as error:
            _log.error("spool file %s was delivered and cannot be removed: %s", name, error.strerror)

    def _deliver_one(self, entry: Entry, batch: Sequence[Entry]) -> bool:
        """Try one object; return False when the destination itself has to be left alone for a while."""
        path = self._spool.path(entry.spool_name)
        limits = self._destination
        own_limits_s = 3 * limits.connect_seconds + limits.answer_seconds
        self._promise(_STEP_S + own_limits_s + entry.size_bytes / _SLOWEST_BYTES_PER_SECOND)
        try:
            self._client.open([(other.sop_class_uid, ExplicitVRLittleEndian) for other in batch])
        except NetworkError as error:
            # The object had no part in this: its own count stays.
            self._put_off(str(error))
            self._journal.waiting(entry.id, reason=str(error))
            return False
        except InputError as error:  # it takes none of the batch's classes: this object's fault, not the destination's
            self._refused(entry, str(error))
            return True
        if not self._gate.lets_pass(entry, path):
            return True
        self._journal.begun(entry.id)
        try:
            code, comment = self._client.store(path)
        except NetworkError as error:
            # Perhaps the archive went away, perhaps it chokes on this very object: both wait, and the object steps
            # back so that in the second case the others get through.
            self._put_off(str(error))
            self._step_back(entry, str(error), refused=False, answered=False)
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

    def _answered(self, entry: Entry, code: int, comment: str) -> bool:
        is_ours = code == status.DUPLICATE and self._journal.ask(partial(is_ours_alone, entry=entry))
        verdict = status.judge(code, is_ours=is_ours)
        text = f"{self._client.peer} answered 0x{code:04X} ({status.meaning(code)})" + (
            f": {printable(comment)}" if comment else ""
        )
        if verdict is status.Verdict.DELIVERED:
            self._n_failures = 0
            if is_ours:  # the answer to an earlier attempt was lost
                text = f"duplicate: the archive has it; {text}"
            self._delivered.append((entry, "" if code == status.SUCCESS else text))
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
        self._retry_at = time.monotonic() + delay_s
        if reason:
            _log.warning("destination: %s; next attempt in %.1f s", reason, delay_s)

    def _refused(self, entry: Entry, reason: str) -> None:
        if entry.refusals + 1 >= self._destination.max_attempts:
            self._journal.failed(entry.id, reason=reason)
            _log.error("failed id=%d sop_instance_uid=%s: %s", entry.id, shown_uid(entry.sop_instance_uid), reason)
        else:
            self._step_back(entry, reason, refused=True)
            _log.warning("refused id=%d sop_instance_uid=%s: %s", entry.id, shown_uid(entry.sop_instance_uid), reason)

    def _step_back(self, entry: Entry, reason: str, *, refused: bool, answered: bool = True) -> None:
        not_before = time.time() + self._backoff.delay_s(entry.attempts + 1)
        self._journal.deferred(entry.id, reason=reason, not_before=not_before, refused=refused, answered=answered)


def _client(config: NodeConfig) -> Client | PluginClient:
    destination = config.destination
    if destination.plugin is not None:
        return PluginClient(destination.plugin)
    return Client(
        destination.peer,
        calling_ae_title=destination.calling_ae_title or config.node.ae_title,
        timeouts=Timeouts(destination.connect_seconds, destination.answer_seconds),
    )
