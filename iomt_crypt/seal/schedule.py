"""Keys of one object, all derived from its data key.

data key (32 random bytes, fresh for each object) -> HKDF-SHA-256 (RFC 5869), salt = object id, info = label.
One label for one purpose, so no key is ever used for two things.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache, cached_property

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

KEY_BYTES = 32
OBJECT_ID_BYTES = 16
_SHA256 = hashes.SHA256()


@dataclass(frozen=True, repr=False)
class ObjectKey:
    """The data key of one object, 32 bytes, and the random identity it is bound to, 16 bytes.

    Raises
    ------
    ValueError
        One of them has another length.
    """

    data_key: bytes
    object_id: bytes

    def __post_init__(self) -> None:
        if len(self.data_key) != KEY_BYTES or len(self.object_id) != OBJECT_ID_BYTES:
            raise ValueError(
                f"data key and object id must be {KEY_BYTES} and {OBJECT_ID_BYTES} bytes, "
                f"got {len(self.data_key)} and {len(self.object_id)}"
            )

    @classmethod
    def generate(cls) -> ObjectKey:
        return cls(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(OBJECT_ID_BYTES))

    def derive(self, purpose: str) -> bytes:
        """32-byte key for ``purpose``, a short constant such as ``"hybrid-1/chaos"``."""
        return HKDFExpand(_SHA256, KEY_BYTES, _info(purpose)).derive(self._extracted)

    @cached_property
    def _extracted(self) -> bytes:
        """What HKDF extracts: one for all purposes (RFC 5869 2.2)."""
        return HKDF.extract(_SHA256, self.object_id, self.data_key)


def derived(data_key: bytes, object_id: bytes, purpose: str) -> bytes:
    """The key that `ObjectKey.derive` gives, for one purpose only: quicker, as nothing is kept."""
    return HKDF(_SHA256, KEY_BYTES, object_id, _info(purpose)).derive(data_key)


@cache
def _info(purpose: str) -> bytes:
    return b"iomt-crypt/1/" + purpose.encode("ascii")
