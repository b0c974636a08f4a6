"""Where the fields of a record lie in its container: a compiled walk that makes no objects.

It knows records as they are always written, and answers for these alone: whatever it does not expect is for the parser
in `iomt_crypt.seal.record`, which decides. What it answers for, the parser accepts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iomt_crypt.seal.compilation import Bytes, Numbers, prepare, step, walk
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
_TAG_BYTES = {
    (form.encode("ascii"), name.encode("ascii")): suite.tag_bytes for form in FORMS for name, suite in SUITES.items()
}


class Spans:
    """The last container that was looked at. For one thread.

    stanzas, epoch_id
        where the list of stanzas begins, and where the epoch's number ends, which stands behind it
    object_id, wrapped_key
        where these begin
    end
        where the body ends, and the digest begins
    """

    __slots__ = ("_found", "end", "epoch_id", "object_id", "stanzas", "wrapped_key")

    def __init__(self) -> None:
        self._found: Numbers = np.zeros(2 * _N_FIELDS, np.int64)
        self.end = self.stanzas = self.epoch_id = self.object_id = self.wrapped_key = 0
        prepare(_find_fields, np.frombuffer(START, np.uint8), self._found)

    def find(self, container: bytes) -> bool:
        """Whether it holds a well-formed record as we write them; neither the digest nor the MAC is looked at."""
        view: Any = np.frombuffer(container, np.uint8)
        self.end = _find_fields(view, self._found)
        if not self.end:
            return False
        found = self._found.tolist()
        form = container[found[2 * _FORM] : found[2 * _FORM + 1]]
        tag_bytes = _TAG_BYTES.get((form, container[found[2 * _SUITE] : found[2 * _SUITE + 1]]))
        n_frames, tags = found[2 * _N_FRAMES], 2 * _TAGS
        if tag_bytes is None or found[tags + 1] - found[tags] != n_frames * tag_bytes:
            return False
        if (n_frames == 0) != (form == b"header"):
            return False
        self.stanzas, self.epoch_id = found[2 * _STANZAS], found[2 * _EPOCH_ID + 1]
        self.object_id, self.wrapped_key = found[2 * _OBJECT_ID], found[2 * _WRAPPED_KEY]
        return True


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
    for position in range(end + DIGEST_BYTES, len(data)):
        if data[position]:
            return 0
    return end


@walk
def _find_fields(data: Bytes, found: Numbers) -> int:
    """Fill ``found`` with two numbers for each field, see `_value`; where the body ends, 0 for an unusual record."""
    end = _body_end(data)
    at, name = HEAD_BYTES, 0
    for field in range(_N_FIELDS):
        name_end = _NAME_ENDS[field]
        if at + name_end - name > end:
            return 0
        for position in range(name, name_end):
            if data[at + position - name] != _NAMES[position]:
                return 0
        begin, behind = _value(data, at + name_end - name, end, field)
        if begin < 0:
            return 0
        found[2 * field], found[2 * field + 1] = begin, behind
        at, name = behind, name_end
    word_bits = found[2 * _WORD_BITS]
    if (
        at != end
        or (word_bits != 8 and word_bits != 16)
        or found[2 * _FRAME_BYTES] % (word_bits // 8)
        or found[2 * _N_FRAMES] > MAX_FRAMES
    ):
        return 0
    return end
