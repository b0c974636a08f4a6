"""The recipients of the configuration, read again when one of their files changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from iomt_crypt.seal import Recipient, fingerprint_text, load_recipients
from iomt_crypt.seal.recipient import Expiring

# A file that was touched a moment ago may be half written. One that stays as it is for so long is taken as whole.
_SETTLED_S = 2.0
_EXPIRY_DAYS = 30

_State = tuple[tuple[int, int, int, int] | None, ...]


class RecipientList:
    """``values`` are recipient texts, and paths of files that hold them; ``paths`` are those. For one thread at a time.

    ``clock`` is Unix time in seconds, as the file system has it.
    """

    def __init__(self, values: Sequence[str], *, clock: Callable[[], float] = time.time) -> None:
        self._values = tuple(values)
        self.paths = tuple(Path(value) for value in values if os.path.isfile(value))  # noqa: PTH113 - texts are long
        self._clock = clock
        self._read: _State = ()
        self._seen: _State = ()

    def read(self) -> list[Recipient]:
        """The recipients as they are now.

        Raises
        ------
        KeyMaterialError, NetworkError
            A file is missing, empty or damaged; a token or a key service does not do its part.
        """
        # Before the files are opened: what changes meanwhile is seen by the next look.
        self._read = self._state()
        return load_recipients(self._values)

    def changed(self) -> bool:
        """Whether a file is another than the one last read, and no longer being written."""
        state = self._state()
        if state == self._read:
            return False
        newest_s = max((found[2] for found in state if found is not None), default=0) / 1e9
        # An age may be wrong where the clock of a file server differs; that two looks agree is good in any case.
        settled = state == self._seen or 0 <= newest_s <= self._clock() - _SETTLED_S
        self._seen = state
        return settled

    def _state(self) -> _State:
        return tuple(_status(path) for path in self.paths)


def _status(path: Path) -> tuple[int, int, int, int] | None:
    """Inode, modification and change in nanoseconds, size: editing changes one of them, so does a rename over it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def escrow_advice(recipients: Sequence[Recipient]) -> tuple[str, str] | None:
    """What to say, and what to do, when nobody could step in for a lost identity; None when somebody could."""
    if len(recipients) > 1:
        return None
    return (
        "one recipient only: if its identity is lost, nobody can ever decrypt what the node takes in",
        "add an escrow recipient, whose identity lies in a safe in shares of which some are enough: "
        "'iomt-crypt keygen --split 3/5 --shares DIR', and its recipient into keys.recipients",
    )


def expiry_advice(recipients: Sequence[Recipient]) -> list[tuple[str, str]]:
    """What to say, and what to do, about each recipient that expires within 30 days.

    A running node goes on with one that has expired; it could not be started with it.
    """
    now = datetime.now(UTC)
    found = []
    for recipient in recipients:
        if isinstance(recipient, Expiring) and (days := (recipient.not_after - now).days) < _EXPIRY_DAYS:
            name = f"recipient {fingerprint_text(recipient.fingerprint)}"
            text = f"{name} expires in {days} days" if recipient.not_after > now else f"{name} has expired"
            hint = "put its owner's new certificate into keys.recipients: the node cannot start with an expired one"
            found.append((text, hint))
    return found
