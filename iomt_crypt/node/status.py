"""DICOM C-STORE status codes: what the node answers, and what it makes of an answer.

PS3.4 B.2.3 (Storage Service Class), PS3.7 9.1.1.1.9 and Annex C (C-STORE and general codes).
"""

from __future__ import annotations

import errno
from enum import Enum

from iomt_crypt.errors import AlreadyEncryptedError, DiskFullError, InputError, MalformedError, NotDicomError

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.15
DUPLICATE = 0x0111  # PS3.7 C.5.6
OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3
MISMATCH = 0xA900  # PS3.4 B.2.3: data set does not match SOP class
CANNOT_UNDERSTAND = 0xC000  # PS3.4 B.2.3; the last three digits are ours to give
MALFORMED = 0xC001
UNSUPPORTED = 0xC002
ALREADY_ENCRYPTED = 0xC003
TOO_LARGE = 0xC004

MEANINGS: dict[int, str] = {
    SUCCESS: "success",
    0x0105: "no such attribute",  # PS3.7 C.5.13
    0x0106: "invalid attribute value",  # PS3.7 C.5.10
    PROCESSING_FAILURE: "processing failure",
    DUPLICATE: "duplicate SOP instance",  # PS3.7 C.5.6
    0x0112: "no such SOP instance",  # PS3.7 C.5.12
    0x0117: "invalid SOP instance",  # PS3.7 C.5.11
    0x0122: "SOP class not supported",  # PS3.7 C.5.23
    0x0124: "not authorised",  # PS3.7 C.5.3
    0x0210: "duplicate invocation",  # PS3.7 C.5.5
    0x0211: "unrecognised operation",  # PS3.7 C.5.25
    0x0212: "mistyped argument",  # PS3.7 C.5.9
    OUT_OF_RESOURCES: "refused: out of resources",
    MISMATCH: "data set does not match SOP class",
    0xB000: "warning: coercion of data elements",  # PS3.4 B.2.3
    0xB006: "warning: elements discarded, the record may be lost",  # PS3.4 B.2.3
    0xB007: "warning: data set does not match SOP class, the record may be lost",  # PS3.4 B.2.3
    CANNOT_UNDERSTAND: "cannot understand",
}

DELIVERED = frozenset({SUCCESS, 0xB000, 0xB006, 0xB007})


class Verdict(Enum):
    """What the answer of a destination means for the object."""

    DELIVERED = "delivered"
    TRANSIENT = "transient"  # the destination cannot now: wait, try again for ever
    REFUSED = "refused"  # the destination does not take this object: counts against the attempts


def judge(status: int, *, is_ours: bool = False) -> Verdict:
    """Say what C-STORE status ``status`` (0 to 0xFFFF) means for the object (PS3.4 B.2.3).

    ``is_ours``: what the destination has under this UID can only be this very object, from an earlier attempt.

    Only success and the three warnings the standard defines for storage count as delivered: with any other code
    nobody promises that the object was kept.
    """
    if status in DELIVERED or (status == DUPLICATE and is_ours):
        return Verdict.DELIVERED
    if status & 0xFF00 == OUT_OF_RESOURCES:
        return Verdict.TRANSIENT
    return Verdict.REFUSED


def meaning(status: int) -> str:
    """Say in words what ``status`` means: its own entry, else that of its range, else 'status not in the standard'."""
    if status in MEANINGS:
        return MEANINGS[status]
    if status & 0xFF00 in (OUT_OF_RESOURCES, MISMATCH):
        return MEANINGS[status & 0xFF00]
    if status & 0xF000 == CANNOT_UNDERSTAND:
        return MEANINGS[CANNOT_UNDERSTAND]
    return "status not in the standard"


def is_disk_full(error: BaseException) -> bool:
    """Tell whether ``error`` says that there is no room: our own error, ENOSPC or a quota."""
    return isinstance(error, DiskFullError) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    )


def answer(error: BaseException) -> int:
    """Choose the C-STORE status that tells the sender about ``error``, raised while its object was taken in."""
    if is_disk_full(error):
        return OUT_OF_RESOURCES
    if isinstance(error, AlreadyEncryptedError):
        return ALREADY_ENCRYPTED
    if isinstance(error, MalformedError | NotDicomError):
        return MALFORMED
    if isinstance(error, InputError):
        return UNSUPPORTED
    return PROCESSING_FAILURE
