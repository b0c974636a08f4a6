"""Epochs: one key that wraps the data keys of many objects, wrapped once for every recipient.

HPKE costs about 0.1 ms for each recipient, AES-KW (RFC 3394) 1 us: the epoch makes single objects cheap.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from iomt_crypt.errors import AuthenticationError, KeyMaterialError, NoMatchingIdentityError
from iomt_crypt.seal.recipient import Identity, Recipient, Stanza
from iomt_crypt.seal.schedule import KEY_BYTES

EPOCH_ID_BYTES = 16
MAX_RECIPIENTS = 64


@dataclass(frozen=True, repr=False)
class Epoch:
    """An epoch key with its stanzas. Immutable: use it from any number of threads."""

    id: bytes
    key: bytes
    stanzas: tuple[Stanza, ...]

    @classmethod
    def create(cls, recipients: Sequence[Recipient]) -> Epoch:
        """New random epoch for ``recipients`` (1 to 64, no two the same)."""
        if not 1 <= len(recipients) <= MAX_RECIPIENTS:
            raise KeyMaterialError(
                f"{len(recipients)} recipients given, needed: 1 to {MAX_RECIPIENTS}",
                hint="name at least one recipient, or nobody could ever decrypt",
            )
        if len({r.fingerprint for r in recipients}) != len(recipients):
            raise KeyMaterialError("the same recipient is given twice")
        epoch_id, key = secrets.token_bytes(EPOCH_ID_BYTES), secrets.token_bytes(KEY_BYTES)
        return cls(epoch_id, key, tuple(r.wrap(key, epoch_id) for r in recipients))

    def wrap(self, data_key: bytes) -> bytes:
        """40 bytes: ``data_key`` under the epoch key."""
        return aes_key_wrap(self.key, data_key)

    def unwrap(self, wrapped_key: bytes) -> bytes:
        """The data key that `wrap` wrapped. Raises AuthenticationError for anything else."""
        return _unwrap(self.key, wrapped_key)


class Keyring:
    """The identities at hand, and the epochs they have opened so far (the last 256 that were used)."""

    _CACHED_EPOCHS = 256

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._identities = tuple(identities)
        self._epoch_keys: OrderedDict[tuple[bytes, tuple[Stanza, ...]], bytes] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def of_epoch(cls, epoch: Epoch) -> Keyring:
        """One that opens what ``epoch`` wrapped, without any identity: to check what was just written."""
        keyring = cls(())
        keyring._epoch_keys[epoch.id, epoch.stanzas] = epoch.key
        return keyring

    @property
    def fingerprints(self) -> frozenset[bytes]:
        """Of all identities at hand."""
        return frozenset(identity.fingerprint for identity in self._identities)

    def unwrap(self, wrapped_key: bytes, epoch_id: bytes, stanzas: tuple[Stanza, ...]) -> bytes:
        """The data key.

        Raises
        ------
        NoMatchingIdentityError
            No stanza is for one of the identities.
        AuthenticationError
            A stanza opened, and the wrapped data key does not fit it.
        """
        return _unwrap(self.epoch_key(epoch_id, stanzas), wrapped_key)

    def epoch_key(self, epoch_id: bytes, stanzas: tuple[Stanza, ...]) -> bytes:
        """The key of an epoch. Raises NoMatchingIdentityError."""
        epoch = epoch_id, stanzas
        with self._lock:
            if epoch in self._epoch_keys:
                self._epoch_keys.move_to_end(epoch)
                return self._epoch_keys[epoch]
        epoch_key = self._open(*epoch)  # may ask a token or a network: others need not wait
        with self._lock:
            self._epoch_keys[epoch] = epoch_key
            if len(self._epoch_keys) > self._CACHED_EPOCHS:
                self._epoch_keys.popitem(last=False)
        return epoch_key

    def _open(self, epoch_id: bytes, stanzas: tuple[Stanza, ...]) -> bytes:
        for identity in self._identities:
            # The stanza that names this identity first: with many recipients that saves failed attempts.
            for stanza in sorted(stanzas, key=lambda s: s.recipient != identity.fingerprint):
                epoch_key = identity.unwrap(stanza, epoch_id)
                if epoch_key is not None:
                    return epoch_key
        raise NoMatchingIdentityError


def _unwrap(epoch_key: bytes, wrapped_key: bytes) -> bytes:
    try:
        return aes_key_unwrap(epoch_key, wrapped_key)
    except (InvalidUnwrap, ValueError):
        raise AuthenticationError from None
