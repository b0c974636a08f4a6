"""What may not stay readable: everything that shows the pixels, or was made from them.

What is dropped here is not lost: the whole original header is sealed.
"""

from __future__ import annotations

from collections.abc import Sequence

from iomt_crypt.dicom.element import public_vr
from iomt_crypt.dicom.parse import PIXEL_TAGS, Header
from iomt_crypt.dicom.source import Source
from iomt_crypt.errors import UnsupportedError

PRIVATE_BULK_BYTES = 64  # a private binary value above this may be an image, a thumbnail or a part of one
_BINARY = frozenset(("OB", "OW", "OF", "OD", "OL", "OV", "UN"))

_DROPPED = frozenset(
    (
        0x00280106,  # Smallest Image Pixel Value
        0x00280107,  # Largest Image Pixel Value
        0x00280108,  # Smallest Pixel Value in Series
        0x00280109,  # Largest Pixel Value in Series
        0x00280110,  # Smallest Image Pixel Value in Plane
        0x00280111,  # Largest Image Pixel Value in Plane
        0x00280120,  # Pixel Padding Value: would mask cipher values
        0x00280121,  # Pixel Padding Range Limit
        0x00287FE0,  # Pixel Data Provider URL
        0x4FFE0001,  # MAC Parameters Sequence
        0x7FE00001,  # Extended Offset Table
        0x7FE00002,  # Extended Offset Table Lengths
        0x7FE00003,  # Encapsulated Pixel Data Value Total Length
        0xFFFAFFFA,  # Digital Signatures Sequence: would no longer verify; verifies again after decryption
        0xFFFCFFFC,  # Data Set Trailing Padding
    )
)
_DROPPED_SEQUENCES = frozenset(
    (
        0x00880200,  # Icon Image Sequence
        0x00603000,  # Histogram Sequence
        0x4FFE0001,
        0xFFFAFFFA,
    )
)
_FIRST_GROUP = 0x0004  # below are command and file meta elements: damage, and not to be taken for ours
_DELIMITERS = 0xFFFE  # items and delimiters, which are no elements (PS3.5 7.5), and what lies above
_DROPPED_ANYWHERE = _DROPPED.union(_DROPPED_SEQUENCES, PIXEL_TAGS)
_REPEATING_GROUPS = (0x5000, 0x6000, 0x7F00)  # curves (retired), overlays, variable pixel data (retired)

_UNSUPPORTED = {
    0x00420011: "an encapsulated document",
    0x54000100: "a waveform",
    0x56000020: "spectroscopy data",
}
_RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"


def refuse_unsupported_bulk(source: Source) -> None:
    """Raise UnsupportedError for objects whose content is neither an image nor a plain header."""
    for tag, what in _UNSUPPORTED.items():
        if tag in source.header:
            raise UnsupportedError(f"{what} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is not handled yet")
    if source.sop_class_uid == _RAW_DATA:
        raise UnsupportedError(f"raw data (SOP Class {_RAW_DATA}) is not handled yet")


def is_disputed(tag: int, *, sequence: bool) -> bool:
    """Whether an element is a sequence and the data dictionary says otherwise, or the other way round.

    An archive that stores in Implicit VR loses the VR, and whoever reads the object then goes by the dictionary: the
    value would be taken for something that it is not, and the rest of the object with it.
    """
    vr = public_vr(tag) if not tag >> 16 & 1 else "UN"
    return vr != "UN" and (vr == "SQ") != sequence


def is_dropped(tag: int, vr: str, value: bytes) -> bool:
    """Whether an element that is no sequence must not stand in the clear header."""
    group = tag >> 16
    if not _FIRST_GROUP <= group < _DELIMITERS or tag in _DROPPED_ANYWHERE:
        return True
    if group & 1:
        return vr in _BINARY and len(value) > PRIVATE_BULK_BYTES
    return group & 0xFF00 in _REPEATING_GROUPS


def is_dropped_sequence(tag: int, items: Sequence[Header]) -> bool:
    """Whether a sequence must not stand in the clear header: icons, and anything else that holds an image."""
    if tag >> 16 >= _DELIMITERS or tag in _DROPPED_SEQUENCES:
        return True
    return any(pixel in item for item in items for pixel in PIXEL_TAGS)
