"""Items of sequences: read as pydicom reads them, in time that their size bounds."""

from __future__ import annotations

import io
import struct
import time
import warnings

import pytest
from corpus import CASES, SHARED
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.tag import BaseTag
from synthetic import BIG, EXPLICIT, IMPLICIT, data_set, element, file, image, item, preamble

from iomt_crypt.dicom import protect, read_file, restore, sequence
from iomt_crypt.dicom.element import KeepAll, Transcoder
from iomt_crypt.dicom.parse import parse_elements
from iomt_crypt.dicom.sequence import Steps, read_items
from iomt_crypt.errors import IomtCryptError, MalformedError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
SEQUENCE_END, ITEM_END = b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0"
OPEN_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
REFERENCES = 0x00081140


def open_sequence(body: bytes, tag: int = REFERENCES) -> bytes:
    """A sequence of undefined length."""
    return struct.pack("<HH2sxxL", tag >> 16, tag & 0xFFFF, b"SQ", 0xFFFFFFFF) + body + SEQUENCE_END


def with_sequence(raw: bytes, syntax: str = EXPLICIT) -> bytes:
    before = {tag: value for tag, value in image().items() if tag < REFERENCES}
    behind = {tag: value for tag, value in image().items() if tag > REFERENCES}
    return preamble(syntax) + data_set(before, syntax) + raw + data_set(behind, syntax)


def by_pydicom(raw):
    """Items as pydicom alone reads them."""
    if isinstance(raw, RawDataElement):
        raw = raw._replace(tag=BaseTag(raw.tag), VR="SQ", is_implicit_VR=raw.is_implicit_VR and raw.VR != "UN")
        raw = convert_raw_data_element(raw)
    return [{int(nested.tag): nested for nested in entry.values()} for entry in raw.value or ()]


def flat(items, read):
    """Tags, VRs and values, of nested items too."""
    return [[(tag, raw.VR, nested(raw, read)) for tag, raw in sorted(entry.items())] for entry in items]


def nested(raw, read):
    if raw.VR == "SQ":
        return flat(read(raw), read)
    return raw.value or b""


def directly(raw):
    return read_items(raw, Steps(1 << 20)) if isinstance(raw, RawDataElement) else by_pydicom(raw)


def test_real_sequences_are_read_as_pydicom_reads_them(monkeypatch):
    """Every sequence of every file, and nearly all of them without pydicom."""
    n_left, n_read = [0], 0

    def left(*given):
        n_left[0] += 1
        return original(*given)

    original = sequence.read_sequence
    monkeypatch.setattr(sequence, "read_sequence", left)
    for case in [c for c in CASES if "/series/" not in c.name and c.path.stat().st_size < 300_000]:
        try:
            source = read_file(io.BytesIO(case.read()))
        except IomtCryptError:
            continue
        for raw in source.header.values():
            if raw.VR == "SQ" and isinstance(raw, RawDataElement):
                try:
                    expected = flat(by_pydicom(raw), by_pydicom)
                except Exception:
                    continue
                assert flat(directly(raw), directly) == expected, case.name
                n_read += 1
    assert n_read > (200 if SHARED.is_dir() else 50)
    assert n_left[0] < n_read / 20


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_every_form_of_lengths(syntax, epoch, keyring, policy):
    inner = element(0x00081155, "UI", b"1.2.3", syntax)
    order = ">" if syntax == BIG else "<"

    def tag(number: int, size: int) -> bytes:
        return struct.pack(f"{order}HHL", number >> 16, number & 0xFFFF, size)

    def sequence_of(body: bytes, size: int) -> bytes:
        head = struct.pack(f"{order}HH", REFERENCES >> 16, REFERENCES & 0xFFFF)
        return head + (b"" if syntax == IMPLICIT else b"SQ\0\0") + struct.pack(f"{order}L", size) + body

    closed = tag(0xFFFEE000, len(inner)) + inner
    opened = tag(0xFFFEE000, 0xFFFFFFFF) + inner + tag(0xFFFEE00D, 0)
    end = tag(0xFFFEE0DD, 0)
    forms = [
        sequence_of(closed + opened, len(closed + opened)),
        sequence_of(closed + opened + end, 0xFFFFFFFF),
        sequence_of(end, 0xFFFFFFFF),
        sequence_of(tag(0xFFFEE000, 0xFFFFFFFF) + tag(0xFFFEE00D, 0) + end, 0xFFFFFFFF),
    ]
    forms.append(sequence_of(tag(0xFFFEE000, 0xFFFFFFFF) + forms[1] + forms[0] + tag(0xFFFEE00D, 0) + end, 0xFFFFFFFF))
    for form in forms:
        raw, sink, out = with_sequence(form, syntax), io.BytesIO(), io.BytesIO()
        source = read_file(io.BytesIO(raw))
        found = source.header[REFERENCES]
        assert flat(directly(found), directly) == flat(by_pydicom(found), by_pydicom)
        protect(source, sink, epoch=epoch, policy=policy)
        restore(sink, out, keyring=keyring, headers="strict")
        assert out.getvalue() == raw


