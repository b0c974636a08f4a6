"""Small images with a mark that must not be found in any store."""

from __future__ import annotations

from pathlib import Path

from iomt_crypt.dicom.element import Element
from iomt_crypt.dicom.meta import file_meta

CT = "1.2.840.10008.5.1.4.1.1.2"
PATIENT = "Zebedee^Quentin"
#: Stands in the pixels of every image.
MARK = b"these pixels are plain; " * 8
_SIDE = 64


def uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.10.1.{number}"


def write_image(folder: Path, number: int) -> Path:
    """A CT image of 64 x 64, Explicit VR Little Endian, as a file that is named by ``number``."""
    value = f"{number:08d}".encode() + MARK
    short = {0x00280010: _SIDE, 0x00280011: _SIDE, 0x00280100: 16, 0x00280101: 16, 0x00280102: 15, 0x00280103: 0}
    elements = [
        Element(0x00080008, "CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        Element(0x00080016, "UI", CT.encode()),
        Element(0x00080018, "UI", uid(number).encode()),
        Element(0x00080060, "CS", b"CT"),
        Element(0x00100010, "PN", PATIENT.encode()),
        Element(0x00100020, "LO", b"PID-7431-XK"),
        Element(0x0020000D, "UI", uid(900001).encode()),
        Element(0x0020000E, "UI", uid(900002).encode()),
        Element(0x00200013, "IS", str(number).encode()),
        Element(0x00280002, "US", b"\1\0"),
        Element(0x00280004, "CS", b"MONOCHROME2"),
        *(Element(tag, "US", number.to_bytes(2, "little")) for tag, number in short.items()),
        Element(0x7FE00010, "OW", value.ljust(2 * _SIDE * _SIDE, b"\7")),
    ]
    path = folder / f"{number:05d}.dcm"
    path.write_bytes(file_meta(CT, uid(number)) + b"".join(element.encode() for element in elements))
    return path
