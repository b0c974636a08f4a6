"""Our private block (PS3.5 7.8): one OB element that holds the sealed record.

Group 7FDF lies just below the pixel data, so the record is found without disturbing the elements before it.
"""

from __future__ import annotations

from iomt_crypt.dicom.element import Element
from iomt_crypt.dicom.parse import Header, raw_value
from iomt_crypt.errors import MalformedError

GROUP = 0x7FDF
CREATOR = "IOMT-CRYPT RECORD"
RECORD_ELEMENT = 0x01
_MAX_BLOCKS = 0x100


def record_elements(header: Header, container: bytes) -> tuple[Element, Element]:
    """Private creator and record, in the first block of the group that ``header`` leaves free."""
    taken = {tag & 0xFF if tag & 0xFFFF < _MAX_BLOCKS else tag >> 8 & 0xFF for tag in header if tag >> 16 == GROUP}
    for block in range(0x10, _MAX_BLOCKS):
        if block not in taken:  # neither reserved, nor used without a reservation
            tag = GROUP << 16
            return (
                Element(tag | block, "LO", CREATOR.encode("ascii")),
                Element(tag | block << 8 | RECORD_ELEMENT, "OB", container),
            )
    raise MalformedError(f"no free private block in group {GROUP:04X}")


def find_record(header: Header) -> tuple[int, bytes] | None:
    """Tag and value of the record, found by creator, whatever VR an archive gave it; None if there is none."""
    tag = record_tag(header)
    return None if tag is None else (tag, raw_value(header, tag))


def record_tag(header: Header) -> int | None:
    """Tag of the record; None if there is none."""
    for creator in header:
        tag = holder_tag(creator)
        if tag in header and is_creator(raw_value(header, creator)):
            return tag
    return None


def holder_tag(creator: int) -> int:
    """Tag of the record in the block that a private creator's tag reserves; -1 for other tags."""
    if creator >> 16 == GROUP and 0x10 <= creator & 0xFFFF < _MAX_BLOCKS:
        return GROUP << 16 | (creator & 0xFF) << 8 | RECORD_ELEMENT
    return -1


def is_creator(value: bytes) -> bool:
    """Whether the value of a private creator element is ours, whatever an archive padded it with."""
    return value.strip(b" \0") == CREATOR.encode("ascii")


def creator_tag(tag: int) -> int:
    """Tag of the private creator that a private element belongs to."""
    return tag & 0xFFFF0000 | (tag & 0xFF00) >> 8
