"""The default kind: HPKE (RFC 9180), KEM ML-KEM-768 + X25519, HKDF-SHA-256, AES-256-GCM.

The hybrid KEM keeps images that are recorded today closed to tomorrow's quantum computers, and rests on X25519
should ML-KEM fall.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cached_property
from typing import ClassVar, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.recipient import (
    AskPassphrase,
    Stanza,
    decode_text,
    encode_text,
    epoch_info,
    fingerprint_of,
    fingerprint_text,
)
from iomt_crypt.seal.schedule import KEY_BYTES

_MLKEM_PUBLIC_BYTES = 1184  # FIPS 203, table 3
_MLKEM_SEED_BYTES = 64
_X25519_BYTES = 32

_PublicKey = MLKEM768X25519PublicKey | X25519PublicKey
_PrivateKey = MLKEM768X25519PrivateKey | X25519PrivateKey


class HpkeRecipient:
    """Public half: 1184 bytes of ML-KEM-768 and 32 bytes of X25519."""

    kind: ClassVar[str] = "hpke-mlkem768-x25519"
    prefix: ClassVar[str] = "iomtpk1"
    suite: ClassVar[Suite] = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    size_bytes: ClassVar[int] = _MLKEM_PUBLIC_BYTES + _X25519_BYTES

    def __init__(self, public: bytes) -> None:
        self._public = public
        try:
            self._key = self._load(public)
        except ValueError as error:
            raise KeyMaterialError(f"recipient {self.prefix}... is not a valid public key") from error

    @staticmethod
    def _load(public: bytes) -> _PublicKey:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(decode_text(cls.prefix, text, cls.size_bytes))

    @cached_property
    def fingerprint(self) -> bytes:
        return fingerprint_of(self._public)

    def __str__(self) -> str:
        return encode_text(self.prefix, self._public)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {fingerprint_text(self.fingerprint)}>"

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        try:
            body = self.suite.encrypt(epoch_key, self._key, info=epoch_info(epoch_id))
        except ValueError as error:  # X25519 with a point of small order (RFC 7748, 6.1)
            raise KeyMaterialError(
                f"recipient {fingerprint_text(self.fingerprint)} is not a usable public key"
            ) from error
        return Stanza(self.kind, self.fingerprint, body)


class HpkeIdentity:
    """Private half: a 64-byte ML-KEM-768 seed (FIPS 203) and 32 bytes of X25519."""

    prefix: ClassVar[str] = "iomtsk1"
    size_bytes: ClassVar[int] = _MLKEM_SEED_BYTES + _X25519_BYTES

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._key, self.recipient = self._load(secret)

    @staticmethod
    def _load(secret: bytes) -> tuple[_PrivateKey, HpkeRecipient]:
        mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(secret[_MLKEM_SEED_BYTES:])
        public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        return MLKEM768X25519PrivateKey(mlkem, x25519), HpkeRecipient(public)

    @classmethod
    def generate(cls) -> Self:
        # Both halves are uniformly random strings: a seed (FIPS 203, 7.1) and a scalar that is clamped when used.
        return cls(secrets.token_bytes(cls.size_bytes))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """The identity that a 32-byte seed stands for, as X-Wing expands one (draft-connolly-cfrg-xwing-kem)."""
        return cls(hashlib.shake_256(seed).digest(cls.size_bytes))

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(decode_text(cls.prefix, text, cls.size_bytes))

    @property
    def fingerprint(self) -> bytes:
        return self.recipient.fingerprint

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {fingerprint_text(self.fingerprint)}>"

    def secret_text(self) -> str:
        """The secret key as text. For key files only."""
        return encode_text(self.prefix, self._secret)

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """Every stanza of the kind is tried: the fingerprint in it is a hint for people, not a decision."""
        if stanza.kind != self.recipient.kind:
            return None
        try:
            epoch_key = self.recipient.suite.decrypt(stanza.body, self._key, info=epoch_info(epoch_id))
        except (InvalidTag, ValueError):
            return None
        return epoch_key if len(epoch_key) == KEY_BYTES else None


def parse_recipient(text: str, ask: AskPassphrase | None) -> HpkeRecipient:
    del ask
    return HpkeRecipient.parse(text)


def parse_identity(text: str, ask: AskPassphrase | None) -> HpkeIdentity:
    del ask
    return HpkeIdentity.parse(text)
