"""Raw elements and the pixel value of an encoded data set: where they lie, without decoding them.

pydicom reads the elements; what is added here are limits, checked before anything is read, and exact spans.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag

from iomt_crypt.dicom.encoding import Encoding
from iomt_crypt.dicom.sequence import MAX_DEPTH, Steps, counted, sequence_at
from iomt_crypt.dicom.sequence import UNDEFINED as UNDEFINED
from iomt_crypt.dicom.sequence import Header as Header
from iomt_crypt.errors import MalformedError

PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # Float, Double Float, Pixel Data
_ITEM, _SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_LONG_HEADER_VRS = frozenset((b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV"))
_DELIMITER = {"little": b"\xfe\xff\xdd\xe0\0\0\0\0", "big": b"\xff\xfe\xe0\xdd\0\0\0\0"}
MAX_HEADER_BYTES = 1 << 27
_MAX_ELEMENTS = 1 << 15  # of a data set, those in sequences not counted; real ones have some hundreds


RawElement = RawDataElement | DataElement


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
        return dict(_elements(stream, encoding, guard))
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError(
            f"sequences are nested deeper than {MAX_DEPTH} levels after offset {guard.position}"
        ) from None
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


def read_prefix(stream: BinaryIO, offset: int, encoding: Encoding) -> Header:
    """Raw elements by tag up to the pixel value, or the first one that cannot be read. Raises nothing for these."""
    stream.seek(offset)
    found: Header = {}
    guard = _Guard(stream, stream_size(stream), PIXEL_TAGS)
    with suppress(Exception):  # pydicom raises whatever the bytes lead to
        for tag, element in _elements(stream, encoding, guard):
            found[tag] = element
    return found


def _elements(stream: BinaryIO, encoding: Encoding, guard: _Guard) -> Iterator[tuple[int, RawElement]]:
    """Elements by tag to where the guard stops; sequences of undefined length are read here, or by pydicom counted."""
    steps = Steps(stream_size(stream) - stream.tell())
    reader = stream
    while True:
        guard.sequence = None
        elements = data_element_generator(reader, encoding.implicit, encoding.little_endian, stop_when=guard)
        yield from ((int(element.tag), element) for element in elements)
        if guard.sequence is None:
            return
        stopped, reader = stream.tell(), stream
        stream.seek(guard.position)
        found = sequence_at(
            stream, guard.sequence, implicit=encoding.implicit, little_endian=encoding.little_endian, steps=steps
        )
        if found is not None:
            yield guard.sequence, found
        else:
            stream.seek(stopped)
            guard.passed, reader = guard.position, counted(stream, steps)


class _Guard:
    """Decides where to stop, and refuses elements that are larger than what is there before they are read.

    It stops at sequences of undefined length, but for the one at ``passed``, and leaves the tag in ``sequence``.
    """

    def __init__(self, stream: BinaryIO, end: int, stop: tuple[int, ...] | None) -> None:
        self._stream, self._end, self._stop = stream, end, stop
        self.position, self.passed = 0, -1
        self.sequence: int | None = None
        self._n_elements = 0
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
        self._n_elements += 1
        if self._n_elements > _MAX_ELEMENTS:
            raise MalformedError(f"the data set has more than {_MAX_ELEMENTS} elements before offset {self.position}")
        if length == UNDEFINED and self.position != self.passed and (vr == "SQ" or _looks_like_sequence(tag, vr)):
            self.sequence = int(tag)
            return True
        return False


def _looks_like_sequence(tag: BaseTag, vr: str | None) -> bool:
    """Whether an element of undefined length and no VR is a sequence by the dictionary."""
    if vr is not None:
        return vr == "UN"  # PS3.5 6.2.2
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return True  # if it is none, `sequence_at` finds no item there


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
    """Walk the items (PS3.5 A.4) to the end of the sequence delimiter.

    Some writers leave it out, or the end of it was cut off: then the value ends with the file, behind whole fragments.
    """
    end, position = stream_size(stream), offset
    while True:
        stream.seek(position)
        start = stream.read(8)
        tag = int.from_bytes(start[:2], order) << 16 | int.from_bytes(start[2:4], order)
        size = int.from_bytes(start[4:8], order)
        if len(start) == 8 and tag == _SEQUENCE_DELIMITER:
            return position + 8 - offset
        if position > offset and _DELIMITER[order].startswith(start):
            return end - offset
        if len(start) < 8 or tag != _ITEM or position + 8 + size > end:
            raise MalformedError(f"the encapsulated pixel value is damaged at offset {position} (PS3.5 A.4)")
        position += 8 + size


def stream_size(stream: BinaryIO) -> int:
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    return size
