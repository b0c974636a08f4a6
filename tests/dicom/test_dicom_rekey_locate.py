"""The record is found where the way back finds it, by a walk that reads no pixels."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iomt_crypt import encrypt_file
from iomt_crypt.dicom import block, read_file
from iomt_crypt.dicom.locate import Location, _UnusualError, _Walk, locate_in, locate_record
from iomt_crypt.dicom.walk import record_finder
from iomt_crypt.errors import InputError, UnsupportedError
from tests import corpus, synthetic

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, on real files
CREATOR, HOLDER = 0x7FDF0010, 0x7FDF1001
RECORD = bytes(range(1, 33)) * 20
HEAD_BYTES = 1 << 17


def walk(path: Path) -> Location | type[_UnusualError] | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return _Walk(descriptor).location()
    except _UnusualError:
        return _UnusualError
    finally:
        os.close(descriptor)


def locate(path: Path) -> Location | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return locate_record(descriptor)
    finally:
        os.close(descriptor)


def slowly(path: Path) -> Location | type[Exception] | None:
    try:
        with path.open("rb") as stream:
            return locate_in(read_file(stream))
    except InputError as error:
        return type(error)


@pytest.fixture(scope="module")
def compiled():
    """``compiled(path)``: whether the compiled walk finds the record, which is where the other one finds it."""
    find = record_finder()

    def check(path: Path) -> bool:
        data = path.read_bytes()
        begin, end = find([data[:HEAD_BYTES]], [len(data)])[0]
        if (begin, end) == (0, 0):
            return False
        found = walk(path)
        assert found == Location(begin, data[begin:end])
        assert found == slowly(path)
        return True

    return check


def agree(path: Path) -> bool:
    """The fast way says what the slow way says, or leaves it to that; True when it was fast."""
    fast = walk(path)
    if fast is _UnusualError:
        return False
    assert fast == slowly(path)
    with path.open("rb") as stream:
        found = block.find_record(read_file(stream).header)
    assert (None if fast is None else fast.container) == (None if found is None else found[1])
    if fast is not None:
        data = path.read_bytes()
        assert data[fast.offset : fast.offset + len(fast.container)] == fast.container
        assert int.from_bytes(data[fast.offset - 4 : fast.offset], "little") == len(fast.container)
    return True


def holding(**changes) -> synthetic.Elements:
    return synthetic.image(more={CREATOR: ("LO", b"IOMT-CRYPT RECORD"), HOLDER: ("OB", RECORD)}, **changes)


@pytest.mark.parametrize("part", corpus.batches(corpus.some(corpus.CASES, 1), 4))
def test_every_file_of_the_corpus(part, compiled):
    for case in part:
        agree(case.path)
        assert not compiled(case.path)


@pytest.mark.parametrize("part", corpus.batches(corpus.some(corpus.ENCRYPTED, 2), 4))
def test_every_encrypted_file(part, epoch, policy, tmp_path, compiled):
    n_fast = n_compiled = 0
    for case in part:
        path = tmp_path / "encrypted.dcm"
        encrypt_file(case.path, path, recipients=epoch, policy=policy, overwrite=True)
        n_fast += agree(path)
        n_compiled += compiled(path)
        assert locate(path) is not None
    assert n_fast >= len(part) * 0.9
    assert n_compiled >= len(part) * 0.9


@pytest.mark.parametrize("syntax", [synthetic.EXPLICIT, synthetic.IMPLICIT, synthetic.BIG])
def test_encodings(syntax, tmp_path, compiled):
    path = tmp_path / "x.dcm"
    path.write_bytes(synthetic.file(holding(), syntax))
    assert agree(path) == compiled(path) == (syntax != synthetic.BIG)
    found = locate(path)
    assert found is not None
    assert found.container == RECORD
    assert found.byte_order == ("big" if syntax == synthetic.BIG else "little")
    length = path.read_bytes()[found.offset - 4 : found.offset]
    assert int.from_bytes(length, found.byte_order) == len(RECORD)


@pytest.mark.parametrize("syntax", [synthetic.EXPLICIT, synthetic.IMPLICIT])
@pytest.mark.parametrize(
    ("elements", "fast", "fastest"),
    [
        (synthetic.image(), True, False),
        (holding(), True, True),
        (holding(pixels=None), True, None),
        (holding() | {0x7FDF0000: ("UL", b"\1\2\0\0")}, True, False),
        (holding() | {0xFFFCFFFC: ("OB", bytes(100))}, True, False),
        (holding() | {0xFFFCFFFC: ("OB", bytes(100_000))}, False, False),
        (holding() | {0x7FDF0010: ("LO", b"SOMEBODY ELSE")}, True, False),
        (holding() | {0x7FDF0010: ("LO", b"SOMEBODY"), 0x7FDF0011: ("LO", b"IOMT-CRYPT RECORD ")}, True, False),
        (
            holding()
            | {0x7FDF0010: ("LO", b"SOMEBODY"), 0x7FDF0011: ("LO", b"IOMT-CRYPT RECORD ")}
            | {0x7FDF1101: ("UN", RECORD[:50])},
            True,
            True,
        ),
        (holding() | {0x00091001: ("UN", bytes(200_000))}, True, False),
        (holding(pixels=b""), True, None),
        (holding() | {0x00091001: ("UN", bytes(100_000))}, True, True),
        (holding() | {0x00091001: ("UN", bytes(131_000))}, True, False),
    ],
)
def test_what_archives_make_of_it(elements, fast, fastest, syntax, tmp_path, compiled):
    path = tmp_path / "x.dcm"
    elements = {tag: value for tag, value in elements.items() if value}
    path.write_bytes(synthetic.file(elements, syntax))
    assert agree(path) == fast
    assert compiled(path) == fastest or fastest is None
    assert locate(path) == slowly(path)


def test_the_group_length_is_found(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(synthetic.file(holding() | {0x7FDF0000: ("UL", b"\1\2\0\0")}))
    found = locate(path)
    assert found is not None
    assert found.group_length is not None
    assert found.group_length[1] == b"\1\2\0\0"
    assert path.read_bytes()[found.group_length[0] :][:4] == b"\1\2\0\0"


def unusual() -> dict[str, bytes]:
    whole, head = synthetic.file(holding()), synthetic.preamble()
    body = synthetic.data_set(holding())
    out_of_order = synthetic.element(CREATOR, "LO", b"IOMT-CRYPT RECORD") + synthetic.element(HOLDER, "OB", RECORD[:40])
    undefined = struct.pack("<HH2sxxL", 8, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return {
        "no preamble": body,
        "no file meta": bytes(128) + b"DICM" + body,
        "cut in the pixels": whole[:-1],
        "cut in the record": whole[: whole.index(RECORD) + 99],
        "cut behind the record": whole[: whole.index(RECORD) + len(RECORD)],
        "some bytes behind": whole + b"\0\1\2",
        "a record behind the pixels": whole + out_of_order,
        "an older record before": head + out_of_order + body,
        "an undefined length": head + undefined + body,
        "nothing in it": head,
        "an unknown VR": head + synthetic.element(0x00080005, "ZZ", b"ISO_IR 100") + body,
    }


@pytest.mark.parametrize("name", unusual())
def test_the_unusual_is_left_to_the_slow_way(name, tmp_path, compiled):
    path = tmp_path / "x.dcm"
    path.write_bytes(unusual()[name])
    assert compiled(path) <= agree(path)
    if agree(path):
        assert name == "cut behind the record"
    expected = slowly(path)
    if isinstance(expected, type):
        with pytest.raises(expected):
            locate(path)
    else:
        assert locate(path) == expected


@given(seed=st.integers(0, 1 << 32), syntax=st.sampled_from([synthetic.EXPLICIT, synthetic.IMPLICIT]))
def test_mutated_files(seed, syntax, tmp_path_factory, compiled):
    """No mutation has the fast way find another record than the slow one."""
    chance = random.Random(seed)
    elements = holding() | ({0x7FDF0000: ("UL", b"\1\2\0\0")} if seed % 2 else {})
    data = bytearray(synthetic.file(elements, syntax))
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(132, len(data) - len(RECORD))
        kind = chance.randrange(4)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.choice(b"\0\1\2\x08\x10\x7f\xdf\xe0\xfe\xff")
        elif kind == 2:
            del data[at : at + chance.randrange(1, 20)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 20))
    path = tmp_path_factory.getbasetemp() / "mutated.dcm"
    path.write_bytes(bytes(data))
    fast, slow = walk(path), slowly(path)
    if fast is not _UnusualError and not isinstance(slow, type):
        assert fast == slow
    compiled(path)


def test_a_deflated_object_says_what_to_do(tmp_path):
    import zlib

    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(synthetic.data_set(holding())) + deflate.flush()
    path = tmp_path / "x.dcm"
    path.write_bytes(synthetic.preamble(synthetic.DEFLATED) + body)
    with pytest.raises(UnsupportedError, match="deflated") as caught:
        locate(path)
    assert "dcmconv" in caught.value.hint


def test_a_record_without_a_long_length_is_refused(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(
        synthetic.file(synthetic.image(more={CREATOR: ("LO", b"IOMT-CRYPT RECORD"), HOLDER: ("LO", b"x")}))
    )
    with pytest.raises(UnsupportedError, match="no length that could be changed"):
        locate(path)


def test_the_pixels_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x.dcm"
    path.write_bytes(synthetic.file(holding(pixels=bytes(1 << 22), rows=2048, columns=2048)))
    n_read = []
    pread = os.pread

    def counted(descriptor, size, offset):
        n_read.append(len(pread(descriptor, size, offset)))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert locate(path) is not None
    assert 0 < sum(n_read) <= 1 << 16


@pytest.mark.parametrize("syntax", [synthetic.EXPLICIT, synthetic.IMPLICIT])
def test_a_head_that_is_cut_anywhere(syntax, tmp_path, compiled):
    """The compiled walk reads no further than what it was given: its indices are checked, and would raise."""
    find, whole = record_finder(), synthetic.file(holding(), syntax)
    path = tmp_path / "x.dcm"
    path.write_bytes(whole)
    assert compiled(path)
    pixels = whole.index(RECORD) + len(RECORD)
    there, sizes = find([whole], [len(whole)])[0], range(len(whole))
    heads = [whole[:size] for size in sizes]
    for size, found in zip(sizes, find(heads, [len(whole)] * len(heads)), strict=True):
        assert found == [0, 0] if size < pixels else found in ([0, 0], there)
        assert find([whole[:size]], [size]) == [[0, 0] if size != pixels else there]
    assert find(heads, sizes) == [[0, 0] if size != pixels else there for size in sizes]
