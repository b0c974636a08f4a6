"""Unique identifiers of encrypted objects.

An encrypted image is a new SOP Instance (PS3.3 C.7.6.1.1.2). Its UIDs are derived from the original ones under a site
key, so a resend gets the same UIDs and every reference can follow.
"""

from __future__ import annotations

import hashlib
import hmac

from iomt_crypt.errors import MalformedError

SOP_INSTANCE, SERIES, STUDY = 0x00080018, 0x0020000E, 0x0020000D
REFERENCED_CLASS = 0x00081150
MAX_UID_CHARACTERS = 64  # PS3.5 9.1
_MAX_REFERENCES = 1 << 20  # of one object: a reference of two bytes becomes one of 45, and takes 2 microseconds

# Elements whose value is the UID of an instance or a series, at any depth
REFERENCES = frozenset(
    (
        SOP_INSTANCE,
        SERIES,
        0x00080058,  # Failed SOP Instance UID List
        0x00081155,  # Referenced SOP Instance UID
        0x00200242,  # SOP Instance UID of Concatenation Source
        0x00041511,  # Referenced SOP Instance UID in File
    )
)
_STANDARD_ROOT = "1.2.840.10008."  # well-known instances, e.g. colour palettes: the same for everybody
_STORAGE_ROOT = "1.2.840.10008.5.1.4."  # storage SOP classes; patients, studies and performed steps are elsewhere
_STEP_ROOTS = ("1.2.840.10008.5.1.4.32.", "1.2.840.10008.5.1.4.34.4.", "1.2.840.10008.5.1.4.34.6.")  # worklist, UPS


class UidMap:
    """Original UID -> UID in the encrypted object. Without a site key, every UID stays."""

    def __init__(self, site_key: bytes | None, keep: frozenset[str] = frozenset()) -> None:
        self._site_key = site_key
        self._keep = keep
        self._n_references = 0

    def derive(self, uid: str) -> str:
        """``2.25.`` and a UUID (PS3.5 B.2) of version 8 (RFC 9562), its free bits from HMAC-SHA-256 of ``uid``."""
        if self._site_key is None or not uid or uid in self._keep or uid.startswith(_STANDARD_ROOT):
            return uid
        digest = bytearray(hmac.digest(self._site_key, b"iomt-crypt/1/uid\0" + uid.encode(), hashlib.sha256)[:16])
        digest[6] = digest[6] & 0x0F | 0x80
        digest[8] = digest[8] & 0x3F | 0x80
        return f"2.25.{int.from_bytes(digest, 'big')}"

    def derive_value(self, value: bytes, referenced_class: str) -> bytes:
        """Value of a reference element, one or several UIDs; unchanged when it points at no stored instance.

        Raises
        ------
        MalformedError
            With those before there are more than a million.
        """
        stored = referenced_class.startswith(_STORAGE_ROOT) and not referenced_class.startswith(_STEP_ROOTS)
        if referenced_class.startswith(_STANDARD_ROOT) and not stored:
            return value
        self._n_references += value.count(b"\\") + 1
        if self._n_references > _MAX_REFERENCES:
            raise MalformedError(f"the object refers to more than {_MAX_REFERENCES} instances")
        uids = value.decode("ascii", "replace").strip(" \0").split("\\")
        return encode_uid("\\".join(self.derive(uid.strip(" \0")) for uid in uids))


def encode_uid(uid: str) -> bytes:
    """UI value, padded with a zero byte to even length (PS3.5 9.1)."""
    value = uid.encode("ascii", "replace")
    return value + b"\0" * (len(value) & 1)
