"""What becomes of a received instance, as Orthanc is to be told. Runs inside Orthanc: standard library only.

Orthanc stores the plain instance when its callback raises or returns something malformed. So `Reception.received`
raises nothing and has one answer for all that it does not understand: refuse. Two guards stand behind it, for the case
that Orthanc never got that answer: `approve_c_store` lets only what was approved reach the store, and
`approve_stored` finds what came in by another way.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from iomt_crypt_orthanc.pool import NoWorker, WorkerLost

SUCCESS = 0x0000
_MARK = b"IOMT-CRYPT RECORD"  # the private creator of a record
OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3: the sender keeps the object and tries again


class Action(Enum):
    """What Orthanc does with the instance."""

    STORE = "store"  # other bytes in its place
    KEEP = "keep"  # as it came: it is encrypted
    DISCARD = "discard"  # not stored, the sender is told success: it lies in the quarantine
    REFUSE = "refuse"  # not stored, the sender is told of a failure


class Asks(Protocol):
    """`Pool`."""

    def ask(self, head: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytearray]: ...


class Reception:
    """Takes instances in; ``warn`` gets a line for each that was not encrypted. Thread safe."""

    def __init__(self, pool: Asks, *, warn: Callable[[str], None]) -> None:
        self._pool = pool
        self._warn = warn
        self._lock = threading.Lock()
        # Size of what a thread was last told to store. Orthanc calls the guards in the same thread.
        self._approved: dict[int, int] = {}
        self.counts: Counter[str] = Counter()
        #: What the workers last said of the recipients; empty when all is well.
        self.problem = ""

    def received(self, data: bytes) -> tuple[Action, bytes]:
        """Say what is to become of a received file. Raises nothing."""
        thread = threading.get_ident()
        try:
            self._approved.pop(thread, None)
            action, content = self._decide(data)
            if action in (Action.STORE, Action.KEEP):
                self._approved[thread] = len(content) if action is Action.STORE else len(data)
            self._count(action.value)
        except BaseException as error:  # noqa: BLE001 - anything that got out of here would store the plain image
            return self._refuse(error)
        return action, content

    def _decide(self, data: bytes) -> tuple[Action, bytes]:
        try:
            head, content = self._pool.ask({"do": "take"}, data)
        except NoWorker:
            raise
        except WorkerLost as error:
            # Perhaps this very object kills workers: the second one is not to look into it.
            head, content = self._pool.ask({"do": "set aside", "reason": str(error)}, data)
        verdict, reason = head["verdict"], head["reason"]
        self.problem = head["problem"]
        if verdict == "encrypted" and len(content):
            return Action.STORE, bytes(content)
        if verdict == "kept":
            return Action.KEEP, b""
        if verdict == "quarantined":
            self._warn(f"ALARM: an instance is in quarantine and not in the archive: {reason}")
            return Action.DISCARD, b""
        self._warn(f"ALARM: an instance was refused: {reason}")
        return Action.REFUSE, b""

    def _refuse(self, error: BaseException) -> tuple[Action, bytes]:
        try:
            self._count(Action.REFUSE.value)
            words = str(error) if isinstance(error, WorkerLost) else f"unexpected {type(error).__name__}"
            self._warn(f"ALARM: an instance was refused: {words}")
        except BaseException:  # noqa: BLE001, S110 - not even the log may change the answer
            pass
        return Action.REFUSE, b""

    def approve_c_store(self, size_bytes: int) -> int:
        """Status for a C-STORE whose instance Orthanc is about to store, ``size_bytes`` long."""
        if self._approved.get(threading.get_ident()) == size_bytes:
            return SUCCESS
        self._count("stopped")
        self._warn("ALARM: Orthanc was about to store an instance that was not approved; it was refused")
        return OUT_OF_RESOURCES

    def approve_stored(self, size_bytes: int, read: Callable[[], bytes]) -> bool:
        """Whether an instance that Orthanc has just stored may stay; ``read`` gives its bytes."""
        if self._approved.pop(threading.get_ident(), None) == size_bytes:
            return True
        # An Orthanc that stored in another thread must not lose what is encrypted.
        return _MARK in read()

    def set_aside(self, data: bytes, reason: str) -> bool:
        """Seal a file into the quarantine; whether it is there."""
        try:
            head, _ = self._pool.ask({"do": "set aside", "reason": reason}, data)
        except WorkerLost:
            return False
        return bool(head["verdict"] == "quarantined")

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
