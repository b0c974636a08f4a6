"""Where the fields of a record lie in its container: a compiled walk that makes no objects.

It knows records as they are always written, and answers for these alone: whatever it does not expect is for the parser
in `iomt_crypt.seal.record`, which decides. What it answers for, the parser accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from iomt_crypt.seal.compilation import Bytes, Numbers, joined, prepare, step, walk
from iomt_crypt.seal.container import DIGEST_BYTES, HEAD_BYTES, START
from iomt_crypt.seal.epoch import EPOCH_ID_BYTES, MAX_RECIPIENTS
from iomt_crypt.seal.recipient import FINGERPRINT_BYTES
from iomt_crypt.seal.record import FORMS, MAX_FRAMES, MAX_STANZA_BYTES, MAX_TEXT
from iomt_crypt.seal.schedule import OBJECT_ID_BYTES
from iomt_crypt.seal.suite import SUITES

# Major types of CBOR (RFC 8949 3.1).
_NUMBER, _BYTES, _TEXT, _LIST = 0, 2, 3, 4
# The names in the order of their encoded bytes (4.2.1), each with all that stands before its value; the type of the
# value, and its size where there is one only.
_FIELDS: tuple[tuple[bytes, int, int], ...] = (
    (b"\xad\x63mac", _BYTES, 32),
    (b"\x64form", _TEXT, -1),
    (b"\x64tags", _BYTES, -1),
    (b"\x65suite", _TEXT, -1),
    (b"\x66layout\xa4\x68n_frames", _NUMBER, -1),
    (b"\x69word_bits", _NUMBER, -1),
    (b"\x6arow_length", _NUMBER, -1),
    (b"\x6bframe_bytes", _NUMBER, -1),
    (b"\x66sealed", _BYTES, -1),
    (b"\x67stanzas", _LIST, -1),
    (b"\x68epoch_id", _BYTES, EPOCH_ID_BYTES),
    (b"\x68software", _TEXT, -1),
    (b"\x69object_id", _BYTES, OBJECT_ID_BYTES),
    (b"\x69pixel_tag", _NUMBER, -1),
    (b"\x6bwrapped_key", _BYTES, 40),
    (b"\x70sop_instance_uid", _TEXT, -1),
)
_FORM, _TAGS, _SUITE, _N_FRAMES, _WORD_BITS, _FRAME_BYTES = 1, 2, 3, 4, 5, 7
_STANZAS, _EPOCH_ID, _OBJECT_ID, _WRAPPED_KEY = 9, 10, 12, 14

_START = np.frombuffer(START, np.uint8)
_NAMES = np.frombuffer(b"".join(name for name, _, _ in _FIELDS), np.uint8)
_NAME_ENDS = np.cumsum([len(name) for name, _, _ in _FIELDS])
_TYPES = np.array([major for _, major, _ in _FIELDS])
_SIZES = np.array([size for _, _, size in _FIELDS])
_N_FIELDS = len(_FIELDS)
_NONE = 0, 0, 0, 0, 0
_SUITES: Any = np.frombuffer("".join(SUITES).encode("ascii"), np.uint8)
_SUITE_ENDS: Any = np.cumsum([len(name) for name in SUITES])
_TAG_BYTES = np.array([suite.tag_bytes for suite in SUITES.values()])
_FORM_NAMES: Any = np.frombuffer("".join(FORMS).encode("ascii"), np.uint8)
_FORM_ENDS: Any = np.cumsum([len(name) for name in FORMS])
_HEADER_FORM = FORMS.index("header")


class Spans(NamedTuple):
    """Where the parts of a container lie that a rewrap is about.

    stanzas, epoch_id
        where the list of stanzas begins, and where the epoch's number ends, which stands behind it
    object_id, wrapped_key
        where these begin
    end
        where the body ends, and the digest begins; 0 for a record that is unusual or not well-formed
    """

    stanzas: int
    epoch_id: int
    object_id: int
    wrapped_key: int
    end: int


_NO_SPANS = Spans(*_NONE)


def spans_finder() -> Callable[[Sequence[bytes]], list[Spans]]:
    """A function that gives the `Spans` of each of some containers. For one thread.

    Neither the digest nor the MAC is looked at.
    """
    room: Numbers = np.zeros(2 * _N_FIELDS, np.int64)

    def find(containers: Sequence[bytes]) -> list[Spans]:
        found = np.empty((len(containers), len(_NO_SPANS)), np.int64)
        _find_all(*joined(containers), room, found)
        spans = map(Spans._make, found.tolist())
        return [each if _is_padded(c, each.end) else _NO_SPANS for c, each in zip(containers, spans, strict=True)]

    prepare(find, [START])
    return find


def _is_padded(container: bytes, end: int) -> bool:
    """Whether zeros follow the digest. Not in the walk: to check every index takes ten times as long."""
    slack = end + DIGEST_BYTES
    return container[slack:] == bytes(max(0, len(container) - slack))


@step
def _head(data: Bytes, at: int, end: int, major: int) -> tuple[int, int]:
    """Number and end of a head of type ``major`` in its shortest form (RFC 8949 3); -1 where there is none."""
    if at >= end:
        return -1, at
    first = data[at]
    if first >> 5 != major:
        return -1, at
    number, at = first & 31, at + 1
    if number < 24:
        return number, at
    if number > 26:  # eight bytes: nothing that we write is as large
        return -1, at
    n_bytes = 1 << (number - 24)
    if at + n_bytes > end:
        return -1, at
    number = 0
    for position in range(at, at + n_bytes):
        number = number << 8 | data[position]
    if number < (24 if n_bytes == 1 else 1 << 4 * n_bytes):
        return -1, at
    return number, at + n_bytes


@step
def _text(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Where an ASCII text of at most 64 characters begins and ends; -1 for any other."""
    size, begin = _head(data, at, end, _TEXT)
    if size < 0 or size > MAX_TEXT or begin + size > end:
        return -1, at
    for position in range(begin, begin + size):
        if data[position] > 127:
            return -1, at
    return begin, begin + size


