"""A secret under a passphrase, as one line of text: scrypt (RFC 7914), then AES-256-GCM.

The line: prefix, base64 of ``log2(n) (1) | r (1) | p (1) | salt (16) | ciphertext and tag``.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from iomt_crypt.errors import KeyMaterialError

PREFIX = "iomtlocked1:"
_LOG2_N, _R, _P = 17, 8, 1  # 128 MiB and about 0.3 s: OWASP's first choice for scrypt
_MAX_LOG2_N, _MAX_R, _MAX_P = 20, 8, 4
_MAX_COST = 1 << 23  # n r p: 1 GiB and some seconds, what a file or a stanza may make us spend
_SALT_BYTES = 16
PARAMETER_BYTES = 3 + _SALT_BYTES


def new_parameters() -> bytes:
    """19 bytes: ``log2(n) | r | p | salt``, the salt fresh."""
    return bytes((_LOG2_N, _R, _P)) + secrets.token_bytes(_SALT_BYTES)


def within_limits(parameters: bytes) -> bool:
    """Whether these are parameters that we spend time and memory on."""
    if len(parameters) != PARAMETER_BYTES:
        return False
    log2_n, r, p = parameters[:3]
    if not (1 <= log2_n <= _MAX_LOG2_N and 1 <= r <= _MAX_R and 1 <= p <= _MAX_P):
        return False
    return log2_n < 16 * r and (r * p) << log2_n <= _MAX_COST  # RFC 7914, 2: n < 2^(128 r / 8)


def stretch(passphrase: bytes, parameters: bytes) -> bytes:
    """32 bytes from a passphrase by scrypt.

    Raises
    ------
    KeyMaterialError
        The parameters are over the limits, or there is no memory for them.
    """
    if not within_limits(parameters):
        raise KeyMaterialError(f"scrypt parameters are damaged, or over the limit of n = 2^{_MAX_LOG2_N}")
    n, r, p = 1 << parameters[0], parameters[1], parameters[2]
    try:
        return Scrypt(salt=parameters[3:], length=32, n=n, r=r, p=p).derive(passphrase)
    except (MemoryError, ValueError):
        raise KeyMaterialError(f"scrypt needs {(128 * n * r) >> 20} MiB of memory, which are not there") from None


def lock(secret: bytes, passphrase: bytes) -> str:
    """One line of text that only ``passphrase`` opens."""
    if not passphrase:
        raise KeyMaterialError("the passphrase is empty")
    head = new_parameters()
    # A constant nonce is safe: the salt is fresh, so each key encrypts one message.
    sealed = AESGCM(stretch(passphrase, head)).encrypt(bytes(12), secret, head)
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
    except ValueError:
        raise KeyMaterialError("the locked identity is damaged: not base64") from None
    head, sealed = raw[:PARAMETER_BYTES], raw[PARAMETER_BYTES:]
    if len(sealed) < 16 or not within_limits(head):
        raise KeyMaterialError(f"the locked identity is damaged, or asks for more than scrypt n = 2^{_MAX_LOG2_N}")
    try:
        return AESGCM(stretch(passphrase, head)).decrypt(bytes(12), sealed, head)
    except InvalidTag:
        raise KeyMaterialError("wrong passphrase") from None
