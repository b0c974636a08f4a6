"""The default recipient kind: HPKE (RFC 9180), KEM ML-KEM-768 + X25519, HKDF-SHA-256, AES-256-GCM.

The hybrid KEM keeps images that are recorded today closed to tomorrow's quantum computers, and rests on X25519
should ML-KEM fall.
"""

from __future__ import annotations

from functools import cached_property

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
from iomt_crypt.seal.recipient import Stanza, decode_text, encode_text, fingerprint_of, fingerprint_text
from iomt_crypt.seal.schedule import KEY_BYTES

KIND = "hpke-mlkem768-x25519"
RECIPIENT_PREFIX = "iomtpk1"
IDENTITY_PREFIX = "iomtsk1"

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM_PUBLIC_BYTES = 1184  # FIPS 203, table 3
_MLKEM_SEED_BYTES = 64
_X25519_BYTES = 32


class HpkeRecipient:
    """Public half: 1184 bytes of ML-KEM-768 and 32 bytes of X25519."""

    def __init__(self, public: bytes) -> None:
        self._public = public
        try:
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
                X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
            )
        except ValueError as error:
            raise KeyMaterialError(f"recipient {RECIPIENT_PREFIX}... is not a valid public key") from error

    @classmethod
    def parse(cls, text: str) -> HpkeRecipient:
        return cls(decode_text(RECIPIENT_PREFIX, text, _MLKEM_PUBLIC_BYTES + _X25519_BYTES))

    @cached_property
    def fingerprint(self) -> bytes:
        return fingerprint_of(self._public)

    def __str__(self) -> str:
        return encode_text(RECIPIENT_PREFIX, self._public)

    def __repr__(self) -> str:
        return f"<HpkeRecipient {fingerprint_text(self.fingerprint)}>"

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza:
        try:
            body = _SUITE.encrypt(epoch_key, self._key, info=_info(epoch_id))
        except ValueError as error:  # X25519 with a point of small order (RFC 7748, 6.1)
            raise KeyMaterialError(
                f"recipient {fingerprint_text(self.fingerprint)} is not a usable public key"
            ) from error
        return Stanza(KIND, self.fingerprint, body)


class HpkeIdentity:
    """Private half: a 64-byte ML-KEM-768 seed (FIPS 203) and 32 bytes of X25519."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(secret[_MLKEM_SEED_BYTES:])
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.recipient = HpkeRecipient(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> HpkeIdentity:
        return cls(MLKEM768PrivateKey.generate().private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> HpkeIdentity:
        return cls(decode_text(IDENTITY_PREFIX, text, _MLKEM_SEED_BYTES + _X25519_BYTES))

    @property
    def fingerprint(self) -> bytes:
        return self.recipient.fingerprint

    def __repr__(self) -> str:
        return f"<HpkeIdentity {fingerprint_text(self.fingerprint)}>"

    def secret_text(self) -> str:
        """The secret key as text. For key files only."""
        return encode_text(IDENTITY_PREFIX, self._secret)

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None:
        """Every stanza of the kind is tried: the fingerprint in it is a hint for people, not a decision."""
        if stanza.kind != KIND:
            return None
        try:
            epoch_key = _SUITE.decrypt(stanza.body, self._key, info=_info(epoch_id))
        except (InvalidTag, ValueError):
            return None
        return epoch_key if len(epoch_key) == KEY_BYTES else None


def _info(epoch_id: bytes) -> bytes:
    return b"iomt-crypt/1/epoch" + epoch_id
