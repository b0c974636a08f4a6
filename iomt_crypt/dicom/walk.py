"""Where the record lies in the first kilobytes of a file: a compiled walk over the elements.

Stricter than the walk in `iomt_crypt.dicom.locate`, and answers for nothing that one does not: all up to the pixels
must be in these kilobytes, and nothing may stand behind the pixels. Whatever else it meets is left to that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from iomt_crypt.dicom import block
from iomt_crypt.dicom.parse import PIXEL_TAGS, UNDEFINED
from iomt_crypt.seal.compilation import Bytes, Numbers, joined, prepare, step, walk

_META_OFFSET = 132
_SYNTAX = 0x00020010
_IMPLICIT: Any = np.frombuffer(b"1.2.840.10008.1.2", np.uint8)
_EXPLICIT: Any = np.frombuffer(b"1.2.840.10008.1.2.1", np.uint8)
_CREATOR: Any = np.frombuffer(block.CREATOR.encode("ascii"), np.uint8)
_HEADER_BYTES = 12  # of an element whose VR has a length of 4 bytes
_MOST_OURS = 32  # elements of the record's group
_GROUP, _RECORD_ELEMENT, _FIRST_BLOCK = block.GROUP, block.RECORD_ELEMENT, 0x10
_PIXELS_FIRST, _PIXELS, _PIXELS_LAST = PIXEL_TAGS

_NO_VR, _SHORT, _LONG, _OF_PIXELS = 0, 1, 2, 3


def _vr_table() -> Any:
    """What is known about a VR, by its two letters."""
    table = np.zeros(26 * 26, np.uint8)
    known = {vr.value: _SHORT for vr in VR if len(vr.value) == 2} | {vr.value: _LONG for vr in EXPLICIT_VR_LENGTH_32}
    for name, length in (known | dict.fromkeys(("OB", "OW", "OF", "OD", "UN", "OL", "OV"), _OF_PIXELS)).items():
        table[(ord(name[0]) - 65) * 26 + ord(name[1]) - 65] = length
    return table


_VRS = _vr_table()


def record_finder() -> Callable[[Sequence[bytes], Sequence[int]], list[list[int]]]:
    """A function that gives begin and end of the container in each of some files: of their first bytes, and sizes.

    Zeros for an object that has none, and for an unusual one. For one thread.
    """
    ours: Numbers = np.zeros((_MOST_OURS, 3), np.int64)

    def find(heads: Sequence[bytes], sizes: Sequence[int]) -> list[list[int]]:
        found = np.empty((len(heads), 2), np.int64)
        _find_all(*joined(heads), np.array(sizes, np.int64), ours, found)
        return found.tolist()

    prepare(find, [bytes(_META_OFFSET)], [0])
    return find


@step
def _number(data: Bytes, at: int, n_bytes: int) -> int:
    number = 0
    for position in range(at + n_bytes - 1, at - 1, -1):
        number = number << 8 | data[position]
    return number


@step
def _letters(data: Bytes, at: int) -> bool:
    return 65 <= data[at] <= 90 and 65 <= data[at + 1] <= 90


@step
def _element(data: Bytes, at: int, implicit: bool) -> tuple[int, int, int, int]:
    """Tag, kind of VR, begin of the value and its size (PS3.5 7.1); there are 12 bytes at ``at``."""
    tag = _number(data, at, 2) << 16 | _number(data, at + 2, 2)
    if implicit:
        return tag, _OF_PIXELS, at + 8, _number(data, at + 4, 4)
    kind = _NO_VR
    if _letters(data, at + 4):
        kind = _VRS[(data[at + 4] - 65) * 26 + data[at + 5] - 65]
    if kind == _SHORT:
        return tag, kind, at + 8, _number(data, at + 6, 2)
    return tag, kind, at + 12, _number(data, at + 8, 4)


@step
def _equal(data: Bytes, begin: int, end: int, text: Bytes) -> bool:
    """Whether a value is ``text``, but for what pads it."""
    while begin < end and (data[begin] == 0 or data[begin] == 32):
        begin += 1
    while begin < end and (data[end - 1] == 0 or data[end - 1] == 32):
        end -= 1
    if end - begin != len(text):
        return False
    for position in range(len(text)):  # noqa: SIM110 - numba has no generators here
        if data[begin + position] != text[position]:
            return False
    return True


@step
def _dataset(data: Bytes) -> int:
    """Where the data set begins, whose encoding is one that we walk; 0 for others."""
    at, walked = _META_OFFSET, False
    previous = 0
    if len(data) < at + _HEADER_BYTES or _number(data, at - 4, 4) != 0x4D434944:  # DICM
        return 0
    while _number(data, at, 2) == 2:
        tag, kind, begin, size = _element(data, at, False)
        at = begin + size
        if kind == _NO_VR or tag <= previous or at + _HEADER_BYTES > len(data):
            return 0
        previous = tag
        if tag == _SYNTAX:
            walked = _equal(data, begin, at, _EXPLICIT) or _equal(data, begin, at, _IMPLICIT)
    return at if walked else 0


@step
def _whole(at: int, kind: int, begin: int, size: int, start: int, file_size: int) -> bool:
    """Whether the pixel element is not the first, is one that can be read, and is the last."""
    return at > start and kind == _OF_PIXELS and size != UNDEFINED and begin + size == file_size


@step
def _record(data: Bytes, ours: Numbers, n_ours: int) -> tuple[int, int]:
    """The record among the elements of our group."""
    for creator in range(n_ours):
        number = ours[creator, 0]
        if number > 0xFF:
            break
        if number >= _FIRST_BLOCK and _equal(data, ours[creator, 1], ours[creator, 2], _CREATOR):
            for holder in range(creator + 1, n_ours):
                if ours[holder, 0] == number << 8 | _RECORD_ELEMENT:
                    return ours[holder, 1], ours[holder, 2]
    return 0, 0


@step
def _find_record(data: Bytes, file_size: int, ours: Numbers) -> tuple[int, int]:
    """Begin and end of the record's value; zeros where it is not found here. ``ours`` is room to work in."""
    start = _dataset(data)
    if not start:
        return 0, 0
    implicit = not _letters(data, start + 4)
    at, n_ours = start, 0
    previous = -1
    while at < file_size:
        if at + _HEADER_BYTES > len(data):
            return 0, 0
        tag, kind, begin, size = _element(data, at, implicit)
        if kind == _NO_VR or tag <= previous:
            return 0, 0
        if tag in (_PIXELS_FIRST, _PIXELS, _PIXELS_LAST):
            whole = _whole(at, kind, begin, size, start, file_size)
            return _record(data, ours, n_ours) if whole else (0, 0)
        if tag >> 16 >= _GROUP:
            # A group length (retired) would have to be changed with the record, see `patches`.
            if tag >> 16 > _GROUP or n_ours == _MOST_OURS or tag & 0xFFFF == 0 or begin + size > len(data):
                return 0, 0
            if kind == _SHORT and tag & 0xFFFF > 0xFF:
                return 0, 0
            ours[n_ours, 0], ours[n_ours, 1], ours[n_ours, 2] = tag & 0xFFFF, begin, begin + size
            n_ours += 1
        previous, at = tag, begin + size
    return _record(data, ours, n_ours) if at == file_size else (0, 0)


@walk
def _find_all(data: Bytes, ends: Numbers, sizes: Numbers, ours: Numbers, found: Numbers) -> None:
    """`_find_record` in each head; those in ``data`` end at ``ends``."""
    begin = 0
    for number in range(len(ends)):
        found[number, 0], found[number, 1] = _find_record(data[begin : ends[number]], sizes[number], ours)
        begin = ends[number]
