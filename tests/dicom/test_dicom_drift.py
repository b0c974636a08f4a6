"""What an archive changed in the clear header: named, carried back where it may be, and never mixed up."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import pytest
from corpus import find
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from synthetic import BIG, DEFLATED, EXPLICIT, IMPLICIT, data_set, element, file, image, item, preamble

from iomt_crypt.dicom import Restored, protect, read_file, restore, verify_file
from iomt_crypt.errors import ConfigurationError, HeaderDriftError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture
def sealed(epoch, policy):
    def make(raw: bytes) -> bytes:
        sink = io.BytesIO()
        protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)
        return sink.getvalue()

    return make


@pytest.fixture
def opened(keyring):
    def make(data: bytes, headers: str = "merged"):
        sink = io.BytesIO()
        done = restore(io.BytesIO(data), sink, keyring=keyring, headers=headers)
        return sink.getvalue(), done

    return make


def changed(data: bytes, change: Callable[[Dataset], object], **options: bool) -> bytes:
    """``data`` as an archive on pydicom would write it after ``change``."""
    ds = dcmread(io.BytesIO(data))
    change(ds)
    sink = io.BytesIO()
    ds.save_as(sink, **options)
    return sink.getvalue()


def not_applied(found: tuple[bytes, Restored], raw: bytes, why: str) -> None:
    """The original came back as it was, and what became of the corrections is said, without values."""
    back, done = found
    assert back == raw
    assert not done.applied
    assert done.changed
    assert done.remark.startswith("no correction was applied: ")
    assert why in done.remark


def correct(ds: Dataset) -> None:
    ds.PatientName = "Roe^Jane^Maria"
    ds.PatientID = "ID-2"
    ds.StudyDescription = "corrected"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_corrections(syntax, sealed, opened):
    """Every byte but the corrected elements, in the original's own encoding."""
    elements = image(bits=16, vr="OW", columns=4)
    data = changed(sealed(file(elements, syntax)), correct)
    expected = elements | {
        0x00081030: ("LO", b"corrected"),
        0x00100010: ("PN", b"Roe^Jane^Maria"),
        0x00100020: ("LO", b"ID-2"),
    }
    merged, done = opened(data)
    assert merged == file(expected, syntax)
    assert done.applied
    assert done.changed == ("StudyDescription (0008,1030)", "PatientName (0010,0010)", "PatientID (0010,0020)")
    original, done = opened(data, "original")
    assert original == file(elements, syntax)
    assert not done.applied
    with pytest.raises(HeaderDriftError) as caught:
        opened(data, "strict")
    assert "PatientName (0010,0010)" in str(caught.value)
    assert not {"Roe", "Doe", "ID-1", "ID-2", "corrected"} & set(str(caught.value).replace("^", " ").split())


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "rtstruct.dcm", "SC_rgb_small_odd.dcm"]
)
def test_corrections_of_real_files(name, sealed, opened):
    raw = find(f"test_files/{name}").read()
    data = changed(sealed(raw), correct)
    merged, _ = opened(data)
    ds, plain = dcmread(io.BytesIO(merged), force=True), dcmread(io.BytesIO(raw), force=True)
    assert (ds.PatientName, ds.PatientID, ds.StudyDescription) == ("Roe^Jane^Maria", "ID-2", "corrected")
    if "PixelData" in plain:
        assert ds.PixelData == plain.PixelData
    correct(plain)
    assert ds == plain
    assert opened(data, "original")[0] == raw


def test_removed_and_emptied(sealed, opened):
    def remove(ds: Dataset) -> None:
        del ds.PatientID
        ds.PatientName = ""

    elements = image()
    merged, _ = opened(changed(sealed(file(elements)), remove))
    del elements[0x00100020]
    assert merged == file(elements | {0x00100010: ("PN", b"")})


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: setattr(ds, "InstitutionName", "Elsewhere"),
        lambda ds: setattr(ds, "SeriesDescription", "x"),
        lambda ds: setattr(ds, "WindowWidth", "400"),
        lambda ds: setattr(ds, "BitsStored", 7),
        lambda ds: setattr(ds, "Columns", 4),
        lambda ds: setattr(ds, "PixelRepresentation", 1),
        lambda ds: ds.add_new(0x00091001, "LO", "private"),
    ],
)
def test_what_is_never_applied(change, sealed, opened):
    """Pixel-describing and series-level elements: named, and left as they were."""
    raw = file(image())
    merged, done = opened(changed(sealed(raw), change))
    assert merged == raw
    assert len(done.changed) == 1
    assert not done.applied
    with pytest.raises(HeaderDriftError, match=r"\([0-9A-F]{4},[0-9A-F]{4}\)"):
        opened(changed(sealed(raw), change), "strict")


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "examples_overlay.dcm", "liver_1frame.dcm", "reportsi.dcm"],
)
@pytest.mark.parametrize("to", ["implicit", "undefined lengths"])
def test_other_encodings_are_no_drift(name, to, sealed, opened):
    """An archive may store in any uncompressed transfer syntax; big endian is tested with a real peer."""
    raw = find(f"test_files/{name}").read()

    def convert(ds: Dataset) -> None:
        if to == "implicit":
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            return
        for found in ds.iterall():
            if found.VR == "SQ":
                found.is_undefined_length = True
                for entry in found.value:
                    entry.is_undefined_length_sequence_item = True

    options = {"implicit_vr": True, "little_endian": True} if to == "implicit" else {}
    data = changed(sealed(raw), convert, **options)
    for headers in ("original", "merged", "strict"):
        assert opened(data, headers)[0] == raw


