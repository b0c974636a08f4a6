"""Preamble and File Meta Information of the files we write (PS3.10 7.1)."""

from __future__ import annotations

from iomt_crypt import __version__
from iomt_crypt.dicom.element import Element
from iomt_crypt.dicom.uid import encode_uid

# 2.25 and a random UUID (PS3.5 B.2), fixed for this implementation
IMPLEMENTATION_CLASS_UID = "2.25.161337760088691560983947397264321272526"
IMPLEMENTATION_VERSION_NAME = f"IOMTCRYPT_{__version__}"[:16]
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


def meta_elements(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN
) -> list[Element]:
    """Group 0002, its group length included."""
    elements = [
        Element(0x00020001, "OB", b"\0\1"),
        Element(0x00020002, "UI", encode_uid(sop_class_uid)),
        Element(0x00020003, "UI", encode_uid(sop_instance_uid)),
        Element(0x00020010, "UI", encode_uid(transfer_syntax_uid)),
        Element(0x00020012, "UI", encode_uid(IMPLEMENTATION_CLASS_UID)),
        Element(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME.encode("ascii")),
    ]
    size = sum(len(element.encode()) for element in elements)
    return [Element(0x00020000, "UL", size.to_bytes(4, "little")), *elements]


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """128 zero bytes, ``DICM`` and group 0002."""
    elements = meta_elements(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
    return bytes(128) + b"DICM" + b"".join(element.encode() for element in elements)
