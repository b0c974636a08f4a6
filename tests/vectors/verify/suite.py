"""Suites `hybrid-1` and `chaos-cnn-1`: section 9 of docs/SPEC.md."""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

from .aes import AuthenticationError, gcm_decrypt, gcm_encrypt
from .cipher import decrypt, encrypt, le64, to_bytes, to_words

TAG_BYTES = {"hybrid-1": 16, "chaos-cnn-1": 32}
DATA_KEY_BYTES = 32
OBJECT_ID_BYTES = 16


def hkdf(data_key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA-256, RFC 5869 section 2."""
    prk = hmac.digest(salt, data_key, "sha256")
    result = block = b""
    for i in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([i]), sha256)
        result += block
    return result[:length]


@dataclass(frozen=True)
class Suite:
    """One object: its suite, keys, name and layout. `N` units of `unit_size` bytes, words of `w` bits."""

    suite: str
    data_key: bytes = field(repr=False)
    object_id: bytes
    uid: str
    N: int
    unit_size: int
    w: int
    row_length: int

    def __post_init__(self) -> None:
        """Refuse what section 9 does not know."""
        if self.suite not in TAG_BYTES:
            raise ValueError(f"unknown suite {self.suite!r}")
        if len(self.data_key) != DATA_KEY_BYTES:
            raise ValueError(f"the data key has {len(self.data_key)} bytes, not {DATA_KEY_BYTES}")
        if len(self.object_id) != OBJECT_ID_BYTES:
            raise ValueError(f"the object id has {len(self.object_id)} bytes, not {OBJECT_ID_BYTES}")
        if self.w not in (8, 16) or self.unit_size * 8 % self.w:
            raise ValueError(f"units of {self.unit_size} bytes are not whole words of {self.w} bits")
        if not 0 <= self.row_length < 2**64:
            raise ValueError(f"the row length {self.row_length} cannot be stored in 8 bytes")

    def key(self, purpose: str) -> bytes:
        """Image key or tag key."""
        return hkdf(self.data_key, self.object_id, f"iomt-crypt/1/{self.suite}/{purpose}".encode("ascii"), 32)

    def associated_data(self, i: int) -> bytes:
        """AD(i)."""
        numbers = (i, self.N, self.unit_size, self.w, self.row_length)
        uid = self.uid.encode("ascii")
        return b"".join(map(le64, numbers)) + self.object_id + le64(len(uid)) + uid

    def seal(self, i: int, unit: bytes) -> tuple[bytes, bytes]:
        """Stored bytes and tag of unit i."""
        if not 0 <= i < self.N or len(unit) != self.unit_size:
            raise ValueError(f"unit {i} of {len(unit)} bytes: there are {self.N} of {self.unit_size} bytes")
        words = to_words(unit, self.w)
        secret = encrypt(words, w=self.w, key=self.key("image"), tweak=le64(i), row_length=self.row_length)
        C = to_bytes(secret, self.w)
        if self.suite == "hybrid-1":
            return gcm_encrypt(self.key("tag"), i.to_bytes(12, "big"), C, self.associated_data(i))
        return C, hmac.digest(self.key("tag"), self.associated_data(i) + C, sha256)

    def open(self, i: int, stored: bytes, tag: bytes) -> bytes:
        """Unit i, after its tag was found right."""
        if not 0 <= i < self.N or len(stored) != self.unit_size or len(tag) != TAG_BYTES[self.suite]:
            raise AuthenticationError("authentication failed")
        if self.suite == "hybrid-1":
            C = gcm_decrypt(self.key("tag"), i.to_bytes(12, "big"), stored, self.associated_data(i), tag)
        else:
            C = stored
            if not hmac.compare_digest(hmac.digest(self.key("tag"), self.associated_data(i) + C, sha256), tag):
                raise AuthenticationError("authentication failed")
        secret = to_words(C, self.w)
        plain = decrypt(secret, w=self.w, key=self.key("image"), tweak=le64(i), row_length=self.row_length)
        return to_bytes(plain, self.w)