@pytest.mark.parametrize("vr", ["OB", "UN", "SQ"])
def test_private_values_without_their_vr(vr, sealed, opened):
    """Implicit VR forgets what a private value is; pydicom's dictionary calls the first of these a sequence."""
    inner = element(0x00091001, "LO", b"text") + element(0x00091002, "US", b"\1\0")
    value = item(inner) if vr == "SQ" else b"no sequence."
    for creator, tag in ((b"Philips US Imaging DD 109", 0x200D110D), (b"NOBODY", 0x200D1001)):
        raw = file(image(more={0x200D0010: ("LO", creator), tag: (vr, value)}))

        def implicit(ds: Dataset) -> None:
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

        data = changed(sealed(raw), implicit, implicit_vr=True, little_endian=True)
        assert opened(data, "strict")[0] == raw


def test_padding_is_no_drift(sealed, opened):
    raw = file(image() | {0x00100020: ("LO", b"ID-1  "), 0x00080018: ("UI", b"1.2.3.4\0")})

    def strip(ds: Dataset) -> None:
        ds.PatientID = "ID-1"

    assert opened(changed(sealed(raw), strip), "strict")[0] == raw


class TestCharacterSets:
    def test_to_utf_8_and_nothing_else(self, sealed, opened):
        raw = file(image(more={0x00080005: ("CS", b"ISO_IR 100"), 0x00100010: ("PN", b"M\xfcller^J\xf6rg")}))

        def utf8(ds: Dataset) -> None:
            name = str(ds.PatientName)
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.PatientName = name

        merged, done = opened(changed(sealed(raw), utf8))
        assert merged == raw
        assert not done.applied

    @pytest.mark.parametrize(
        ("declared", "name", "expected"),
        [
            (b"ISO_IR 100", "Müller^Jörg", b"M\xfcller^J\xf6rg"),
            (b"ISO_IR 192", "山田^太郎", "山田^太郎".encode()),
            (b"ISO_IR 144", "Иванов^Юрий", "Иванов^Юрий".encode("iso8859_5")),
            (b"GB18030", "王^小东", "王^小东".encode("gb18030")),
            (b"\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", None),
        ],
    )
    def test_corrections_in_the_character_set_of_the_original(self, declared, name, expected, sealed, opened):
        raw = file(image(more={0x00080005: ("CS", declared)}))

        def correct(ds: Dataset) -> None:
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.PatientName = name

        merged, _ = opened(changed(sealed(raw), correct))
        assert dcmread(io.BytesIO(merged)).PatientName == name
        if expected is not None:
            assert merged == file(image(more={0x00080005: ("CS", declared), 0x00100010: ("PN", expected)}))

    @pytest.mark.parametrize(
        ("declared", "name"),
        [(None, "Müller"), (b"ISO_IR 100", "山田"), (b"ISO_IR 144", "Müller"), (b"ISO_IR 6", "Jörg")],
    )
    def test_what_cannot_be_written_is_not_applied(self, declared, name, sealed, opened):
        """Rather than with question marks for the name of a patient."""
        more = {} if declared is None else {0x00080005: ("CS", declared)}
        raw = file(image(more=more))

        def correct(ds: Dataset) -> None:
            ds.SpecificCharacterSet = "ISO_IR 192"
            ds.PatientName = name

        data = changed(sealed(raw), correct)
        not_applied(opened(data), raw, "character set")
        assert name not in opened(data)[1].remark
        with pytest.raises(HeaderDriftError, match="PatientName"):
            opened(data, "strict")
        assert opened(data, "original")[0] == raw

    @pytest.mark.parametrize("name", ["chrH31.dcm", "chrI2.dcm", "chrArab.dcm", "chrX1.dcm", "chrGerm.dcm"])
    def test_real_character_sets(self, name, sealed, opened):
        raw = find(f"charset_files/{name}").read()

        def utf8(ds: Dataset) -> None:
            ds.decode()
            ds.SpecificCharacterSet = "ISO_IR 192"

        data = changed(sealed(raw), utf8)
        assert opened(data, "original")[0] == raw
        merged, _ = opened(data)
        assert dcmread(io.BytesIO(merged)).PatientName == dcmread(io.BytesIO(raw)).PatientName