@step
def _stanzas_end(data: Bytes, at: int, end: int) -> int:
    """Where the list of stanzas ends; -1 for any other."""
    count, at = _head(data, at, end, _LIST)
    if count < 1 or count > MAX_RECIPIENTS:
        return -1
    for _ in range(count):
        n_parts, at = _head(data, at, end, _LIST)
        if n_parts != 3:
            return -1
        begin, at = _text(data, at, end)
        if begin < 0 or begin == at:
            return -1
        size, begin = _head(data, at, end, _BYTES)
        if size != FINGERPRINT_BYTES or begin + size > end:
            return -1
        size, begin = _head(data, begin + size, end, _BYTES)
        if size < 0 or size > MAX_STANZA_BYTES or begin + size > end:
            return -1
        at = begin + size
    return at


@step
def _value(data: Bytes, at: int, end: int, field: int) -> tuple[int, int]:
    """Where the value of a field begins, or the number that it is, and where it ends; -1 for what does not fit."""
    major = _TYPES[field]
    if major == _TEXT:
        return _text(data, at, end)
    if major == _LIST:
        behind = _stanzas_end(data, at, end)
        return (at, behind) if behind >= 0 else (-1, at)
    number, begin = _head(data, at, end, major)
    if number < 0 or major == _NUMBER:
        return number, begin
    if begin + number > end or (_SIZES[field] >= 0 and number != _SIZES[field]):
        return -1, at
    return begin, begin + number


@step
def _body_end(data: Bytes) -> int:
    """Where the body of a container ends; 0 where what is around the body is wrong."""
    if len(data) < HEAD_BYTES + DIGEST_BYTES:
        return 0
    for position in range(_START.size):
        if data[position] != _START[position]:
            return 0
    size = 0
    for position in range(_START.size, HEAD_BYTES):
        size = size << 8 | data[position]
    end = HEAD_BYTES + size
    if end + DIGEST_BYTES > len(data):
        return 0
    return end


@step
def _name_index(data: Bytes, begin: int, end: int, names: Bytes, ends: Bytes) -> int:
    """Which of some names a text is; -1 for none."""
    first = 0
    for index in range(len(ends)):
        if ends[index] - first == end - begin:
            same = True
            for position in range(end - begin):
                same = same and data[begin + position] == names[first + position]
            if same:
                return index
        first = ends[index]
    return -1


@step
def _well_formed(data: Bytes, found: Numbers) -> bool:
    """What `iomt_crypt.seal.record` asks of the values, beyond what `_value` does."""
    form = _name_index(data, found[2 * _FORM], found[2 * _FORM + 1], _FORM_NAMES, _FORM_ENDS)
    suite = _name_index(data, found[2 * _SUITE], found[2 * _SUITE + 1], _SUITES, _SUITE_ENDS)
    n_frames, word_bits = found[2 * _N_FRAMES], found[2 * _WORD_BITS]
    if form < 0 or suite < 0 or word_bits not in (8, 16):
        return False
    return bool(
        found[2 * _FRAME_BYTES] % (word_bits // 8) == 0
        and n_frames <= MAX_FRAMES
        and found[2 * _TAGS + 1] - found[2 * _TAGS] == n_frames * _TAG_BYTES[suite]
        and (n_frames == 0) == (form == _HEADER_FORM)
    )


@step
def _find_spans(data: Bytes, found: Numbers) -> tuple[int, int, int, int, int]:
    """See `Spans`. ``found`` is room for two numbers for each field, see `_value`."""
    end = _body_end(data)
    at, name = HEAD_BYTES, 0
    for field in range(_N_FIELDS):
        name_end = _NAME_ENDS[field]
        if at + name_end - name > end:
            return _NONE
        for position in range(name, name_end):
            if data[at + position - name] != _NAMES[position]:
                return _NONE
        begin, behind = _value(data, at + name_end - name, end, field)
        if begin < 0:
            return _NONE
        found[2 * field], found[2 * field + 1] = begin, behind
        at, name = behind, name_end
    if at != end or not _well_formed(data, found):
        return _NONE
    return found[2 * _STANZAS], found[2 * _EPOCH_ID + 1], found[2 * _OBJECT_ID], found[2 * _WRAPPED_KEY], end


@walk
def _find_all(data: Bytes, ends: Numbers, room: Numbers, found: Numbers) -> None:
    """`_find_spans` of each container; those in ``data`` end at ``ends``."""
    begin = 0
    for number in range(len(ends)):
        spans = _find_spans(data[begin : ends[number]], room)
        for part in range(len(spans)):
            found[number, part] = spans[part]
        begin = ends[number]
