"""HPKE (RFC 9180) with X25519 alone, HKDF-SHA-256, AES-256-GCM: short texts, for partners without ML-KEM.

Who records objects today can open them with a large quantum computer of tomorrow; the default kind has not this limit.
"""

from __future__ import annotations

from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from iomt_crypt.seal.kind.hpke import HpkeIdentity, HpkeRecipient
from iomt_crypt.seal.recipient import AskPassphrase


class X25519Recipient(HpkeRecipient):
    """Public half: 32 bytes."""

    kind: ClassVar[str] = "hpke-x25519"
    prefix: ClassVar[str] = "iomtpkx1"
    suite: ClassVar[Suite] = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    size_bytes: ClassVar[int] = 32

    @staticmethod
    def _load(public: bytes) -> X25519PublicKey:
        return X25519PublicKey.from_public_bytes(public)


class X25519Identity(HpkeIdentity):
    """Private half: 32 bytes."""

    prefix: ClassVar[str] = "iomtskx1"
    size_bytes: ClassVar[int] = 32

    @staticmethod
    def _load(secret: bytes) -> tuple[X25519PrivateKey, X25519Recipient]:
        key = X25519PrivateKey.from_private_bytes(secret)
        return key, X25519Recipient(key.public_key().public_bytes_raw())


def parse_recipient(text: str, ask: AskPassphrase | None) -> X25519Recipient:
    del ask
    return X25519Recipient.parse(text)


def parse_identity(text: str, ask: AskPassphrase | None) -> X25519Identity:
    del ask
    return X25519Identity.parse(text)