def test_tags_that_are_not_in_order(sealed, opened):
    """Corrections land where the elements were, whatever their order."""
    elements = image(more={0x00081030: ("LO", b"a study")})
    pixels = elements.pop(0x7FE00010)

    def build(values) -> bytes:
        return (
            preamble()
            + b"".join(element(t, *v) for t, v in sorted(values.items(), reverse=True))
            + element(0x7FE00010, *pixels)
        )

    merged, _ = opened(changed(sealed(build(elements)), correct))
    expected = elements | {
        0x00081030: ("LO", b"corrected"),
        0x00100010: ("PN", b"Roe^Jane^Maria"),
        0x00100020: ("LO", b"ID-2"),
    }
    assert merged == build(expected)


def test_an_element_that_was_there_twice(sealed, opened):
    twice = data_set(image()).replace(
        element(0x00100010, "PN", b"Doe^John"), element(0x00100010, "PN", b"Doe^John") * 2
    )
    raw = preamble() + twice
    merged, _ = opened(changed(sealed(raw), correct))
    assert b"Doe^John" not in merged
    assert opened(changed(sealed(raw), correct), "original")[0] == raw


def test_a_value_that_does_not_fit(sealed, opened):
    def long(ds: Dataset) -> None:
        ds.PatientComments = "x" * 70_000
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    data = changed(sealed(file(image())), long, implicit_vr=True, little_endian=True)
    not_applied(opened(data), file(image()), "the limit is 65535")
    merged, _ = opened(changed(sealed(file(image(), IMPLICIT)), long, implicit_vr=True, little_endian=True))
    assert merged.count(b"x" * 70_000) == 1


@pytest.mark.parametrize("vr", ["SQ", "OB", "US", "UT"])
def test_a_value_of_another_vr(vr, sealed, opened):
    data = sealed(file(image()))
    name = element(0x00100010, "PN", b"Doe^John")
    assert data.count(name) == 1
    data = data.replace(name, element(0x00100010, vr, b"\xfe\xff\x00\xe0\0\0\0\0"))
    not_applied(
        opened(data), file(image()), f"PatientName (0010,0010): the correction cannot be applied: it has the VR {vr}"
    )


def test_a_value_of_unknown_vr(sealed, opened):
    data = sealed(file(image()))
    name = element(0x00100010, "PN", b"Doe^John")
    merged, _ = opened(data.replace(name, element(0x00100010, "UN", b"Roe^Jane")))
    assert merged == file(image() | {0x00100010: ("PN", b"Roe^Jane")})


def test_deflated_objects_take_no_corrections(sealed, opened):
    raw = preamble(DEFLATED) + zlib.compress(data_set(image()))[2:-4]
    data = changed(sealed(raw), correct)
    not_applied(opened(data), raw, "deflated")
    assert opened(data, "original")[0] == raw
    assert opened(sealed(raw), "strict")[0] == raw


def test_a_new_instance_uid(sealed, opened):
    raw = file(image())

    def another(ds) -> None:
        ds.SOPInstanceUID, ds.PatientName = "1.2.9", "Of^Another"

    data = changed(sealed(raw), another)
    # That patient must not be put on this image, and the header keeps nobody from the image either.
    restored, done = opened(data)
    assert restored == raw
    assert not done.applied
    assert "the clear header says SOP Instance UID 1.2.9, the record belongs to" in done.remark
    with pytest.raises(HeaderDriftError):
        opened(data, "strict")
    assert opened(data, "original")[0] == raw


def test_a_study_that_was_merged_into_another(sealed, opened):
    merged, done = opened(changed(sealed(file(image())), lambda ds: setattr(ds, "StudyInstanceUID", "1.2.99")))
    assert merged == file(image() | {0x0020000D: ("UI", b"1.2.99")})
    assert done.changed == ("StudyInstanceUID (0020,000D)",)


def test_verify_names_the_changes(sealed, identity, tmp_path):
    (tmp_path / "a.dcm").write_bytes(changed(sealed(file(image())), correct))
    found = verify_file(tmp_path / "a.dcm", identities=[identity])
    assert (found.state, found.n_units) == ("authentic", 1)
    assert "PatientName (0010,0010)" in found.changed
    assert verify_file(tmp_path / "a.dcm").changed == ()


def test_unknown_mode(sealed, opened):
    with pytest.raises(ConfigurationError, match="'all' is unknown"):
        opened(sealed(file(image())), "all")
