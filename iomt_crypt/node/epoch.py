"""When the node changes its epoch key, and for whom: after a number of objects, after some hours, for new recipients.

A change that fails stops nothing. The epoch in force goes on, for its recipients, until a later attempt succeeds; what
is wrong is logged at each attempt and shown by ``node status``. One failure stops everything: when the cipher does not
give its known answers any more, there is no epoch for any object until it does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from iomt_crypt.errors import IomtCryptError, KnownAnswerError
from iomt_crypt.node.backoff import Backoff
from iomt_crypt.node.recipient import expiry_advice
from iomt_crypt.seal import Epoch, Recipient, fingerprint_text

_log = logging.getLogger(__name__)

LOOK_S = 2.0
"""Files of recipients are looked at this often at most."""

_RETRY = Backoff(first_s=5.0, limit_s=300.0)


class Source(Protocol):
    """Where recipients come from: `RecipientList`."""

    def read(self) -> Sequence[Recipient]: ...

    def changed(self) -> bool: ...


@dataclass(frozen=True)
class EpochFacts:
    """What is said about the epoch in force. ``problem`` is empty when all is well."""

    epoch: str
    epoch_since: str
    recipients: tuple[str, ...]
    problem: str


@dataclass(frozen=True)
class _Trouble:
    """Attempts at one thing that failed, one after the other."""

    text: str
    n_failures: int
    retry_at: float


class EpochSource:
    """Gives the epoch for each object. Thread safe.

    Only one thread at a time changes the epoch, which may take seconds when a recipient is a token or a key service;
    the others go on with the epoch in force.

    ``self_test`` is called before each epoch, and raises KnownAnswerError when nothing must be encrypted.

    Raises
    ------
    IomtCryptError
        When the first epoch cannot be made.
    """

    def __init__(
        self,
        source: Source,
        *,
        n_objects: int,
        hours: float,
        clock: Callable[[], float] = time.monotonic,
        self_test: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._n_objects = n_objects
        self._seconds = hours * 3600.0
        self._tell: Callable[[EpochFacts], None] = lambda _: None
        self._clock = clock
        self._self_test = self_test
        self._broken: KnownAnswerError | None = None
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._reload_wanted = False
        self._looked_at = clock()
        # Apart, since one goes on without the other: a broken file does not keep the old recipients' epoch from ending.
        self._troubles: dict[str, _Trouble] = {}
        self._begin(source.read(), "start")

    def current(self) -> Epoch:
        """The epoch for one more object. Raises KnownAnswerError while the cipher fails its test."""
        # While something is wrong an attempt may take as long as a service's time-outs. A thread of the node makes it,
        # so that no sender waits for it.
        if not self._troubles:
            self.look()
        with self._lock:
            if self._broken is not None:
                raise KnownAnswerError(str(self._broken), hint=self._broken.hint)
            self._n_used += 1
            return self._epoch

    def look(self, *, reload: bool = False) -> None:
        """Change the epoch if it is time to; with ``reload``, read the recipients again in any case.

        To be called every `LOOK_S` seconds, beside what `current` does.
        """
        if reload:
            self._reload_wanted = True
        if not self._changing.acquire(blocking=False):
            return
        try:
            if self._new_recipients():
                self._change("recipients")
            elif reason := self._due():
                self._change(reason)
        finally:
            self._changing.release()

    def on_change(self, tell: Callable[[EpochFacts], None]) -> None:
        """Call ``tell(facts)`` now, and after each change and each failed one."""
        with self._changing:
            self._tell = tell
            tell(self.facts())

    @property
    def recipients(self) -> tuple[Recipient, ...]:
        """Those of the epoch in force."""
        return self._recipients

    def facts(self) -> EpochFacts:
        """What to say about the epoch in force."""
        with self._lock:
            fingerprints = tuple(fingerprint_text(recipient.fingerprint) for recipient in self._recipients)
            problem = "; ".join(trouble.text for trouble in self._troubles.values())
            return EpochFacts(self._epoch.id.hex(), self._since_text, fingerprints, problem)

    def _new_recipients(self) -> bool:
        now = self._clock()
        if self._reload_wanted:
            self._reload_wanted = False
            return True
        if now - self._looked_at < LOOK_S:
            return False
        self._looked_at = now
        trouble = self._troubles.get("recipients")
        return self._source.changed() or (trouble is not None and now >= trouble.retry_at)

    def _due(self) -> str:
        now = self._clock()
        trouble = self._troubles.get("epoch")
        if trouble is not None and now < trouble.retry_at:
            return ""
        if self._n_used >= self._n_objects:
            return "count"
        return "time" if now - self._since >= self._seconds else ""

    def _change(self, reason: str) -> None:
        """Begin a new epoch, or say why not and keep the old one."""
        what = "recipients" if reason == "recipients" else "epoch"
        try:
            self._begin(self._source.read() if reason == "recipients" else self._recipients, reason)
            self._troubles.pop(what, None)
        except IomtCryptError as error:
            self._note(what, f"{error}{f' (hint: {error.hint})' if error.hint else ''}")
        except Exception as error:  # noqa: BLE001 - a fault in here must not refuse objects; its words may quote secrets
            self._note(what, f"unexpected {type(error).__name__}")
        self._tell(self.facts())

    def _begin(self, recipients: Sequence[Recipient], reason: str) -> None:
        try:
            self._self_test()
            self._broken = None
        except KnownAnswerError as error:
            self._broken = error
            raise
        epoch = Epoch.create(recipients)
        with self._lock:
            self._epoch, self._recipients = epoch, tuple(recipients)
            self._since, self._n_used = self._clock(), 0
            self._since_text = datetime.now(UTC).isoformat(timespec="seconds")
            self._troubles.pop("epoch", None)
        _log.info(
            "epoch begins id=%s reason=%s n_recipients=%d recipients=%s",
            epoch.id.hex(),
            reason,
            len(recipients),
            ",".join(fingerprint_text(recipient.fingerprint) for recipient in recipients),
        )
        for text, hint in expiry_advice(recipients):
            _log.warning("%s (hint: %s)", text, hint)

    def _note(self, what: str, text: str) -> None:
        before = self._troubles.get(what)
        n_failures = before.n_failures + 1 if before is not None else 1
        delay_s = _RETRY.delay_s(n_failures)
        with self._lock:
            self._troubles[what] = _Trouble(text, n_failures, self._clock() + delay_s)
        _log.error(
            "%s NOT CHANGED, %s; next attempt in %.0f s: %s",
            "RECIPIENTS" if what == "recipients" else "EPOCH",
            "what was in force goes on" if self._broken is None else "NO OBJECT IS TAKEN",
            delay_s,
            text,
        )
