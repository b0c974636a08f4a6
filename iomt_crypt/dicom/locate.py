"""Where the sealed record lies in a file, without reading the pixels.

Two ways to the same answer. The fast one walks the elements of Explicit and Implicit VR Little Endian in the first
kilobytes of the file and skips their values; it is strict, and leaves whatever is unusual (undefined lengths, tags out
of order, other encodings, damage) to the slow one, which reads the object as the way back does.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Literal, NamedTuple

from pydicom.dataelem import RawDataElement
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from iomt_crypt.dicom import block
from iomt_crypt.dicom.encoding import encoding_of
from iomt_crypt.dicom.parse import MAX_HEADER_BYTES, PIXEL_TAGS, UNDEFINED, raw_value
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.dicom.source import Source
from iomt_crypt.errors import UnsupportedError

_WINDOW_BYTES = 1 << 15  # a header of 60 elements and its record have about 12 kB
_MAX_TAIL_BYTES = 1 << 16
_META_OFFSET = 132
_SYNTAX = 0x00020010
_WALKED = (b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1")
_EXPLICIT = struct.Struct("<HH2sH").unpack_from  # PS3.5 7.1.2
_IMPLICIT = struct.Struct("<HHL").unpack_from  # PS3.5 7.1.3
_LENGTH = struct.Struct("<L").unpack_from
_LONG_VRS = frozenset(vr.value.encode("ascii") for vr in EXPLICIT_VR_LENGTH_32)
_SHORT_VRS = frozenset(vr.value.encode("ascii") for vr in VR if len(vr.value) == 2) - _LONG_VRS
_PIXEL_VRS = frozenset((b"OB", b"OW", b"OF", b"OD", b"UN", b"OL", b"OV"))  # what the way back reads
_GROUP_LENGTH = block.GROUP << 16
_LAST_CREATOR = 0xFF


class Location(NamedTuple):
    """Where the record's container lies in a file.

    offset
        of the value, from the beginning of the file; the value's length is in the 4 bytes before it
    container
        the value
    byte_order
        of the length
    group_length
        offset and value of (7FDF,0000), 4 bytes, which some archives write (retired); None where there is none
    """

    offset: int
    container: bytes
    byte_order: Literal["little", "big"] = "little"
    group_length: tuple[int, bytes] | None = None


def locate_record(descriptor: int) -> Location | None:
    """Find the record in the open file ``descriptor``; None for a DICOM object that has none.

    Raises
    ------
    NotDicomError, MalformedError
    UnsupportedError
        The archive deflated the object, so that the record lies nowhere in the file.
    """
    try:
        return _Walk(descriptor).location()
    except _UnusualError:
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            return _locate_slowly(stream)


def _locate_slowly(stream: BinaryIO) -> Location | None:
    return locate_in(read_sealed(stream))


def locate_in(source: Source) -> Location | None:
    """Find the record of a file that was read; see `locate_record`."""
    tag = block.record_tag(source.header)
    if tag is None:
        return None
    if source.deflated is not None:
        raise UnsupportedError(
            f"the archive deflated the encrypted object (transfer syntax {source.transfer_syntax_uid})",
            hint="convert it to Explicit VR Little Endian first, e.g. with dcmconv +te",
        )
    holder = source.header[tag]
    if not isinstance(holder, RawDataElement) or holder.length == UNDEFINED or _has_short_length(holder):
        raise UnsupportedError(
            f"the record's element ({tag >> 16:04X},{tag & 0xFFFF:04X}) has no length that could be changed",
            hint="have the archive send the object in Explicit or Implicit VR Little Endian",
        )
    length, value = source.header.get(_GROUP_LENGTH), raw_value(source.header, _GROUP_LENGTH)
    return Location(
        holder.value_tell,
        raw_value(source.header, tag),
        "little" if source.encoding.little_endian else "big",
        (length.value_tell, value) if isinstance(length, RawDataElement) and len(value) == 4 else None,
    )


def _has_short_length(holder: RawDataElement) -> bool:
    return not holder.is_implicit_VR and holder.VR not in EXPLICIT_VR_LENGTH_32


class _UnusualError(Exception):
    """Not for the fast way."""


class _Walk:
    """One strict walk over the elements of a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._start, self._window = 0, os.pread(descriptor, _WINDOW_BYTES, 0)
        self._ours: dict[int, tuple[int, int]] = {}  # elements of the record's group: where the value is, its size

    def location(self) -> Location | None:
        try:
            offset, implicit = self._dataset()
            pixels = self._elements(offset, implicit)
            if pixels == offset:
                raise _UnusualError
            if pixels:
                self._elements(self._behind_pixels(pixels, implicit), implicit, previous=PIXEL_TAGS[-1])
        except struct.error:
            raise _UnusualError from None
        return self._record()

    def _dataset(self) -> tuple[int, bool]:
        """Where the data set begins, and whether its VRs are implicit."""
        window = self._window
        offset, previous, syntax = _META_OFFSET, 0, b""
        if window[offset - 4 : offset] != b"DICM":
            raise _UnusualError
        while window[offset : offset + 2] == b"\2\0":
            tag, _, begin, size = _explicit_element(window, offset)
            offset = begin + size
            if tag <= previous:
                raise _UnusualError
            previous = tag
            if tag == _SYNTAX:
                syntax = window[begin:offset].strip(b" \0")
        start = window[offset : offset + 8]
        if syntax not in _WALKED or len(start) < 8:
            raise _UnusualError
        return offset, encoding_of(syntax.decode("ascii"), start).implicit

    def _elements(self, offset: int, implicit: bool, previous: int = -1) -> int:
        """Walk to the pixel element and return its offset; 0 when the file ends without one.

        The sizes of values are checked by where they lead: past the end of the file.
        """
        while offset < self._size:
            start, window = self._move(offset)
            position = offset - start
            last = max(position, len(window) - 12)
            while position <= last:
                begin, long = position + 8, True
                if implicit:
                    group, element, size = _IMPLICIT(window, position)
                else:
                    # As in _explicit_element, for which a call for each element would take as long as all the rest.
                    group, element, vr, size = _EXPLICIT(window, position)
                    if vr in _SHORT_VRS:
                        long = False
                    elif vr in _LONG_VRS:
                        size = _LENGTH(window, begin)[0]
                        begin += 4
                    else:
                        raise _UnusualError
                tag = group << 16 | element
                if tag <= previous:
                    raise _UnusualError
                if group >= block.GROUP or size > MAX_HEADER_BYTES:
                    if tag in PIXEL_TAGS:
                        return start + position
                    if size > MAX_HEADER_BYTES or (group == block.GROUP and element > _LAST_CREATOR and not long):
                        raise _UnusualError
                    if group == block.GROUP:
                        self._ours[tag] = start + begin, size
                previous, position = tag, begin + size
            offset = start + position
        if offset > self._size:
            raise _UnusualError
        return 0

    def _behind_pixels(self, offset: int, implicit: bool) -> int:
        start, window = self._move(offset)
        if implicit:
            begin, size = offset + 8, _IMPLICIT(window, offset - start)[2]
        else:
            _, vr, begin, size = _explicit_element(window, offset - start)
            begin += start
            if vr not in _PIXEL_VRS:
                raise _UnusualError
        behind: int = begin + size
        if size == UNDEFINED or not self._size - _MAX_TAIL_BYTES <= behind <= self._size:
            raise _UnusualError
        return behind

    def _move(self, offset: int) -> tuple[int, bytes]:
        """Have the window hold the beginning of the element at ``offset``."""
        if not self._start <= offset <= self._start + len(self._window) - 12:
            self._start, self._window = offset, os.pread(self._descriptor, _WINDOW_BYTES, offset)
        return self._start, self._window

    def _record(self) -> Location | None:
        for creator, span in self._ours.items():
            tag = block.holder_tag(creator)
            if tag in self._ours and block.is_creator(self._read(*span)):
                offset, size = self._ours[tag]
                length = self._ours.get(_GROUP_LENGTH, (0, 0))
                group_length = (length[0], self._read(*length)) if length[1] == 4 else None
                return Location(offset, self._read(offset, size), "little", group_length)
        return None

    def _read(self, offset: int, size: int) -> bytes:
        inside = offset - self._start
        if inside >= 0 and inside + size <= len(self._window):
            return self._window[inside : inside + size]
        value = os.pread(self._descriptor, size, offset)
        if len(value) != size:
            raise _UnusualError
        return value


def _explicit_element(window: bytes, offset: int) -> tuple[int, bytes, int, int]:
    """Tag, VR, where the value begins, and its size."""
    group, element, vr, size = _EXPLICIT(window, offset)
    if vr in _SHORT_VRS:
        return group << 16 | element, vr, offset + 8, size
    if vr not in _LONG_VRS:
        raise _UnusualError
    return group << 16 | element, vr, offset + 12, _LENGTH(window, offset + 8)[0]
