"""A key holder: AES-256-GCM keys in files on a shelf, ``plugin:shelf:PATH``.

It stands for a key service of yours. The file has 32 random bytes, mode 0600, and is recipient and identity at once.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iomt_crypt.errors import AuthenticationError, KeyMaterialError
from iomt_crypt.seal import Stanza
from iomt_crypt.seal.recipient import AskPassphrase

KIND = "plugin:shelf"  # begins with the name of the entry point
_NONCE_BYTES = 12


class ShelfKey:
    """Recipient and identity."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        # Says which key it was without saying anything of the key.
        self.fingerprint = hashlib.sha256(b"iomt-crypt-example/shelf\0" + key).digest()[:8]

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        """Encrypt an epoch key. Bound to the epoch, so that no stanza can be moved to another."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return Stanza(KIND, self.fingerprint, nonce + self._aead.encrypt(nonce, epoch_key, epoch_id))

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """The epoch key; None when the stanza is for another key of this kind. Anything else that is wrong raises."""
        if stanza.recipient != self.fingerprint:
            return None
        try:
            return self._aead.decrypt(stanza.body[:_NONCE_BYTES], stanza.body[_NONCE_BYTES:], epoch_id)
        except InvalidTag:
            raise AuthenticationError from None


def parse_recipient(argument: str, ask: AskPassphrase | None) -> ShelfKey:
    """What follows ``plugin:shelf:`` in ``-r`` and in ``keys.recipients``."""
    try:
        key = Path(argument).read_bytes()
    except OSError as error:
        raise KeyMaterialError(f"{argument}: {error.strerror}") from None
    if len(key) != 32:
        raise KeyMaterialError(f"{argument}: {len(key)} bytes, 32 are needed", hint="head -c 32 /dev/urandom")
    return ShelfKey(key)


parse_identity = parse_recipient
