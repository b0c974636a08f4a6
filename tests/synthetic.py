"""Objects made from bytes, so that tests can write what no library would."""

from __future__ import annotations

import struct

EXPLICIT, IMPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PIXEL_DATA, FLOAT_PIXELS, DOUBLE_PIXELS = 0x7FE00010, 0x7FE00008, 0x7FE00009
_LONG = ("OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UC", "UR", "UT", "UN", "SV", "UV")
_BINARY = {"US": 2, "SS": 2, "OW": 2, "AT": 2, "UL": 4, "OF": 4, "FL": 4, "OD": 8, "FD": 8}

Elements = dict[int, tuple[str, bytes]]


def element(tag: int, vr: str, value: bytes, syntax: str = EXPLICIT) -> bytes:
    """One encoded element; ``value`` is little endian, its odd length is padded."""
    value += (b"\0" if vr in ("UI", "OB", "OW", "UN") else b" ") * (len(value) & 1)
    order = ">" if syntax == BIG else "<"
    if syntax == BIG and len(value) % _BINARY.get(vr, 1) == 0:
        word = _BINARY.get(vr, 1)
        value = b"".join(value[i : i + word][::-1] for i in range(0, len(value), word))
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<L", len(value)) + value
    if vr in _LONG:
        return head + vr.encode() + struct.pack(f"{order}xxL", len(value)) + value
    return head + vr.encode() + struct.pack(f"{order}H", len(value)) + value


def item(body: bytes) -> bytes:
    """A sequence item of defined length."""
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body


def preamble(syntax: str = EXPLICIT) -> bytes:
    """128 zero bytes, DICM and a group 0002 with nothing but the transfer syntax."""
    group = element(0x00020010, "UI", syntax.encode())
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(group))) + group


def us(value: int) -> tuple[str, bytes]:
    return "US", struct.pack("<H", value)


def image(
    pixels: bytes | None = bytes(range(64)),
    *,
    rows: int = 8,
    columns: int = 8,
    bits: int = 8,
    samples: int = 1,
    frames: int | None = None,
    photometric: str = "MONOCHROME2",
    tag: int = PIXEL_DATA,
    vr: str = "OB",
    uid: str = "1.2.3.4",
    more: Elements | None = None,
) -> Elements:
    """Elements of a secondary capture image."""
    elements: Elements = {
        0x00080016: ("UI", SECONDARY_CAPTURE.encode()),
        0x00080018: ("UI", uid.encode()),
        0x00100010: ("PN", b"Doe^John"),
        0x00100020: ("LO", b"ID-1"),
        0x0020000D: ("UI", b"1.2.3"),
        0x0020000E: ("UI", b"1.2.3.5"),
        0x00280002: us(samples),
        0x00280004: ("CS", photometric.encode()),
        0x00280010: us(rows),
        0x00280011: us(columns),
    }
    if samples > 1:
        elements[0x00280006] = us(0)
    if frames is not None:
        elements[0x00280008] = ("IS", str(frames).encode())
    if tag == PIXEL_DATA:
        elements |= {0x00280100: us(bits), 0x00280101: us(bits), 0x00280102: us(bits - 1), 0x00280103: us(0)}
    else:
        elements |= {0x00280100: us(bits)}
    if pixels is not None:
        elements[tag] = (vr, pixels)
    return elements | (more or {})


def data_set(elements: Elements, syntax: str = EXPLICIT) -> bytes:
    """Encoded elements in tag order."""
    return b"".join(element(tag, *value, syntax) for tag, value in sorted(elements.items()))


def file(elements: Elements, syntax: str = EXPLICIT) -> bytes:
    """A Part 10 file."""
    return preamble(syntax) + data_set(elements, syntax)
