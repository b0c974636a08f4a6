"""The epochs of a re-keying, and which of them earlier runs made in a tree.

A run that was cut off left objects that its own identities can no longer open. That they are done is known by their
epoch: its number and a digest of its stanzas are in the tree before the first object is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cbor2

from iomt_crypt.archive.rekey_folder import Folder, storage_error
from iomt_crypt.archive.tree import STATE_FOLDER
from iomt_crypt.durable import new_file
from iomt_crypt.seal import Epoch, Recipient, Stanza, fingerprint_text
from iomt_crypt.seal.recipient import Opening
from iomt_crypt.seal.record import Record

_FOLDER = "epochs"
_OBJECTS_PER_EPOCH = 10_000
_MOST_BYTES = 1 << 16


class Wanted:
    """Who is to open the objects, and no one else.

    names
        what the stanzas for them say whose they are, sorted
    """

    def __init__(self, recipients: Sequence[Recipient], stanzas: Sequence[Stanza]) -> None:
        self.names = sorted(stanza.recipient for stanza in stanzas)
        self._nameless = [recipient for recipient in recipients if isinstance(recipient, Opening)]
        self._last: tuple[bytes, tuple[Stanza, ...]] | None = None
        self._last_are = False

    def are(self, record: Record) -> bool:
        """Whether a record is for exactly these, as it says; passphrases, whose stanzas say nothing, are tried."""
        if sorted(stanza.recipient for stanza in record.stanzas) != self.names:
            return False
        if not self._nameless:
            return True
        epoch = record.epoch_id, record.stanzas
        if epoch != self._last:
            self._last_are = all(any(r.opens(s, record.epoch_id) for s in record.stanzas) for r in self._nameless)
            self._last = epoch
        return self._last_are


class Epochs:
    """Epochs for ``recipients``: one after the other, each for at most 10,000 objects.

    A new key, whatever the recipients: those who are to lose access may have kept the old epoch's.
    """

    def __init__(self, recipients: Sequence[Recipient], *, rotate: bool) -> None:
        self._recipients = recipients
        self._rotate = rotate
        self._epoch = Epoch.create(recipients)
        self._n_left = _OBJECTS_PER_EPOCH
        self._noted: set[tuple[bytes, Folder]] = set()
        self.wanted = Wanted(recipients, self._epoch.stanzas)

    def next(self, folder: Folder, *, noted: bool = True) -> Epoch:
        """The epoch for one more object of ``folder``. Raises StorageError when it cannot be noted there."""
        if not self._n_left:
            self._epoch, self._n_left = Epoch.create(self._recipients), _OBJECTS_PER_EPOCH
        self._n_left -= 1
        if noted and (here := (self._epoch.id, folder)) not in self._noted:
            _note(folder, self._epoch, rotate=self._rotate)
            self._noted.add(here)
        return self._epoch


def _note(folder: Folder, epoch: Epoch, *, rotate: bool) -> None:
    facts = {
        "stanzas": _digest(epoch.stanzas),
        "recipients": [fingerprint_text(s.recipient) for s in epoch.stanzas],
        "rotate": rotate,
    }
    path = folder.path / STATE_FOLDER / _FOLDER
    try:
        folder.within(_FOLDER, lambda below: _write(below / epoch.id.hex(), json.dumps(facts) + "\n"))
    except OSError as cause:
        error = storage_error(cause, str(path))
        raise error from cause


def _write(path: Path, text: str) -> None:
    with new_file(path, mode=0o600) as file:
        file.write(text.encode("ascii"))


def made_before(folder: Folder, record: Record, *, rotate: bool) -> bool:
    """Whether a run like this one (``rotate`` or not) made the record's epoch in ``folder``."""
    path = folder.path / STATE_FOLDER / _FOLDER / record.epoch_id.hex()
    with suppress(OSError, ValueError, KeyError, TypeError):
        with path.open("rb") as file:
            facts = json.loads(file.read(_MOST_BYTES))
        return bool(facts["stanzas"] == _digest(record.stanzas) and facts["rotate"] == rotate)
    return False


def _digest(stanzas: Sequence[Stanza]) -> str:
    return hashlib.sha256(cbor2.dumps([(s.kind, s.recipient, s.body) for s in stanzas])).hexdigest()
