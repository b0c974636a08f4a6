"""A passphrase as recipient and identity: scrypt (RFC 7914), HKDF-SHA-256, AES-256-GCM.

Texts: ``passphrase:FILE`` takes the first line of a 0600 file, ``passphrase:`` alone asks. A stanza is open to
everybody who guesses the passphrase, for ever and without our knowing: keys are better where they can be had.

The body: ``parameters and salt (19) | epoch key under AES-256-GCM (32 + 16)``. The salt is fresh for each
`PassphraseRecipient` and the key is bound to the epoch by HKDF, so a node stretches once and not at each epoch, and a
reader once for all objects of a run.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.passphrase import PARAMETER_BYTES, new_parameters, stretch, within_limits
from iomt_crypt.seal.recipient import AskPassphrase, Stanza, epoch_info, fingerprint_of, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES
from iomt_crypt.seal.secret import read_secret_line

KIND = "scrypt"
PREFIX = "passphrase:"
MIN_BYTES = 12
# In every stanza: one of the passphrase would help to guess it. So who retires a passphrase is told of all objects
# that are under one, rather than of none.
FINGERPRINT = fingerprint_of(b"passphrase")

# The length is fixed and checked before any decryption: AES-GCM does not commit to its key, and a long ciphertext made
# to fit many passphrases at once would test them all with one question (Len, Grubbs, Ristenpart: Partitioning Oracles).
_BODY_BYTES = PARAMETER_BYTES + KEY_BYTES + 16
_CACHED_SALTS = 256


class PassphraseRecipient:
    """Everybody who knows the passphrase.

    The fingerprint is that of the salt: no two are the same, even of one passphrase.
    """

    def __init__(self, passphrase: bytes) -> None:
        if len(passphrase) < MIN_BYTES:
            raise KeyMaterialError(
                f"the passphrase has {len(passphrase)} bytes, at least {MIN_BYTES} needed",
                hint="whoever has an object can try passphrases on it at leisure: take five random words or more",
            )
        self._passphrase = passphrase
        self._parameters = new_parameters()

    @cached_property
    def _stretched(self) -> bytes:
        return stretch(self._passphrase, self._parameters)

    @cached_property
    def fingerprint(self) -> bytes:
        return fingerprint_of(self._parameters)

    def __str__(self) -> str:
        return PREFIX

    def __repr__(self) -> str:
        return f"<PassphraseRecipient {fingerprint_text(self.fingerprint)}>"

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        # A constant nonce is safe: salt and epoch are fresh, and an epoch has one key.
        aead = AESGCM(_wrapping_key(self._stretched, epoch_id))
        return Stanza(KIND, FINGERPRINT, self._parameters + aead.encrypt(bytes(12), epoch_key, self._parameters))

    def opens(self, stanza: Stanza, epoch_id: bytes) -> bool:
        """Whether a stanza is for this passphrase, of whatever salt. Stretches once for each salt."""
        return self._identity.unwrap(stanza, epoch_id) is not None

    @cached_property
    def _identity(self) -> PassphraseIdentity:
        return PassphraseIdentity(self._passphrase)


class PassphraseIdentity:
    """Somebody who knows a passphrase."""

    fingerprint = FINGERPRINT

    def __init__(self, passphrase: bytes) -> None:
        self._passphrase = passphrase
        self._stretched: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "<PassphraseIdentity>"

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """None for a wrong passphrase and for parameters over the limits too: stanzas of strangers may have them."""
        parameters, sealed = stanza.body[:PARAMETER_BYTES], stanza.body[PARAMETER_BYTES:]
        if stanza.kind != KIND or len(stanza.body) != _BODY_BYTES or not within_limits(parameters):
            return None
        try:
            return AESGCM(_wrapping_key(self._stretch(parameters), epoch_id)).decrypt(bytes(12), sealed, parameters)
        except InvalidTag:
            return None

    def _stretch(self, parameters: bytes) -> bytes:
        with self._lock:  # one at a time: each takes 128 MiB and more
            if parameters not in self._stretched:
                if len(self._stretched) >= _CACHED_SALTS:
                    self._stretched.clear()
                self._stretched[parameters] = stretch(self._passphrase, parameters)
            return self._stretched[parameters]


def parse_recipient(text: str, ask: AskPassphrase | None) -> PassphraseRecipient:
    return PassphraseRecipient(_passphrase(text, ask))


def parse_identity(text: str, ask: AskPassphrase | None) -> PassphraseIdentity:
    return PassphraseIdentity(_passphrase(text, ask))


def _passphrase(text: str, ask: AskPassphrase | None) -> bytes:
    path = text[len(PREFIX) :]
    if path:
        return read_secret_line(_file(path))
    if ask is None:
        raise KeyMaterialError(
            "a passphrase is needed and nobody can be asked for it",
            hint=f"{PREFIX}FILE reads it from the first line of a 0600 file",
        )
    return ask("passphrase")


def _file(path: str) -> Path:
    """The path, if something is there; otherwise it may be the passphrase itself, and is not repeated."""
    if not os.path.lexists(os.path.expanduser(path)):  # noqa: PTH111 - a NUL in it is no error here
        raise KeyMaterialError(
            f"{PREFIX}... names no file that is there",
            hint=f"{PREFIX}FILE names a 0600 file; a passphrase itself is never given in a command line or a list",
        )
    return Path(path).expanduser()


def _wrapping_key(stretched: bytes, epoch_id: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=epoch_info(epoch_id)).derive(stretched)
