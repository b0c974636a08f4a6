"""A secret under a passphrase, as one line of text: scrypt (RFC 7914), then AES-256-GCM.

The line: prefix, base64 of ``log2(n) (1) | r (1) | p (1) | salt (16) | ciphertext and tag``.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from iomt_crypt.errors import KeyMaterialError

PREFIX = "iomtlocked1:"
_LOG2_N, _R, _P = 17, 8, 1  # 128 MiB and about 0.3 s: OWASP's first choice for scrypt
_MAX_LOG2_N, _MAX_R, _MAX_P = 20, 8, 4  # 1 GiB: what a file may make us spend
_SALT_BYTES = 16


def lock(secret: bytes, passphrase: bytes) -> str:
    """One line of text that only ``passphrase`` opens."""
    if not passphrase:
        raise KeyMaterialError("the passphrase is empty")
    head = bytes((_LOG2_N, _R, _P)) + secrets.token_bytes(_SALT_BYTES)
    # A constant nonce is safe: the salt is fresh, so each key encrypts one message.
    sealed = AESGCM(_stretch(passphrase, head)).encrypt(bytes(12), secret, head)
    return PREFIX + base64.b64encode(head + sealed).decode("ascii")


def is_locked(line: str) -> bool:
    return line.startswith(PREFIX)


def unlock(line: str, passphrase: bytes) -> bytes:
    """The secret of a line made by `lock`.

    Raises
    ------
    KeyMaterialError
        Damaged line, scrypt parameters over the limit, or wrong passphrase.
    """
    try:
        raw = base64.b64decode(line[len(PREFIX) :], validate=True)
    except binascii.Error as error:
        raise KeyMaterialError("the locked identity is damaged: not base64") from error
    head, sealed = raw[: 3 + _SALT_BYTES], raw[3 + _SALT_BYTES :]
    if len(sealed) < 16 or not (1 <= head[0] <= _MAX_LOG2_N and 1 <= head[1] <= _MAX_R and 1 <= head[2] <= _MAX_P):
        raise KeyMaterialError(f"the locked identity is damaged, or asks for more than scrypt n = 2^{_MAX_LOG2_N}")
    try:
        return AESGCM(_stretch(passphrase, head)).decrypt(bytes(12), sealed, head)
    except InvalidTag:
        raise KeyMaterialError("wrong passphrase") from None
    except (MemoryError, ValueError):
        raise KeyMaterialError("the locked identity is damaged, or there is no memory for its scrypt") from None


def _stretch(passphrase: bytes, head: bytes) -> bytes:
    return Scrypt(salt=head[3:], length=32, n=1 << head[0], r=head[1], p=head[2]).derive(passphrase)
