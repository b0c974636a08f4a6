"""Compressed streams by their first bytes: what a frame that was passed through begins with."""

from __future__ import annotations

_ITEM = b"\xfe\xff\x00\xe0"  # PS3.5 A.4
_JP2_BOX = b"\x00\x00\x00\x0cjP  \r\n\x87\n"  # ISO/IEC 15444-1 I.5.1
_J2K = b"\xff\x4f\xff\x51"  # ISO/IEC 15444-1 A.4.1: SOC, SIZ
_JPEG = b"\xff\xd8\xff"  # ISO/IEC 10918-1 B.1.1.3, ISO/IEC 14495-1 C.1
_RLE_OFFSET = (64).to_bytes(4, "little")


def starts_compressed(data: bytes, n_bytes: int) -> bool:
    """Tell whether bytes begin like a compressed stream, or like the items of an encapsulated value.

    Noise does so with a probability below 3 * 10^-11: at least 35 of its bits are compared.

    Parameters
    ----------
    data
        The first bytes, 65,600 or all there are.
    n_bytes
        How many there are.
    """
    if data.startswith(_ITEM):
        return int.from_bytes(data[4:8], "little") <= n_bytes - 8
    if data.startswith(_J2K):  # Lsiz is 38 and 3 for each component
        size = int.from_bytes(data[4:6], "big")
        return 41 <= size <= 86 and size % 3 == 2
    if data.startswith(_JPEG):
        size = int.from_bytes(data[4:6], "big")
        return data[3] in _SEGMENTS and size >= 2 and data[4 + size : 5 + size] == b"\xff"
    if data[4:8] == _RLE_OFFSET:  # PS3.5 G.5: number of segments, 1 to 15, and the offset of the first
        return 1 <= int.from_bytes(data[:4], "little") <= 15
    return data.startswith(_JP2_BOX)


# Markers of segments that come first: frame headers, tables, APPn, JPEG-LS, comments.
_SEGMENTS = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDD, *range(0xE0, 0xF0), 0xF7, 0xF8, 0xFE})