@given(st.data())
def test_damaged_sequences_are_read_as_pydicom_reads_them(data):
    """The same items, or what pydicom refuses is refused."""
    inner = element(0x00081155, "UI", b"1.2.3") + element(0x00400254, "LO", b"text") + element(0x00091001, "UN", b"ab")
    body = item(inner) + OPEN_ITEM + inner + open_sequence(item(inner)) + ITEM_END + item(b"") + SEQUENCE_END
    value = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.sampled_from((0, 1, 0x41, 0xE0, 0xFE, 0xFF)))
    value = bytes(value[: data.draw(st.integers(0, len(value)))])
    raw = RawDataElement(BaseTag(REFERENCES), "SQ", len(value), value, 0, data.draw(st.booleans()), True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = flat(by_pydicom(raw), by_pydicom)
        except Exception:
            with pytest.raises(Exception):  # noqa: B017, PT011
                flat(directly(raw), directly)
            return
        assert flat(directly(raw), directly) == expected


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(file(image(more={REFERENCES: ("SQ", item(b"") * 50_000)})), id="empty items"),
        pytest.param(with_sequence(open_sequence(item(b"") * 50_000)), id="of undefined length"),
        pytest.param(with_sequence(open_sequence((OPEN_ITEM + ITEM_END) * 25_000)), id="items of undefined length"),
        pytest.param(file(image(more={REFERENCES: ("UN", item(b"") * 50_000)})), id="in a UN"),
        pytest.param(
            file(image(more={REFERENCES: ("SQ", item(element(0x00081155, "UI", b"") * 50_000))})), id="tiny elements"
        ),
        pytest.param(
            file(image(more={REFERENCES: ("SQ", item(element(0x00081199, "SQ", b"") * 50_000))})), id="empty sequences"
        ),
    ],
)
def test_many_items_take_little_time(raw, epoch, policy):
    """0.4 MB each. A million items took pydicom a minute: 7 microseconds for each byte; less than half is allowed."""
    protect(read_file(io.BytesIO(file(image()))), io.BytesIO(), epoch=epoch, policy=policy)
    begin = time.process_time()
    protect(read_file(io.BytesIO(raw)), io.BytesIO(), epoch=epoch, policy=policy)
    assert time.process_time() - begin < 3e-6 * len(raw)  # a busy machine; 0.6e-6 on a quiet one


def nested_deep(depth: int, inner: bytes) -> bytes:
    for _ in range(depth):
        inner = open_sequence(OPEN_ITEM + inner + ITEM_END)
    return inner


def test_what_would_be_read_over_and_over_is_refused(monkeypatch):
    """Sequences of undefined length, each in the other, are looked through once for each level."""
    monkeypatch.setattr(sequence, "_FREE_STEPS", 1000)
    payload = b"".join(element(0x00091000 + n, "LO", b"") for n in range(1, 4000))
    source = read_file(io.BytesIO(with_sequence(nested_deep(3, payload))))
    Transcoder(source.encoding, source.header, KeepAll()).elements(source.header)
    source = read_file(io.BytesIO(with_sequence(nested_deep(50, payload))))
    with pytest.raises(MalformedError, match="takes more than"):
        Transcoder(source.encoding, source.header, KeepAll()).elements(source.header)


def test_what_pydicom_reads_is_counted(monkeypatch):
    """An element of no known VR leaves all to pydicom, whose items cost 50 times as much."""
    unusual = OPEN_ITEM + b"\x09\x00\x01\x10ZZ\x02\x00ab" + ITEM_END
    raw = with_sequence(open_sequence(unusual * 20))
    assert isinstance(read_file(io.BytesIO(raw)).header[REFERENCES], DataElement)
    monkeypatch.setattr(sequence, "_FREE_STEPS", 1000)
    with pytest.raises(MalformedError, match="takes more than"):
        read_file(io.BytesIO(with_sequence(open_sequence(unusual + item(b"") * 2000))))
    more = {REFERENCES: ("SQ", unusual + item(b"") * 2000)}
    source = read_file(io.BytesIO(file(image(more=more))))
    with pytest.raises(MalformedError, match="takes more than"):
        Transcoder(source.encoding, source.header, KeepAll()).elements(source.header)


def test_many_elements():
    """A data set has some hundreds; more than 32768 are refused while they are read."""
    body = b"".join(element(0x00090000 | n, "LO", b"") for n in range(0x100, 0x8200))
    with pytest.raises(MalformedError, match="more than 32768 elements"):
        read_file(io.BytesIO(preamble() + body))
    assert len(parse_elements(body[: 8 * 20_000], read_file(io.BytesIO(file(image()))).encoding)) == 20_000
