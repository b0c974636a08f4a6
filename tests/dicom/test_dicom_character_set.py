"""Text is compared as text, and written in the character sets of the original by the rules of PS3.5 6.1.2."""

from __future__ import annotations

import io
import subprocess
import warnings
from pathlib import Path

import pytest
from corpus import CASES
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from synthetic import element, file, image, item

from iomt_crypt.dicom import character_set, protect, read_file, restore
from iomt_crypt.dicom.character_set import decode, encode, recode, same_text, terms_of
from iomt_crypt.dicom.parse import raw_value
from iomt_crypt.errors import IomtCryptError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
UTF_8 = ("ISO_IR 192",)

# Declared, text, bytes. The first are the examples of the standard, byte for byte: PS3.5 H.3.1, H.3.2, I.2, K.2, J.1,
# J.2, J.3 and J.4; then one of each other set.
WRITTEN = [
    (
        b"\\ISO 2022 IR 87",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    (
        b"ISO 2022 IR 13\\ISO 2022 IR 87",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
    ),
    (
        b"\\ISO 2022 IR 149",
        "Hong^Gildong=洪^吉洞=홍^길동",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ),
    (
        b"\\ISO 2022 IR 58",
        "Zhang^XiaoDong=张^小东=",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
    ),
    (b"ISO_IR 192", "Wang^XiaoDong=王^小東=", b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1="),
    (b"GB18030", "Wang^XiaoDong=王^小东=", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab="),
    (b"GBK", "Wang^XiaoDong=王^小东=", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab="),
    (b"ISO_IR 6", "Doe^John", b"Doe^John"),
    (b"", "Doe^John", b"Doe^John"),
    (b"ISO_IR 100", "Müller^Jörg", b"M\xfcller^J\xf6rg"),
    (b"ISO-IR 100", "Müller^Jörg", b"M\xfcller^J\xf6rg"),
    (b"ISO_IR 101", "Wałęsa^Lech", b"Wa\xb3\xeasa^Lech"),
    (b"ISO_IR 109", "Ĉiam^Ħal", b"\xc6iam^\xa1al"),
    (b"ISO_IR 110", "Bērziņš", b"B\xbarzi\xf1\xb9"),
    (b"ISO_IR 144", "Люкceмбypг", b"\xbb\xee\xdace\xdc\xd1yp\xd3"),  # noqa: RUF001
    (b"ISO_IR 127", "قباني^لنزار", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1"),
    (b"ISO_IR 126", "Διονυσιος", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2"),
    (b"ISO_IR 138", "שרון^דבורה", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4"),
    (b"ISO_IR 148", "Çavuşoğlu", b"\xc7avu\xfeo\xf0lu"),
    (b"ISO_IR 166", "นามสกุล", b"\xb9\xd2\xc1\xca\xa1\xd8\xc5"),
    (b"ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3"),
    # Value 1 has a set in G1: it comes back before each delimiter and at the end
    (
        b"ISO 2022 IR 100\\ISO 2022 IR 144",
        "Müller^Иван\\Иван",
        b"M\xfcller^\x1b-L\xb8\xd2\xd0\xdd\x1b-A\\\x1b-L\xb8\xd2\xd0\xdd\x1b-A",
    ),
    (
        b"\\ISO 2022 IR 87\\ISO 2022 IR 159",
        "Morioka=丂山",
        b"Morioka=\x1b$(D0!\x1b$B;3\x1b(B",
    ),
    (b"ISO 2022 IR 100", "Müller", b"M\xfcller"),
    # Yen and overline of JIS X 0201 stand where ASCII has backslash and tilde
    (b"ISO_IR 13", "ﾔ~", b"\xd4~"),
]


@pytest.mark.parametrize(("declared", "text", "value"), WRITTEN)
def test_written_as_the_standard_shows(declared, text, value):
    terms = terms_of(declared)
    assert encode(text, "PN", terms) == value
    assert decode(value, "PN", terms) == text
    assert recode(text.encode(), "PN", UTF_8, terms) == value
    assert same_text(value, terms, text.encode() + b" ", UTF_8, "PN")
    assert not same_text(value, terms, text.encode() + b"x", UTF_8, "PN")


def test_lines_begin_anew():
    """A control character ends what was designated, in texts of many lines too (PS3.5 6.1.2.5.3)."""
    terms = terms_of(b"\\ISO 2022 IR 87")
    assert encode("山\r\n田\tx\\y", "LT", terms) == b"\x1b$B;3\x1b(B\r\n\x1b$BED\x1b(B\tx\\y"
    korean = terms_of(b"\\ISO 2022 IR 149")
    assert encode("김\r\n희", "LT", korean) == b"\x1b$)C\xb1\xe8\r\n\x1b$)C\xc8\xf1"
    with pytest.raises(UnicodeError):
        decode(b"\x1b$)C\xb1\xe8\r\n\xc8\xf1", "LT", korean)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (b"ISO_IR 6", b"M\xfcller"),
        (b"ISO_IR 100", b"\x1b-L\xb8"),
        (b"\\ISO 2022 IR 87", b"\x1b$)C\xb1\xe8"),  # not declared
        (b"\\ISO 2022 IR 87", b"\x1b$B;"),  # half a character
        (b"\\ISO 2022 IR 87", b"\x1b$B\x7e\x7e"),  # none
        (b"\\ISO 2022 IR 149", b"\xb1\xe8"),  # never designated
        (b"\\ISO 2022 IR 149", b"\x1b$)C\xb1\xe8^\xb1\xe8"),  # not behind the delimiter
        (b"ISO_IR 192", b"\xff\xfe"),
        (b"ISO_IR 192", b"\x1b$B;3"),
        (b"ISO_IR 999", b"Doe"),
        (b"latin_1", b"Doe"),
        (b"100", b"Doe"),
    ],
)
def test_what_is_no_text(declared, value):
    """Nothing is guessed; such values are the same when their bytes are."""
    terms = terms_of(declared)
    with pytest.raises(UnicodeError):
        decode(value, "PN", terms)
    assert same_text(value, terms, value, terms, "PN")
    assert not same_text(value, terms, value + b"x", terms, "PN")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (b"", "Müller"),
        (b"ISO_IR 100", "山田"),
        (b"ISO_IR 144", "Müller"),
        (b"\\ISO 2022 IR 87", "김"),
        (b"\\ISO 2022 IR 149", "丂"),
        (b"GB18030\\ISO 2022 IR 87", "\ud800"),
        (b"ISO_IR 13", "山"),
    ],
)
def test_what_cannot_be_written(declared, text):
    with pytest.raises(UnicodeError):
        encode(text, "PN", terms_of(declared))


def test_two_decoders_must_agree(monkeypatch):
    monkeypatch.setattr(character_set, "decode_bytes", lambda *_: "Doe^Jane")
    with pytest.raises(UnicodeError, match="reads differently"):
        encode("Doe^John", "PN", ("ISO_IR 100",))


@pytest.mark.parametrize(
    ("vr", "one", "other", "same"),
    [
        ("PN", "Doe^John^^^", "Doe^John", True),
        ("PN", "Doe^John==", "Doe^John ", True),
        ("PN", "Doe^John=^=", "Doe^John", True),
        ("PN", "Doe ^John\\Roe^", "Doe^John\\Roe", True),
        ("PN", "^John", "John", False),
        ("PN", "=Doe", "Doe", False),
        ("PN", "Doe^John", "Doe^john", False),
        ("LO", " A\\B ", "A\\B", True),
        ("LO", "A\\B", "A\\C", False),
        ("LO", "A\\", "A", False),
        ("LT", "A\\ B ", "A\\ B", True),
        ("LT", " A", "A", False),
        ("LO", "Jo\u0308rg", "Jörg", True),
    ],
)
def test_what_is_significant(vr, one, other, same):
    assert same_text(one.encode(), UTF_8, other.encode(), UTF_8, vr) is same


def test_the_same_bytes_in_other_sets_say_something_else():
    assert not same_text(b"M\xfcller", ("ISO_IR 100",), b"M\xfcller", ("ISO_IR 144",), "PN")
    assert not same_text(
        b"\x1b$B;3\x1b(B", terms_of(b"\\ISO 2022 IR 87"), b"\x1b$B;3\x1b(B", terms_of(b"\\ISO 2022 IR 149"), "PN"
    ) or same_text(b"Doe", ("ISO_IR 100",), b"Doe", UTF_8, "PN")


@given(
    st.sampled_from(sorted({declared for declared, _, _ in WRITTEN})),
    st.lists(st.sampled_from("".join(text for _, text, _ in WRITTEN) + "^=\\\r\n\t AZaz09"), max_size=24),
    st.sampled_from(("PN", "LO", "LT")),
)
def test_whatever_is_written_reads_the_same(declared, characters, vr):
    """A refusal, or the same text, also when it is decoded line by line."""
    terms, text = terms_of(declared), "".join(characters)
    try:
        value = encode(text, vr, terms)
    except UnicodeError:
        return
    assert same_text(value, terms, text.encode(), UTF_8, vr)
    # padding is not carried over
    assert recode(value, vr, terms, UTF_8).decode() == decode(value.rstrip(b" \0"), vr, terms)
    if not {"GB18030", "GBK"} & set(terms):
        # A reader may begin anew at each line: nothing that was designated reaches over its end
        assert "\r".join(decode(line, vr, terms) for line in value.split(b"\r")) == decode(value, vr, terms)


def test_real_files_read_as_pydicom_reads_them():
    """Every name is a text of the sets that its file declares."""
    n_same = 0
    for case in [c for c in CASES if "/series/" not in c.name and c.path.stat().st_size < 60_000]:
        raw = case.read()
        try:
            source = read_file(io.BytesIO(raw))
        except IomtCryptError:
            continue
        terms = terms_of(raw_value(source.header, 0x00080005))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = dcmread(io.BytesIO(raw), force=True, stop_before_pixels=True)
            name = str(ds.get("PatientName", ""))
        value = raw_value(source.header, 0x00100010)
        text = decode(value, "PN", terms)
        assert text.rstrip(" =\0") == name.replace("\x1b$)A", "").rstrip(" =\0"), case.name
        n_same += 1
    assert n_same > 60


@pytest.fixture
def sealed(epoch, policy, tmp_path):
    def make(raw: bytes) -> Path:
        path = tmp_path / "sealed.dcm"
        with path.open("wb+") as sink:
            protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)
        return path

    return make


CONVERTED = [  # dcmconv 3.6.7 on glibc's iconv, which has no ISO 2022 IR 87
    (b"\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    (b"\\ISO 2022 IR 58", "Zhang^XiaoDong=张^小东="),
    (b"ISO 2022 IR 100\\ISO 2022 IR 144", "Müller^Иван"),
    (b"ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ~"),
]


@pytest.mark.peer
@pytest.mark.parametrize(("declared", "name"), CONVERTED, ids=[declared.decode() for declared, _ in CONVERTED])
def test_converted_to_utf_8_by_a_real_tool(declared, name, sealed, keyring, peer, tmp_path):
    """Nothing changed, in sequences neither: every way back gives the very bytes, `strict` too."""
    terms = terms_of(declared)
    nested = item(element(0x00080104, "LO", encode(name.replace("^", " "), "LO", terms)))
    more = {0x00080005: ("CS", declared), 0x00100010: ("PN", encode(name, "PN", terms)), 0x00081032: ("SQ", nested)}
    raw = file(image(more=more))
    converted = tmp_path / "converted.dcm"
    command = [peer("dcmconv"), "+U8", str(sealed(raw)), str(converted)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert dcmread(converted).SpecificCharacterSet == "ISO_IR 192"
    for headers in ("original", "merged", "strict"):
        sink = io.BytesIO()
        restored = restore(io.BytesIO(converted.read_bytes()), sink, keyring=keyring, headers=headers)
        assert sink.getvalue() == raw
        assert not restored.changed


@pytest.mark.parametrize(("declared", "text", "value"), WRITTEN[:4] + WRITTEN[20:23])
def test_a_correction_after_a_conversion(declared, text, value, sealed, keyring):
    """The archive holds UTF-8; what it corrected is written in the original's sets, what it did not stays."""
    more = {0x00080005: ("CS", declared), 0x00100010: ("PN", b"Doe"), 0x00100020: ("LO", b"ID-1")}
    ds = dcmread(sealed(file(image(more=more))))
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = text  # without the empty group at the end, says pydicom
    converted, sink = io.BytesIO(), io.BytesIO()
    ds.save_as(converted)
    converted.seek(0)
    restored = restore(converted, sink, keyring=keyring)
    assert sink.getvalue() == file(image(more=more | {0x00100010: ("PN", value.rstrip(b"="))}))
    assert restored.changed == ("PatientName (0010,0010)",)


def test_every_charset_file_after_pydicom_converted_it(sealed, keyring):
    """In process: all of pydicom's files of character sets, decoded and saved as UTF-8 by pydicom."""
    cases = [case for case in CASES if case.name.startswith("charset_files/") and case.refused is None]
    assert len(cases) >= 15
    for each in cases:
        raw = each.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = dcmread(sealed(raw))
            ds.decode()
            ds.SpecificCharacterSet = "ISO_IR 192"
            converted, sink = io.BytesIO(), io.BytesIO()
            ds.save_as(converted)
        converted.seek(0)
        restored = restore(converted, sink, keyring=keyring)
        assert sink.getvalue() == raw, each.name
        assert not restored.applied
