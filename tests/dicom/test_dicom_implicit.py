"""Explicit VR written as Implicit VR: the same values, and an encrypted object that still opens byte for byte."""

from __future__ import annotations

import io
import struct

import pytest
from corpus import CASES, ENCRYPTED, some
from pydicom import dcmread
from pydicom.dataset import Dataset

from iomt_crypt.dicom import protect, read_file, restore, split_file
from iomt_crypt.dicom.implicit import implicit_dataset, without_vrs
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.errors import InputError, MalformedError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def _converted(content: bytes) -> bytes:
    """The file ``content``, as a peer would write it that got it in Implicit VR."""
    parts = split_file(io.BytesIO(content))
    data = b"".join(implicit_dataset(io.BytesIO(content)))
    return file_meta(parts.sop_class_uid, parts.sop_instance_uid, IMPLICIT) + data


def _same(one: Dataset, other: Dataset) -> None:
    """Both have the same elements with the same encoded values; items one by one; no group lengths in ``other``."""
    tags = [tag for tag in one.keys() if tag.element]  # noqa: SIM118 - a Dataset's own iterator gives elements
    assert tags == list(other.keys())
    for tag in tags:
        before, after = one.get_item(tag), other.get_item(tag)
        if before.VR != "SQ":
            assert (before.value or b"") == (after.value or b""), tag
        elif other[tag].VR == "SQ":  # private ones are not known as such any more
            for item, converted in zip(one[tag].value, other[tag].value, strict=True):
                _same(item, converted)


@pytest.mark.parametrize("case", some(ENCRYPTED, 40), ids=lambda case: case.name)
def test_an_encrypted_object_opens_byte_for_byte(case, epoch, keyring, policy):
    sealed = io.BytesIO()
    protect(read_file(io.BytesIO(case.read())), sealed, epoch=epoch, policy=policy)
    converted = _converted(sealed.getvalue())
    for headers in ("original", "merged"):
        plain = io.BytesIO()
        done = restore(io.BytesIO(converted), plain, keyring=keyring, headers=headers)
        assert plain.getvalue() == case.read()
        assert not done.applied
    assert len(converted) < len(sealed.getvalue()) + 100


def test_every_explicit_file_keeps_its_values():
    """Of real files of all kinds: converted with every value, or refused by name."""
    n_converted = 0
    for case in some(CASES, 3):
        content = case.read()
        try:
            parts = split_file(io.BytesIO(content))
            if parts.transfer_syntax_uid != EXPLICIT:
                continue
            converted = _converted(content)
        except InputError:
            continue
        meta = file_meta(parts.sop_class_uid, parts.sop_instance_uid)
        before = dcmread(io.BytesIO(meta + content[parts.dataset_offset :]))
        _same(before, dcmread(io.BytesIO(converted)))
        n_converted += 1
    assert n_converted >= 8


def _element(tag: int, vr: bytes, value: bytes, *, size: int | None = None) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    size = len(value) if size is None else size
    if vr in (b"OB", b"SQ", b"UN", b"UT"):
        return head + struct.pack("<HL", 0, size) + value
    return head + struct.pack("<H", size) + value


def _plain(tag: int, value: bytes, *, size: int | None = None) -> bytes:
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if size is None else size) + value


UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, _plain(0xFFFEE00D, b""), _plain(0xFFFEE0DD, b"")
NAME, PLAIN_NAME = _element(0x00100010, b"PN", b"Doe^Jane"), _plain(0x00100010, b"Doe^Jane")


def _in_item(body: bytes, *, undefined: bool) -> bytes:
    return _plain(ITEM, body + ITEM_END, size=UNDEFINED) if undefined else _plain(ITEM, body)


@pytest.mark.parametrize("undefined", [False, True])
def test_lengths_follow(undefined):
    """A sequence in a sequence, private, defined or not; a group length goes, what is unknown stays."""

    def nested(element, name, group_length):
        for tag in (0x00081140, 0x00091001, 0x00400275):
            body = _in_item(group_length + name, undefined=undefined)
            body = body + SEQUENCE_END if undefined else body
            name = element(tag, body)
            group_length = b""
        return name

    size = UNDEFINED if undefined else None
    explicit = nested(
        lambda tag, body: _element(tag, b"SQ", body, size=size), NAME, _element(0x00100000, b"UL", bytes(4))
    )
    implicit = nested(lambda tag, body: _plain(tag, body, size=size), PLAIN_NAME, b"")
    assert without_vrs(explicit + _element(0x7FDF1001, b"OB", b"\1\2")) == implicit + _plain(0x7FDF1001, b"\1\2")


def test_an_unknown_sequence_of_undefined_length_is_implicit_already():
    """PS3.5 6.2.2: UN with undefined length."""
    inner = _plain(0x00091002, _plain(ITEM, PLAIN_NAME + ITEM_END, size=UNDEFINED) + SEQUENCE_END, size=UNDEFINED)
    value = _plain(ITEM, inner + PLAIN_NAME + ITEM_END, size=UNDEFINED) + _plain(ITEM, PLAIN_NAME) + SEQUENCE_END
    explicit = _element(0x00091001, b"UN", value, size=UNDEFINED) + NAME
    assert without_vrs(explicit) == _plain(0x00091001, value, size=UNDEFINED) + PLAIN_NAME


def test_a_value_longer_than_16_bits():
    value = b"x" * 70_000
    assert without_vrs(_element(0x00091001, b"UT", value)) == _plain(0x00091001, value)


@pytest.mark.parametrize(
    "elements",
    [
        NAME[:-1],
        NAME[:6],
        b"\x10\0\x10\0\x01\x02\0\0",
        _element(0x00081140, b"SQ", _plain(ITEM, NAME)[:-1]),
        _element(0x00081140, b"SQ", _plain(ITEM, NAME, size=len(NAME) + 1)),
        _element(0x00081140, b"SQ", _plain(ITEM, NAME, size=UNDEFINED)),
        _element(0x00081140, b"SQ", _plain(ITEM, NAME), size=UNDEFINED),
        _element(0x00081140, b"SQ", NAME),
        _element(0x00091001, b"UN", _plain(ITEM, PLAIN_NAME), size=UNDEFINED),
        _element(0x00091001, b"SQ", b"", size=UNDEFINED),
        (_element(0x00091001, b"SQ", b"", size=UNDEFINED) + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)) * 1000,
        _element(0x00091001, b"UN", b"", size=UNDEFINED) + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED) * 1000,
    ],
)
def test_damage_is_refused(elements):
    with pytest.raises(MalformedError):
        without_vrs(elements)


def test_other_encodings_are_refused_by_name():
    for case in CASES:
        content = case.read()
        if case.name in (
            "test_files/MR_small_bigendian.dcm",
            "test_files/image_dfl.dcm",
            "test_files/MR_small_RLE.dcm",
        ):
            with pytest.raises(UnsupportedError, match=r"1\.2\.840\.10008\.1\.2"):
                list(implicit_dataset(io.BytesIO(content)))
