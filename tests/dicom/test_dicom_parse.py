"""What cannot be parsed is refused with the element, its place, and words that a user understands."""

from __future__ import annotations

import io
import struct

import pytest

from iomt_crypt.dicom.encoding import Encoding
from iomt_crypt.dicom.parse import read_elements
from iomt_crypt.errors import MalformedError

_UID = struct.pack("<HH2sH4s", 8, 0x16, b"UI", 4, b"1.2\0")
_SEQUENCE = struct.pack("<HH4sL", 8, 0x1140, b"SQ\0\0", 0xFFFFFFFF)
_ITEMS = "in element (0008,1140) at offset 24: an item or its delimiter is missing, damaged or cut off"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_UID + _SEQUENCE, _ITEMS),
        (_UID + _SEQUENCE + b"12345678", _ITEMS),
        (_UID + _SEQUENCE + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + _UID, _ITEMS),
        (_UID + _SEQUENCE + struct.pack("<HHL", 0xFFFE, 0xE000, 500) + b"abc", _ITEMS),
        (_UID + struct.pack("<HH5s", 8, 0x18, b"OB\0\0\0"), "behind element (0008,0016) at offset 8: it ends in the "
         "middle of an element"),
    ],
    ids=["no items", "no item", "cut off in an item", "an item too long", "cut off in an element"],
)  # fmt: skip
def test_message(data: bytes, reason: str):
    with pytest.raises(MalformedError) as caught:
        read_elements(io.BytesIO(data), 0, Encoding(implicit=False, little_endian=True), stop=())
    assert str(caught.value) == f"the data set cannot be parsed {reason}"
