"""Sealing of headers: compressed with zstd (RFC 8878), encrypted with AES-256-GCM, whatever the suite.

The header is not an image, so the image cipher has no part in it.
"""

from __future__ import annotations

import threading

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iomt_crypt.errors import AuthenticationError, MalformedError
from iomt_crypt.seal.schedule import ObjectKey

MAX_HEADER_BYTES = 1 << 28
_LEVEL = 3
_LOCAL = threading.local()
_NONCE = bytes(12)  # safe: the header key is derived from a fresh data key and used for this one message


def seal_header(key: ObjectKey, plain: bytes) -> bytes:
    """Compress and encrypt.

    Raises
    ------
    MalformedError
        ``plain`` is larger than MAX_HEADER_BYTES (256 MiB): it could not be opened again.
    """
    if len(plain) > MAX_HEADER_BYTES:
        raise MalformedError(f"the header has {len(plain)} bytes, the limit is {MAX_HEADER_BYTES}")
    packed = _compressor().compress(plain)
    return AESGCM(key.derive("header")).encrypt(_NONCE, packed, b"iomt-crypt/1/header" + key.object_id)


def _compressor() -> zstandard.ZstdCompressor:
    """This thread's own: making one costs more than compressing a header."""
    if not hasattr(_LOCAL, "compressor"):
        _LOCAL.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    compressor: zstandard.ZstdCompressor = _LOCAL.compressor
    return compressor


def open_header(key: ObjectKey, sealed: bytes) -> bytes:
    """Check, decrypt and decompress. Raises AuthenticationError if anything is wrong."""
    try:
        packed = AESGCM(key.derive("header")).decrypt(_NONCE, sealed, b"iomt-crypt/1/header" + key.object_id)
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise AuthenticationError
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_HEADER_BYTES)
    except (InvalidTag, zstandard.ZstdError):
        raise AuthenticationError from None
