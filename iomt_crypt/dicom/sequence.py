"""Items of a sequence (PS3.5 7.5), read in time that is bounded by their size.

pydicom makes an object of each item, which takes 50 microseconds: a million empty items in 8 MB would take a minute.
Here sound items are read directly. Whatever is unusual is left to pydicom, with a limit for what it may spend.
"""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import read_sequence
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from iomt_crypt.errors import MalformedError

# Elements by tag, undecoded. Plain integers for tags, and not pydicom's BaseTag and Dataset, whose comparisons and
# look-ups cost more than all the rest of the header's way.
Header = dict[int, RawDataElement | DataElement]

UNDEFINED = 0xFFFFFFFF
# Far above anything real (structured reports have about 10), far below what the interpreter's stack takes on the way
# back: what could be encrypted can always be decrypted.
MAX_DEPTH = 64
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_FREE_STEPS = 1 << 18  # for small objects of any form
_MOST_STEPS = 1 << 23
_STEPS_OF_A_READ = 6  # pydicom reads some 0.1 times for each byte of real sequences
_FIRST_WINDOW = 1 << 12
_VRS = {vr.value.encode("ascii"): vr.value for vr in VR if len(vr.value) == 2}
_LONG_VRS = frozenset(vr.value for vr in EXPLICIT_VR_LENGTH_32)
_SEQUENCE_VRS = frozenset(("SQ", "UN"))  # a UN of undefined length is a sequence (PS3.5 6.2.2)


class Steps:
    """What reading the sequences of one header may cost: one step for each element or item that is looked at.

    Sound sequences of ``size_bytes`` take a tenth of it. What exceeds it is nested or damaged so that it would be read
    over and over.
    """

    def __init__(self, size_bytes: int) -> None:
        self._limit = self._left = min(_FREE_STEPS + size_bytes, _MOST_STEPS)

    @classmethod
    def of(cls, header: Header) -> Steps:
        """For the sequences of ``header``."""
        return cls(sum(len(raw.value) for raw in header.values() if isinstance(raw.value, bytes)))

    def spend(self, n_steps: int = 1) -> None:
        """Raise MalformedError when nothing is left."""
        self._left -= n_steps
        if self._left < 0:
            raise MalformedError(f"reading the sequences takes more than {self._limit} steps, the limit for their size")


class _UnusualError(Exception):
    """Not for the direct way."""


def read_items(raw: RawDataElement, steps: Steps) -> list[Header]:
    """Items of a sequence; a UN is taken for one in whatever VR form its items have.

    Raises
    ------
    MalformedError
        It takes too many steps.
    Exception
        Whatever pydicom raises for what is no sequence.
    """
    # Explicit VR is assumed for UN, so that each item is looked at; PS3.5 6.2.2 asks for implicit VR, and not all
    # writers follow.
    implicit = raw.is_implicit_VR and raw.VR != "UN"
    value = raw.value or b""
    try:
        return _Reader(value, raw.is_little_endian, steps).items(implicit)
    except (_UnusualError, struct.error):
        items = read_sequence(_counted(value, steps), implicit, raw.is_little_endian, len(value), "iso8859")
        return [{int(nested.tag): nested for nested in item.values()} for item in items]


def sequence_at(
    stream: BinaryIO, tag: int, *, implicit: bool, little_endian: bool, steps: Steps
) -> RawDataElement | None:
    """The sequence of undefined length whose first item is where ``stream`` is; None for an unusual one.

    Its value ends with its sequence delimiter, and so does ``stream`` then; it is left where it was for None.
    """
    begin, window = stream.tell(), _FIRST_WINDOW
    while True:
        stream.seek(begin)
        value = stream.read(window)
        try:
            end = _Reader(value, little_endian, steps).end_of_items(0, implicit)
        except _UnusualError:
            break
        except struct.error:
            if len(value) < window:
                break
            window *= 8
            continue
        stream.seek(begin + end)
        return RawDataElement(BaseTag(tag), "SQ", UNDEFINED, value[:end], begin, implicit, little_endian)
    stream.seek(begin)
    return None


def counted(stream: BinaryIO, steps: Steps) -> BinaryIO:
    """``stream``, with steps spent for each read of it."""
    return _Counted(stream, steps)  # type: ignore[return-value]


def _counted(value: bytes, steps: Steps) -> BinaryIO:
    return counted(io.BytesIO(value), steps)


