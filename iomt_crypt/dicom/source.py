"""One DICOM object as it came: the spans before, of and after its pixel value, and its parsed header.

The spans are never re-encoded, so what goes back is what came in. The parsed header (raw pydicom elements) serves to
make the clear header.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from iomt_crypt.dicom.encoding import Encoding, default_transfer_syntax, encoding_of, inflate, is_deflated
from iomt_crypt.errors import MalformedError, NotDicomError

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # Float, Double Float, Pixel Data
UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_LONG_HEADER_VRS = frozenset((b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV"))
MAX_HEADER_BYTES = 1 << 27

# Elements by tag, undecoded; sequences of undefined length come parsed from pydicom. Plain integers for tags, and not
# pydicom's BaseTag and Dataset, whose comparisons and look-ups cost more than all the rest of the header's way.
Header = dict[int, RawDataElement | DataElement]


@dataclass(frozen=True)
class PixelValue:
    """Where the value of the pixel element lies in `Source.stream`.

    For encapsulated pixels the value is everything from the offset table to the sequence delimiter.
    """

    tag: int
    offset: int
    size: int
    encapsulated: bool
    header_bytes: int


@dataclass(frozen=True)
class Source:
    """A DICOM object, parsed as far as needed.

    stream
        seekable, holds what ``pixel`` points into
    head, tail
        the bytes before and after the pixel value; without pixels, all bytes are in ``head``. For a deflated object
        ``head`` ends where the deflated data set begins, and ``deflated`` is the data set.
    dataset_offset
        where the data set begins in ``head``
    elements
        the encoded elements of head and tail, without the pixel element
    header
        the same, parsed to raw elements
    """

    stream: BinaryIO
    origin: Literal["file", "network"]
    transfer_syntax_uid: str
    encoding: Encoding
    head: bytes
    tail: bytes
    dataset_offset: int
    elements: bytes
    header: Header
    pixel: PixelValue | None
    deflated: bytes | None = None

    def text(self, tag: int) -> str:
        """First value of an element with an ASCII value (UI, CS, IS); empty when absent."""
        return raw_value(self.header, tag).decode("ascii", "replace").strip(" \0").split("\\")[0].strip()

    def number(self, tag: int) -> int | None:
        """First value of a US element; None when absent or empty."""
        raw = raw_value(self.header, tag)
        if len(raw) < 2:
            return None
        return int.from_bytes(raw[:2], "little" if self.encoding.little_endian else "big")


@dataclass(frozen=True)
class FileParts:
    """Where the data set of a Part 10 file begins, and what its file meta information says."""

    dataset_offset: int
    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    has_meta: bool


def read_file(stream: BinaryIO) -> Source:
    """Parse a file, with or without preamble and file meta information (PS3.10 7).

    Raises
    ------
    NotDicomError, MalformedError
    """
    meta, offset = _read_meta(stream)
    return _read(stream, offset, _meta_text(meta, 0x00020010) or None, "file")


def read_network(data: bytes | bytearray | memoryview, *, transfer_syntax_uid: str) -> Source:
    """Parse a data set as it was received by C-STORE, in the negotiated transfer syntax."""
    return _read(io.BytesIO(data), 0, transfer_syntax_uid, "network")


def split_file(stream: BinaryIO) -> FileParts:
    """Find the data set of a Part 10 file, and its identity; reads the header only."""
    meta, offset = _read_meta(stream)
    stream.seek(offset)
    start = stream.read(8)
    syntax = _meta_text(meta, 0x00020010) or default_transfer_syntax(encoding_of(None, start))
    names = _meta_text(meta, 0x00020002), _meta_text(meta, 0x00020003)
    if not all(names):
        source = read_file(stream)
        names = source.text(0x00080016), source.text(0x00080018)
    return FileParts(offset, syntax, names[0], names[1], has_meta=bool(meta))


def _read(
    stream: BinaryIO, offset: int, transfer_syntax_uid: str | None, origin: Literal["file", "network"]
) -> Source:
    stream.seek(0)
    prefix = stream.read(offset)
    deflated = None
    start = offset
    if is_deflated(transfer_syntax_uid):
        deflated = stream.read()
        stream, start = io.BytesIO(inflate(deflated)), 0
    stream.seek(start)
    encoding = encoding_of(transfer_syntax_uid, stream.read(8))
    header = _read_elements(stream, start, encoding, stop=PIXEL_TAGS)
    if not header:
        raise NotDicomError("not a DICOM object: no data element where the data set should begin")
    end_of_elements = stream.tell()
    pixel = _locate_pixel_value(stream, end_of_elements, encoding)
    stream.seek(start)
    elements = stream.read(end_of_elements - start)
    head, tail = prefix, b""
    if deflated is None:
        head += elements + stream.read(pixel.header_bytes if pixel else -1)
    if pixel:
        stream.seek(pixel.offset + pixel.size)
        tail, behind = _read_tail(stream, encoding)
        elements += tail if behind else b""
        header |= behind
    return Source(
        stream=stream,
        origin=origin,
        transfer_syntax_uid=transfer_syntax_uid or default_transfer_syntax(encoding),
        encoding=encoding,
        head=head,
        tail=b"" if deflated is not None else tail,
        dataset_offset=offset,
        elements=elements,
        header=header,
        pixel=pixel,
        deflated=deflated,
    )


def parse_elements(data: bytes, encoding: Encoding) -> Header:
    """Raw elements of an encoded header, such as `Source.elements`."""
    return _read_elements(io.BytesIO(data), 0, encoding, stop=())


def raw_value(header: Header, tag: int) -> bytes:
    """Encoded value of an element; empty when it is absent or a sequence."""
    raw = header.get(tag)
    value = raw.value if raw is not None else None
    return value if isinstance(value, bytes) else b""


def _read_meta(stream: BinaryIO) -> tuple[Header, int]:
    stream.seek(0)
    start = stream.read(132)
    offset = 132 if start[128:] == b"DICM" else 0
    if not offset and (len(start) < 8 or not _plausible_start(start)):
        raise NotDicomError("not a DICOM file: neither 'DICM' at offset 128 nor a data element at the beginning")
    meta: Header = {}
    stream.seek(offset)
    first = stream.read(8)
    if first[:2] == b"\x02\x00":
        encoding = encoding_of("", first)
        meta = _read_elements(stream, offset, encoding, stop=None)
        offset = stream.tell()
    if offset == 132 and not meta and not _plausible_start(first):
        # 'DICM' happened to be data at offset 128
        offset = 0
    return meta, offset


def _plausible_start(start: bytes) -> bool:
    """Whether a data element of a group that data sets begin with is here: 0002 to 0010, either byte order."""
    return start[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x04\x00", b"\x10\x00")


def _meta_text(meta: Header, tag: int) -> str:
    return raw_value(meta, tag).decode("ascii", "replace").strip(" \0")


def _read_elements(stream: BinaryIO, offset: int, encoding: Encoding, *, stop: tuple[int, ...] | None) -> Header:
    """Raw elements by tag; leaves the stream at the element that stopped it (``None``: group > 2)."""
    stream.seek(offset)
    guard = _Guard(stream, _size(stream), stop)
    try:
        elements = data_element_generator(stream, encoding.implicit, encoding.little_endian, stop_when=guard)
        return {int(element.tag): element for element in elements}
    except MalformedError:
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
        raise MalformedError(
            f"the data set cannot be parsed after offset {guard.position} ({type(error).__name__})"
        ) from None


class _Guard:
    """Decides where to stop, and refuses elements that are larger than what is there before they are read."""

    def __init__(self, stream: BinaryIO, end: int, stop: tuple[int, ...] | None) -> None:
        self._stream, self._end, self._stop = stream, end, stop
        self.position = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        self.position = self._stream.tell()
        if self._stop is None:
            if int(tag) >> 16 != 2:
                return True
        elif int(tag) in self._stop:
            return True
        if length != UNDEFINED and self.position + length > self._end:
            raise MalformedError(
                f"element {tag} at offset {self.position} declares {length} bytes, {self._end - self.position} are there"
            )
        if length != UNDEFINED and length > MAX_HEADER_BYTES:
            raise MalformedError(f"element {tag} has {length} bytes, the limit is {MAX_HEADER_BYTES}")
        return False


def _locate_pixel_value(stream: BinaryIO, offset: int, encoding: Encoding) -> PixelValue | None:
    stream.seek(offset)
    start = stream.read(12)
    if len(start) < 8:
        return None
    order: Literal["little", "big"] = "little" if encoding.little_endian else "big"
    tag = int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order)
    if encoding.implicit:
        size, header_bytes = int.from_bytes(start[4:8], order), 8
    elif start[4:6] in _LONG_HEADER_VRS and len(start) == 12:
        size, header_bytes = int.from_bytes(start[8:12], order), 12
    else:
        raise MalformedError(f"the pixel element at offset {offset} has the VR {start[4:6]!r}")
    offset += header_bytes
    if size == UNDEFINED:
        return PixelValue(tag, offset, _encapsulated_size(stream, offset, order), True, header_bytes)
    available = _size(stream) - offset
    if size > available:
        raise MalformedError(f"the pixel value at offset {offset} declares {size} bytes, {available} are there")
    return PixelValue(tag, offset, size, False, header_bytes)


def _encapsulated_size(stream: BinaryIO, offset: int, order: Literal["little", "big"]) -> int:
    """Walk the items (PS3.5 A.4) to the end of the sequence delimiter."""
    end, position = _size(stream), offset
    while True:
        stream.seek(position)
        start = stream.read(8)
        tag = int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order)
        size = int.from_bytes(start[4:8], order)
        if len(start) == 8 and tag == _SEQUENCE_DELIMITER:
            return position + 8 - offset
        if len(start) < 8 or tag != _ITEM or position + 8 + size > end:
            raise MalformedError(f"the encapsulated pixel value is damaged at offset {position} (PS3.5 A.4)")
        position += 8 + size


def _read_tail(stream: BinaryIO, encoding: Encoding) -> tuple[bytes, Header]:
    """The bytes behind the pixel value, and their elements; none where they are something else."""
    offset = stream.tell()
    tail = stream.read()
    if len(tail) > MAX_HEADER_BYTES:
        raise MalformedError(f"{len(tail)} bytes follow the pixel value, the limit is {MAX_HEADER_BYTES}")
    try:
        elements = _read_elements(stream, offset, encoding, stop=())
    except MalformedError:
        return tail, {}  # nothing of it can stand in the clear header, and it comes back as it is
    if any(tag in elements for tag in PIXEL_TAGS):
        raise MalformedError("more than one pixel element (PS3.5 8.2: exactly one)")
    return tail, elements


def _size(stream: BinaryIO) -> int:
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return size

