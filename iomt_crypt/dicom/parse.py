"""Raw elements and the pixel value of an encoded data set: where they lie, without decoding them.

pydicom reads the elements; what is added here are limits, checked before anything is read, and exact spans.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from iomt_crypt.dicom.encoding import Encoding
from iomt_crypt.errors import MalformedError

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


def parse_elements(data: bytes, encoding: Encoding) -> Header:
    """Raw elements of an encoded header, such as `Source.elements`."""
    return read_elements(io.BytesIO(data), 0, encoding, stop=())


def raw_value(header: Header, tag: int) -> bytes:
    """Encoded value of an element; empty when it is absent or a sequence."""
    raw = header.get(tag)
    value = raw.value if raw is not None else None
    return value if isinstance(value, bytes) else b""


def read_elements(stream: BinaryIO, offset: int, encoding: Encoding, *, stop: tuple[int, ...] | None) -> Header:
    """Raw elements by tag; leaves the stream at the element that stopped it (``None``: group > 2)."""
    stream.seek(offset)
    guard = _Guard(stream, stream_size(stream), stop)
    try:
        elements = data_element_generator(stream, encoding.implicit, encoding.little_endian, stop_when=guard)
        return {int(element.tag): element for element in elements}
    except MalformedError:
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises whatever the bytes lead to
        raise MalformedError(f"the data set cannot be parsed {guard.place}: {wrong(error)}") from None


def wrong(error: Exception) -> str:
    """What is wrong with the bytes that made pydicom raise ``error``, in words: its own may quote values."""
    if isinstance(error, OSError | EOFError):  # an item or delimiter was looked for (PS3.5 7.5)
        return "an item or its delimiter is missing, damaged or cut off"
    if isinstance(error, struct.error | IndexError):
        return "it ends in the middle of an element"
    if isinstance(error, NotImplementedError | KeyError):
        return "a VR that PS3.5 does not know"
    return f"its structure is damaged ({type(error).__name__})"


class _Guard:
    """Decides where to stop, and refuses elements that are larger than what is there before they are read."""

    def __init__(self, stream: BinaryIO, end: int, stop: tuple[int, ...] | None) -> None:
        self._stream, self._end, self._stop = stream, end, stop
        self.position = 0
        self.place = "at its beginning"

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        self.position = self._stream.tell()
        # A value of undefined length is parsed on the way; what has a length is passed over, and the next may be wrong.
        self.place = f"{'in' if length == UNDEFINED else 'behind'} element {tag} at offset {self.position}"
        if self._stop is None:
            if int(tag) >> 16 != 2:
                return True
        elif int(tag) in self._stop:
            return True
        if length != UNDEFINED and self.position + length > self._end:
            raise MalformedError(
                f"element {tag} at offset {self.position} declares {length} bytes, "
                f"{self._end - self.position} are there"
            )
        if length != UNDEFINED and length > MAX_HEADER_BYTES:
            raise MalformedError(f"element {tag} has {length} bytes, the limit is {MAX_HEADER_BYTES}")
        return False


def locate_pixel_value(stream: BinaryIO, offset: int, encoding: Encoding) -> PixelValue | None:
    stream.seek(offset)
    start = stream.read(12)
    if len(start) < 8:
        return None
    order: Literal["little", "big"] = "little" if encoding.little_endian else "big"
    tag = int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order)
    if tag not in PIXEL_TAGS:  # pydicom takes a stray item delimiter for the end of the data set
        raise MalformedError(f"the data set goes on after its end at offset {offset}")
    if encoding.implicit:
        size, header_bytes = int.from_bytes(start[4:8], order), 8
    elif start[4:6] in _LONG_HEADER_VRS and len(start) == 12:
        size, header_bytes = int.from_bytes(start[8:12], order), 12
    else:
        raise MalformedError(f"the pixel element at offset {offset} has the VR {start[4:6]!r}")
    offset += header_bytes
    if size == UNDEFINED:
        return PixelValue(tag, offset, _encapsulated_size(stream, offset, order), True, header_bytes)
    available = stream_size(stream) - offset
    if size > available:
        raise MalformedError(f"the pixel value at offset {offset} declares {size} bytes, {available} are there")
    return PixelValue(tag, offset, size, False, header_bytes)


def _encapsulated_size(stream: BinaryIO, offset: int, order: Literal["little", "big"]) -> int:
    """Walk the items (PS3.5 A.4) to the end of the sequence delimiter."""
    end, position = stream_size(stream), offset
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


def stream_size(stream: BinaryIO) -> int:
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return size
