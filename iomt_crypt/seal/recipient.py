"""The seam between objects and keys: a Recipient wraps an epoch key, an Identity unwraps it.

A key file, a passphrase or a token look the same from here. ``None`` from `Identity.unwrap` means "not mine, try the
next one"; every exception is fatal.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from iomt_crypt.errors import KeyMaterialError

# Asked with what it is for ("key.pem: private key"); gives a passphrase or a PIN.
AskPassphrase = Callable[[str], bytes]

FINGERPRINT_BYTES = 8
_CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Stanza:
    """An epoch key, wrapped for one recipient.

    kind
        how it was wrapped, e.g. ``"hpke-mlkem768-x25519"``
    recipient
        8-byte fingerprint of the recipient; tells people whom to ask, and is not trusted for anything else
    body
        the wrapped key
    """

    kind: str
    recipient: bytes
    body: bytes


class Recipient(Protocol):
    """Somebody who will be able to open what is encrypted."""

    @property
    def fingerprint(self) -> bytes: ...

    def wrap(self, epoch_key: bytes, epoch_id: bytes) -> Stanza: ...


class Identity(Protocol):
    """Somebody who can open."""

    @property
    def fingerprint(self) -> bytes: ...

    def unwrap(self, stanza: Stanza, epoch_id: bytes) -> bytes | None: ...


@runtime_checkable
class Paired(Protocol):
    """An identity that knows its recipient, or None where only the secret half is at hand."""

    @property
    def recipient(self) -> Recipient | None: ...


@runtime_checkable
class Expiring(Protocol):
    """A recipient that may be encrypted to for some time only."""

    @property
    def not_after(self) -> datetime: ...

    def check(self, now: datetime) -> None: ...


@runtime_checkable
class Opening(Protocol):
    """A recipient whose stanzas do not say whose they are: it tells its own by opening them."""

    def opens(self, stanza: Stanza, epoch_id: bytes) -> bool: ...


def epoch_info(epoch_id: bytes) -> bytes:
    """What every kind binds an epoch key to: a stanza moved to another epoch does not open."""
    return b"iomt-crypt/1/epoch" + epoch_id


def fingerprint_of(public: bytes) -> bytes:
    """First 8 bytes of SHA-256 over a label and the public key's bytes."""
    return hashlib.sha256(b"iomt-crypt/fingerprint\0" + public).digest()[:FINGERPRINT_BYTES]


def fingerprint_text(fingerprint: bytes) -> str:
    """Four groups of four hexadecimal digits: ``a1b2-c3d4-e5f6-0718``."""
    digits = fingerprint.hex()
    return "-".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def encode_text(prefix: str, body: bytes) -> str:
    """Key text: a prefix, then base32 (RFC 4648, lower case, unpadded) of the bytes and a 4-byte checksum."""
    raw = body + _checksum(prefix, body)
    return prefix + base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def decode_text(prefix: str, text: str, body_bytes: int) -> bytes:
    """Bytes of a key text made by `encode_text`.

    Raises
    ------
    KeyMaterialError
        Wrong length, wrong alphabet or wrong checksum. The text is not repeated in the message: it may be a secret.
    """
    digits = text.strip().lower()[len(prefix) :]
    try:
        raw = base64.b32decode(digits.upper() + "=" * (-len(digits) % 8))
    except ValueError:
        raw = b""
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if len(body) != body_bytes or checksum != _checksum(prefix, body) or encode_text(prefix, body) != prefix + digits:
        raise KeyMaterialError(
            f"key text {prefix}... is damaged: its length, alphabet or checksum is wrong",
            hint="copy the whole line, from the prefix to the last character",
        )
    return body


def _checksum(prefix: str, body: bytes) -> bytes:
    return hashlib.sha256(prefix.encode("ascii") + b"\0" + body).digest()[:_CHECKSUM_BYTES]
