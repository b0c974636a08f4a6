"""A data set in Explicit VR Little Endian, written in Implicit VR Little Endian (PS3.5 A.1) on its way to a peer.

Values keep their bytes; only the VRs go, the lengths of sequences and items follow, and group lengths (retired, they
would be wrong) are left out. Pixels are not looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from iomt_crypt.dicom.encoding import EXPLICIT_LE
from iomt_crypt.dicom.parse import UNDEFINED
from iomt_crypt.dicom.sequence import MAX_DEPTH
from iomt_crypt.dicom.source import read_file
from iomt_crypt.errors import MalformedError, UnsupportedError

_CHUNK_BYTES = 1 << 20
_LONG_VRS = frozenset(vr.value.encode("ascii") for vr in EXPLICIT_VR_LENGTH_32)
_SHORT_VRS = frozenset(vr.value.encode("ascii") for vr in VR if len(vr.value) == 2) - _LONG_VRS
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_LENGTH = struct.Struct("<L")
_HEADER_BYTES = 8  # tag and length: PS3.5 7.1.3


def implicit_dataset(stream: BinaryIO) -> Iterator[bytes]:
    """The data set of the file ``stream`` in Implicit VR Little Endian, in chunks; ``stream`` must be seekable.

    A data set that is implicit already, whatever the file says of it, comes as it is.

    Raises
    ------
    NotDicomError, MalformedError
        It cannot be parsed.
    UnsupportedError
        It is in another byte order, deflated, or has encapsulated pixels.
    """
    source = read_file(stream)
    pixel = source.pixel
    if source.deflated is not None or not source.encoding.little_endian or (pixel and pixel.encapsulated):
        raise UnsupportedError(
            f"an object in transfer syntax {source.transfer_syntax_uid} is not converted to Implicit VR Little Endian"
        )
    convert = without_vrs if source.encoding == EXPLICIT_LE else bytes
    head = source.head[source.dataset_offset :]
    if pixel is None:
        yield convert(head)
        return
    end = len(head) - pixel.header_bytes
    yield convert(head[:end]) + head[end : end + 4] + _LENGTH.pack(pixel.size)
    stream.seek(pixel.offset)
    left = pixel.size
    while left:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise MalformedError(f"the pixel value is cut off, {left} bytes are missing")
        left -= len(chunk)
        yield chunk
    yield convert(source.tail)


def without_vrs(elements: bytes) -> bytes:
    """Encoded elements of Explicit VR Little Endian, in Implicit VR. Raises MalformedError."""
    converted = bytearray()
    _elements(elements, 0, len(elements), converted, 0)
    return bytes(converted)


def _elements(data: bytes, at: int, end: int, out: bytearray, depth: int, *, until: bytes = b"") -> int:
    """Convert elements up to ``end``, or up to and without the delimiter ``until``; return where that was."""
    while at < end:
        tag = data[at : at + 4]
        if until and tag == until:
            return at
        vr, begin, size = _header(data, at, end)
        if vr == b"SQ":
            body = bytearray()
            at = _items(data, begin, size, end, body, depth + 1)
            out += tag + _LENGTH.pack(UNDEFINED if size == UNDEFINED else len(body)) + body
            continue
        # UN of undefined length has a value that is implicit already: PS3.5 6.2.2
        at = _skip_items(data, begin, end, depth + 1) if size == UNDEFINED else begin + size
        if at > end:
            raise MalformedError(f"an element at offset {begin} of the header is cut off")
        if tag[2:] != b"\0\0":
            out += tag + _LENGTH.pack(size) + data[begin:at]
    if until:
        raise MalformedError("an item of undefined length has no end")
    return at


def _header(data: bytes, at: int, end: int) -> tuple[bytes, int, int]:
    """VR, where the value begins, and its size (PS3.5 7.1.2)."""
    vr = data[at + 4 : at + 6]
    if vr in _SHORT_VRS and at + 8 <= end:
        return vr, at + 8, int.from_bytes(data[at + 6 : at + 8], "little")
    # VRs to come have 32 bits for their length (PS3.5 6.2, note)
    if len(vr) == 2 and vr.isalpha() and vr.isupper() and at + 12 <= end:
        return vr, at + 12, int.from_bytes(data[at + 8 : at + 12], "little")
    raise MalformedError(f"no element of Explicit VR at offset {at} of the header")


def _items(data: bytes, at: int, size: int, end: int, out: bytearray, depth: int) -> int:
    """Convert the items of a sequence with their delimiters; return where it ends."""
    _check_depth(depth)
    stop = end if size == UNDEFINED else at + size
    if stop > end:
        raise MalformedError(f"a sequence at offset {at} of the header is cut off")
    while at < stop:
        tag, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += _HEADER_BYTES
        if tag == _SEQUENCE_END and size == UNDEFINED:
            out += tag + bytes(4)
            return at
        if tag != _ITEM or at > stop or (length != UNDEFINED and at + length > stop):
            raise MalformedError(f"a sequence has no whole item at offset {at - _HEADER_BYTES} of the header")
        body = bytearray()
        if length == UNDEFINED:
            at = _elements(data, at, stop, body, depth, until=_ITEM_END) + _HEADER_BYTES
            body += _ITEM_END + bytes(4)
        else:
            at = _elements(data, at, at + length, body, depth)
        out += tag + _LENGTH.pack(UNDEFINED if length == UNDEFINED else len(body)) + body
    if size == UNDEFINED:
        raise MalformedError("a sequence of undefined length has no end")
    return at


def _skip_items(data: bytes, at: int, end: int, depth: int) -> int:
    """Where a sequence of undefined length ends that is in Implicit VR, its delimiter included."""
    _check_depth(depth)
    while at + _HEADER_BYTES <= end:
        tag, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        at += _HEADER_BYTES
        if tag in (_SEQUENCE_END, _ITEM_END):
            return at
        # An item, or an element in one: what has no length ends with a delimiter of its own.
        at = _skip_items(data, at, end, depth + 1) if length == UNDEFINED else at + length
    raise MalformedError("a sequence of undefined length has no end")


def _check_depth(depth: int) -> None:
    if depth > 2 * MAX_DEPTH:
        raise MalformedError(f"sequences are nested deeper than {MAX_DEPTH} levels")
