"""An encrypted object whose clear header cannot be parsed: the record and the pixels are found all the same.

The clear header is in nobody's trust, and archives convert it. What is needed of it on the way back is where two
values lie, and both can be told by themselves: the record says where it ends and is whole (a digest), and it names the
tag and the size of the pixel value. Nothing is believed that is found so: record, header and frames are authenticated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Literal

from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from iomt_crypt.dicom import block
from iomt_crypt.dicom.encoding import Encoding, default_transfer_syntax
from iomt_crypt.dicom.parse import MAX_HEADER_BYTES, Header, PixelValue, read_prefix, stream_size
from iomt_crypt.dicom.source import Source, dataset_of, read_file
from iomt_crypt.errors import AuthenticationError, MalformedError, NotDicomError
from iomt_crypt.seal import Record
from iomt_crypt.seal.container import DIGEST_BYTES, HEAD_BYTES, START

_PIECE_BYTES = 1 << 20
_MAX_CANDIDATES = 64  # places that look like a record; what is not one costs a digest over what it claims to be
_IMPLICIT_HEADER_BYTES, _EXPLICIT_HEADER_BYTES = 8, 12  # PS3.5 7.1.3, 7.1.2
_LONG_VRS = frozenset(vr.value.encode("ascii") for vr in EXPLICIT_VR_LENGTH_32)
_ENCODINGS = (
    Encoding(implicit=False, little_endian=True),
    Encoding(implicit=True, little_endian=True),
    Encoding(implicit=False, little_endian=False),
)


def read_sealed(stream: BinaryIO) -> Source:
    """`read_file` for the way back: where the header cannot be parsed, the record and the pixels alone.

    Such a source has a ``damage``, and in its header only the elements before the damage and the record.

    Raises
    ------
    NotDicomError
    MalformedError
        Of `read_file`, and there is no whole record with its pixels, either.
    """
    try:
        return read_file(stream)
    except (MalformedError, NotDicomError) as error:
        # what is no DICOM file by its first bytes is not searched through: there are trees full of them
        found = _salvage(stream, str(error)) if _has_preamble(stream) or isinstance(error, MalformedError) else None
        if found is None:
            raise
        return found


def _has_preamble(stream: BinaryIO) -> bool:
    stream.seek(128)
    return stream.read(4) == b"DICM"


def _salvage(stream: BinaryIO, damage: str) -> Source | None:
    data, start, syntax = dataset_of(stream)
    for offset, size, container in _containers(data):
        try:
            record = Record.unpack(container)
        except AuthenticationError:
            continue
        for encoding in _ENCODINGS:
            holder = _holder(data, offset, size, encoding)
            pixel = _pixel_value(data, offset + size, record, encoding) if holder else None
            if holder and (pixel or not record.pixel_tag):
                found = _source(data, start, syntax, encoding, holder, pixel, damage)
                return found if data is stream else replace(found, deflated=b"")
    return None


def _source(
    data: BinaryIO,
    start: int,
    transfer_syntax_uid: str | None,
    encoding: Encoding,
    holder: RawDataElement,
    pixel: PixelValue | None,
    damage: str,
) -> Source:
    creator = block.creator_tag(holder.tag)
    ours = _raw(creator, "LO", block.CREATOR.encode("ascii"), 0, encoding)
    header: Header = read_prefix(data, start, encoding)
    # another block of our group would be found first; only the group length is needed, by who changes the record
    header = {tag: e for tag, e in header.items() if tag >> 16 != block.GROUP or not tag & 0xFFFF}
    header |= {creator: ours, int(holder.tag): holder}
    return Source(
        stream=data,
        origin="file",
        transfer_syntax_uid=transfer_syntax_uid or default_transfer_syntax(encoding),
        encoding=encoding,
        head=b"",
        tail=b"",
        dataset_offset=start,
        elements=b"",
        header=header,
        pixel=pixel,
        damage=damage,
    )


def _containers(stream: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Offset, size and value of each element that may be a record, by the length that stands before it."""
    end = stream_size(stream)
    for place, _ in zip(_places(stream, START), range(_MAX_CANDIDATES), strict=False):
        if place < _EXPLICIT_HEADER_BYTES:
            continue
        stream.seek(place - 4)
        start = stream.read(4 + HEAD_BYTES)
        if len(start) < 4 + HEAD_BYTES:
            continue
        least = HEAD_BYTES + int.from_bytes(start[-4:], "big") + DIGEST_BYTES
        for order in ("little", "big"):
            size = int.from_bytes(start[:4], order)
            if least <= size <= min(MAX_HEADER_BYTES, end - place):
                stream.seek(place)
                yield place, size, stream.read(size)


def _places(stream: BinaryIO, what: bytes, begin: int = 0) -> Iterator[int]:
    """Where ``what`` stands at or behind ``begin``."""
    kept = len(what) - 1
    offset, window = begin, b""
    while True:
        stream.seek(offset + len(window))
        piece = stream.read(_PIECE_BYTES)
        window += piece
        found = window.find(what)
        while found >= 0:
            yield offset + found
            found = window.find(what, found + 1)
        if not piece:
            return
        dropped = max(0, len(window) - kept)
        offset, window = offset + dropped, window[dropped:]


def _holder(stream: BinaryIO, offset: int, size: int, encoding: Encoding) -> RawDataElement | None:
    """The element whose value lies at ``offset``, if it is one that may hold a record in this encoding."""
    header_bytes = _IMPLICIT_HEADER_BYTES if encoding.implicit else _EXPLICIT_HEADER_BYTES
    stream.seek(offset - header_bytes)
    start = stream.read(header_bytes)
    order = _order(encoding)
    tag = int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order)
    if tag != block.holder_tag(block.creator_tag(tag)) or int.from_bytes(start[-4:], order) != size:
        return None
    if encoding.implicit:
        vr = None
    elif start[4:6] in _LONG_VRS:
        vr = start[4:6].decode("ascii")
    else:
        return None
    stream.seek(offset)
    return _raw(tag, vr, stream.read(size), offset, encoding)


def _raw(tag: int, vr: str | None, value: bytes, offset: int, encoding: Encoding) -> RawDataElement:
    return RawDataElement(BaseTag(tag), vr, len(value), value, offset, encoding.implicit, encoding.little_endian, True)


def _pixel_value(stream: BinaryIO, begin: int, record: Record, encoding: Encoding) -> PixelValue | None:
    """The first element behind ``begin`` with the tag and the size of the encrypted frames."""
    if not record.pixel_tag:
        return None
    order, tag = _order(encoding), record.pixel_tag
    header_bytes = _IMPLICIT_HEADER_BYTES if encoding.implicit else _EXPLICIT_HEADER_BYTES
    wanted = record.layout.n_frames * record.layout.frame_bytes
    encoded = (tag >> 16).to_bytes(2, order) + (tag & 0xFFFF).to_bytes(2, order)
    end = stream_size(stream)
    for place in _places(stream, encoded, begin):
        stream.seek(place)
        start = stream.read(header_bytes)
        if len(start) < header_bytes or not (encoding.implicit or start[4:6] in _LONG_VRS):
            continue
        size = int.from_bytes(start[-4:], order)
        if size in (wanted, wanted + (wanted & 1)) and place + header_bytes + size <= end:
            return PixelValue(tag, place + header_bytes, size, False, header_bytes)
    return None


def _order(encoding: Encoding) -> Literal["little", "big"]:
    return "little" if encoding.little_endian else "big"