class _Counted:
    def __init__(self, stream: BinaryIO, steps: Steps) -> None:
        self._stream, self._steps = stream, steps
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int = -1) -> bytes:
        self._steps.spend(_STEPS_OF_A_READ)
        return self._stream.read(size)


class _Reader:
    """Reads items strictly. Raises _UnusualError or struct.error for what pydicom should judge."""

    def __init__(self, value: bytes, little_endian: bool, steps: Steps) -> None:
        order = "<" if little_endian else ">"
        self._value, self._little_endian, self._steps = value, little_endian, steps
        self._tag: Any = struct.Struct(f"{order}HH").unpack_from
        self._long: Any = struct.Struct(f"{order}HHL").unpack_from
        self._short: Any = struct.Struct(f"{order}HH2sH").unpack_from
        self._size: Any = struct.Struct(f"{order}L").unpack_from

    def items(self, implicit: bool) -> list[Header]:
        """All items of the value, which may end with a sequence delimiter."""
        items: list[Header] = []
        position, end = 0, len(self._value)
        while position < end:
            tag, size = self._item(position)
            position += 8
            if tag == _SEQUENCE_END and position == end:
                break
            if tag != _ITEM or (size != UNDEFINED and position + size > end):
                raise _UnusualError
            header: Header = {}
            position = self._elements(position, position + size if size != UNDEFINED else None, implicit, 0, header)
            items.append(header)
        return items

    def end_of_items(self, position: int, implicit: bool, depth: int = 0) -> int:
        """Where the items at ``position`` end, behind their sequence delimiter."""
        if depth == MAX_DEPTH:
            raise _UnusualError
        while True:
            tag, size = self._item(position)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise _UnusualError
            position = position + size if size != UNDEFINED else self._elements(position, None, implicit, depth, None)

    def _item(self, position: int) -> tuple[int, int]:
        self._steps.spend()
        group, number, size = self._long(self._value, position)
        return group << 16 | number, size

    def _elements(self, position: int, end: int | None, implicit: bool, depth: int, header: Header | None) -> int:
        """Elements of one item, to ``end`` or behind its delimiter; they go into ``header``. Returns where it ends."""
        first = self._value[position + 4 : position + 6]
        if not implicit:  # items of an explicit data set may be implicit (PS3.5 6.2.2)
            implicit = position != end and not (first.isalpha() and first.isupper())
            if implicit and end is None and first == b"\0\0":  # the delimiter of an empty item
                implicit = False
        while position != end:
            self._steps.spend()
            tag, vr, size, begin = self._element(position, implicit)
            if tag == _ITEM_END and end is None:
                return begin
            if tag >> 16 == 0xFFFE:
                raise _UnusualError
            if size == UNDEFINED:
                if not self._is_sequence(tag, vr, begin):
                    raise _UnusualError
                vr, position = "SQ", self.end_of_items(begin, implicit, depth + 1)
            else:
                position = begin + size
            if end is not None and position > end:
                raise _UnusualError
            if header is not None:
                if position > len(self._value):
                    raise _UnusualError
                header[tag] = RawDataElement(
                    tag,  # type: ignore[arg-type]
                    vr,
                    size,
                    self._value[begin:position],
                    0,
                    implicit,
                    self._little_endian,
                )
        return position

    def _element(self, position: int, implicit: bool) -> tuple[int, str | None, int, int]:
        """Tag, VR, size and begin of the value of one element (PS3.5 7.1)."""
        if implicit:
            group, number, size = self._long(self._value, position)
            return group << 16 | number, None, size, position + 8
        group, number, name, size = self._short(self._value, position)
        if group == 0xFFFE:
            return group << 16 | number, None, size, position + 8
        vr = _VRS.get(name)
        if vr is None:
            raise _UnusualError
        if vr in _LONG_VRS:
            return group << 16 | number, vr, self._size(self._value, position + 8)[0], position + 12
        return group << 16 | number, vr, size, position + 8

    def _is_sequence(self, tag: int, vr: str | None, begin: int) -> bool:
        if vr is not None:
            return vr in _SEQUENCE_VRS
        try:
            return dictionary_VR(tag) == "SQ"
        except KeyError:
            group, number = self._tag(self._value, begin)
            return bool(group << 16 | number == _ITEM)
