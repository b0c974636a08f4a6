"""What was accepted always opens again: nobody has to understand the clear header, nor all of the original."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from synthetic import BIG, DEFLATED, EXPLICIT, IMPLICIT, data_set, element, file, image, item, preamble

import iomt_crypt
from benchmarks.trust_conversion import FORMS, converted
from benchmarks.trust_object import make
from benchmarks.trust_property import BrokenPromiseError, Trial
from iomt_crypt import decrypt_dataset, encrypt_dataset
from iomt_crypt.checks.vouch import rotate_object as rotate
from iomt_crypt.dicom import inspect_file, protect, read_file, restore, verify_file
from iomt_crypt.dicom.block import find_record
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.errors import AuthenticationError, HeaderDriftError, InputError, MalformedError
from iomt_crypt.seal import HpkeIdentity

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

N_BATCHES, N_SEEDS = 8, 60
_NO_SEQUENCE = 0x00120064  # De-identification Method Code Sequence, in files without any


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


def run_all(n_seeds: int) -> None:
    for seed in range(n_seeds):
        Trial().run(seed)


class TestProperty:
    @pytest.mark.parametrize("batch", range(N_BATCHES))
    def test_refused_or_opens(self, batch):
        """Objects of any nesting and damage, as written and as archives convert them."""
        trial = Trial()
        for seed in range(batch * N_SEEDS, (batch + 1) * N_SEEDS):
            trial.run(seed)
        counts = trial.counts
        assert counts["sound: taken"] > 0.9 * (counts["sound: taken"] + counts["sound: refused"]) > 10
        assert counts["damaged: taken"] > 0.4 * (counts["damaged: taken"] + counts["damaged: refused"]) > 5
        assert counts["damaged: refused"] > 0
        for form in FORMS:
            assert counts[f"opened: {form}"] > 0, form
            assert form.endswith("utf-8") or not counts[f"called changed: {form}"]

    def test_an_object_is_the_same_for_its_seed(self):
        assert [make(seed) for seed in range(20)] == [make(seed) for seed in range(20)]
        assert len({make(seed).data for seed in range(200)}) > 190
        assert {make(seed).syntax for seed in range(40)} == {EXPLICIT, IMPLICIT, BIG, DEFLATED}

    def test_it_sees_a_header_with_a_veto(self, monkeypatch):
        def veto(*_):
            raise AuthenticationError

        monkeypatch.setattr(sys.modules["iomt_crypt.dicom.restore"], "compare", veto)
        with pytest.raises(BrokenPromiseError, match="AuthenticationError"):
            run_all(10)

    def test_it_sees_other_bytes(self, monkeypatch):
        module = sys.modules["iomt_crypt.dicom.restore"]
        monkeypatch.setattr(module, "_head", lambda opened, _: (opened.original.head[:-1], None, ""))
        with pytest.raises(BrokenPromiseError, match="other bytes come back"):
            run_all(10)


def deep(tag: int, levels: int) -> bytes:
    value = b""
    for _ in range(levels):
        value = element(tag, "SQ", item(value))
    return value


BAD = element(_NO_SEQUENCE, "UN", b"ab")
ODD = {
    "icon": {0x00880200: ("SQ", item(BAD))},
    "deep icon": {0x00880200: ("SQ", item(deep(0x00880200, 70)))},
    "signature": {0xFFFAFFFA: ("SQ", item(BAD + element(0x04000120, "OB", bytes(10))))},
    "private sequence with pixels": {
        0x00290010: ("LO", b"NOBODY"),
        0x00291001: ("SQ", item(BAD + element(0x7FE00010, "OB", bytes(20)))),
    },
    "text for a sequence": {_NO_SEQUENCE: ("LO", b"ABCD")},
    "a sequence for a text": {0x00081030: ("SQ", item(element(0x00080100, "SH", b"1")))},
    "a delimiter for an element": {0x00081140: ("SQ", item(struct.pack("<HH2sxxL", 0xFFFE, 0xE0DD, b"UN", 0)))},
}


@pytest.mark.parametrize("name", ODD)
class TestOddObjects:
    def test_ways_back(self, name, sealed, opened, keyring, epoch, tmp_path, identity):
        raw = file(image(more=ODD[name]))
        data = sealed(raw)
        for headers in ("original", "merged", "strict"):
            back, done = opened(data, headers)
            assert back == raw
            assert (done.changed, done.remark, done.compared) == ((), "", headers != "original")
        (tmp_path / "a.dcm").write_bytes(data)
        found = verify_file(tmp_path / "a.dcm", identities=[identity])
        assert (found.state, found.changed, found.remark) == ("authentic", (), "")
        again = io.BytesIO()
        rotate(io.BytesIO(data), again, keyring=keyring, epoch=epoch)
        assert opened(again.getvalue())[0] == raw

    @pytest.mark.parametrize("form", FORMS)
    def test_converted(self, name, form, sealed, opened, keyring, epoch):
        raw = file(image(more=ODD[name]))
        data = converted(sealed(raw), FORMS[form])
        for headers in ("original", "merged", "strict") if "utf-8" not in form else ("original", "merged"):
            assert opened(data, headers)[0] == raw, headers
        if form != "deflated":
            again = io.BytesIO()
            rotate(io.BytesIO(data), again, keyring=keyring, epoch=epoch)
            assert opened(again.getvalue())[0] == raw

    def test_data_set(self, name, epoch, policy, keyring):
        raw = file(image(more=ODD[name]))
        ds = encrypt_dataset(dcmread(io.BytesIO(raw)), recipients=epoch, policy=policy)
        sink = io.BytesIO()
        decrypt_dataset(ds, identities=keyring).save_as(sink)
        assert sink.getvalue()[-len(raw) + len(preamble()) :] == raw[len(preamble()) :]


def test_what_the_dictionary_disputes_is_sealed(sealed):
    """An archive that stores in implicit VR, and every reader behind it, would take it for what it is not."""
    for name in ("text for a sequence", "a sequence for a text"):
        ds = dcmread(io.BytesIO(sealed(file(image(more=ODD[name])))))
        assert not ODD[name].keys() & set(ds.keys())
    ds = dcmread(io.BytesIO(sealed(file(image(more=ODD["a delimiter for an element"])))))
    assert len(ds[0x00081140].value[0]) == 0


def sealed_or_refused(sealed, raw: bytes) -> bytes | None:
    try:
        return sealed(raw)
    except MalformedError as refusal:
        error = refusal
    assert "deeper than 64 levels" in str(error)
    return None


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("levels", [65, 240, 2500])
def test_too_deep(levels, defined, sealed, opened):
    """Refused by the limit's name, or opens; whichever, it is so in the icon too, which is not looked into."""
    begin = b"SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = (b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * levels
    for tag in (0x00081140, 0x00880200):
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        nested = deep(tag, min(levels, 1500)) if defined else (head + begin) * levels + end
        parts = [element(t, *v) for t, v in sorted(image().items())]
        where = sum(t < tag for t in image())
        raw = preamble() + b"".join([*parts[:where], nested, *parts[where:]])
        data = sealed_or_refused(sealed, raw)
        if data is None:
            continue
        assert tag == 0x00880200
        assert opened(data, "original")[0] == opened(data, "merged")[0] == raw


OPEN_SEQUENCE = b"\x08\0\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
DAMAGE = {
    "a sequence without end": OPEN_SEQUENCE,
    "a value that is longer than the file": b"\x08\0\x10\x11UN\0\0\xf0\xff\xff\x7f",
    "a delimiter": b"\xfe\xff\x0d\xe0" + bytes(4),
    "deep sequences": OPEN_SEQUENCE * 2000,
    "a false block": element(0x7FDF0011, "LO", b"IOMT-CRYPT RECORD")
    + element(0x7FDF1101, "OB", b"IOMTCRPT" + bytes(60))
    + b"\x08\0\x10\x11UN\0\0\xf0\xff\xff\x7f",
    "a false record": b"\x08\0\x10\x11UN\0\0\xf0\xff\xff\x7f" + b"IOMTCRPT\0\1\0\0\0\x08" + bytes(40),
}


@pytest.mark.parametrize("what", DAMAGE)
class TestDamagedClearHeader:
    """Record and pixels are whole: that is enough."""

    def spoiled(self, data: bytes, what: str) -> bytes:
        name = element(0x00100010, "PN", b"Doe^John")
        assert data.count(name) == 1
        return data.replace(name, DAMAGE[what])

    @pytest.mark.parametrize("pixels", [True, False])
    def test_opens(self, what, pixels, sealed, opened):
        raw = file(image() if pixels else image(None))
        data = self.spoiled(sealed(raw), what)
        with pytest.raises(MalformedError):
            read_file(io.BytesIO(data))
        for headers in ("original", "merged"):
            back, done = opened(data, headers)
            assert back == raw
            assert (done.changed, done.applied, done.compared) == ((), False, False)
            assert done.remark.startswith("the clear header was not compared: ") == (headers == "merged")
        with pytest.raises(HeaderDriftError, match="not compared"):
            opened(data, "strict")

    def test_commands(self, what, sealed, opened, identity, tmp_path):
        path = tmp_path / "a.dcm"
        path.write_bytes(self.spoiled(sealed(file(image())), what))
        found = verify_file(path, identities=[identity])
        assert (found.state, found.n_units, found.changed) == ("authentic", 1, ())
        assert found.remark.startswith("the clear header was not compared: ")
        assert inspect_file(path).encryption is not None
        other = HpkeIdentity.generate()
        recipients = [identity.recipient, other.recipient]
        assert iomt_crypt.rekey_file(path, identities=[identity], recipients=recipients) == "in place"
        assert iomt_crypt.rekey_file(path, identities=[other], recipients=recipients, rotate=True) == "rotated"
        assert opened(path.read_bytes(), "original")[0] == file(image())

    @pytest.mark.parametrize("keep", [0.5, 0.99])
    def test_half_the_pixels_are_not_enough(self, what, keep, sealed, opened):
        data = self.spoiled(sealed(file(image())), what)
        with pytest.raises(InputError):
            opened(data[: len(data) - round(64 * (1 - keep)) - 1])

    def test_nothing_false_opens(self, what, sealed, opened):
        data = bytearray(self.spoiled(sealed(file(image())), what))
        data[-5] ^= 1
        with pytest.raises(AuthenticationError):
            opened(bytes(data), "original")

    def test_it_is_not_taken_for_encrypted_where_nobody_has_a_key(self, what, sealed):
        """Only the way back makes do with record and pixels: elsewhere plain pixels could stand in the damage."""
        data = self.spoiled(sealed(file(image())), what)
        with pytest.raises(MalformedError):
            sealed(data)


@pytest.mark.parametrize("form", ["implicit", "big endian", "deflated"])
@pytest.mark.parametrize("bits", [8, 16])
def test_damage_after_a_conversion(form, bits, sealed, opened):
    raw = file(image(bytes(range(128)), bits=bits, rows=8, columns=16 * 8 // bits, vr="OW" if bits > 8 else "OB"))
    data = converted(sealed(raw), FORMS[form])
    syntax = FORMS[form].syntax
    start = len(preamble(syntax))
    body = zlib.decompress(data[start:], -15) if syntax == DEFLATED else data[start:]
    mark = element(0x00100010, "PN", b"Doe^John", EXPLICIT if syntax == DEFLATED else syntax)
    order = ">" if syntax == BIG else "<"
    tag = struct.pack(f"{order}HH", 0x0010, 0x0010)
    long = struct.pack("<L", 0x7FFFFFF0) if syntax == IMPLICIT else b"UN\0\0" + struct.pack(f"{order}L", 0x7FFFFFF0)
    assert body.count(mark) == 1
    body = body.replace(mark, tag + long)
    data = preamble(syntax) + (zlib.compress(body)[2:-4] if syntax == DEFLATED else body)
    assert read_sealed(io.BytesIO(data)).damage
    assert opened(data, "original")[0] == opened(data)[0] == raw


def test_damaged_file_meta_information(sealed, opened):
    raw = file(image())
    data = sealed(raw)
    data = data[:144] + b"\x02\0\x01\0OB\0\0\xff\xff\xff\x7f" + data[156:]
    assert opened(data, "original")[0] == raw


@pytest.mark.parametrize("claimed", [IMPLICIT, BIG, DEFLATED, "1.2.840.10008.1.2.4.50", "9.9.9", ""])
@pytest.mark.parametrize("form", ["as written", *FORMS])
def test_a_transfer_syntax_that_is_not_true(claimed, form, sealed, opened):
    raw = file(image(bytes(range(128)), bits=16, vr="OW"))
    data = sealed(raw) if form == "as written" else converted(sealed(raw), FORMS[form])
    start = 132 + 12 + struct.unpack_from("<L", data, 140)[0]
    if form == "deflated":  # what is deflated and says otherwise cannot be told from noise
        with pytest.raises(InputError):
            opened(preamble(IMPLICIT) + data[start:], "original")
        return
    for headers in ("original", "merged"):
        assert opened(preamble(claimed) + data[start:], headers)[0] == raw


@pytest.mark.parametrize("vr", [b"OW", b"OB", b"UN"])
def test_swapped_pixels_whatever_their_vr(vr, sealed, opened, keyring, epoch):
    """An archive knew 8 bit pixels as OW: through implicit VR the VR got lost, and the bytes of each pair changed."""
    raw = file(image())
    data = converted(sealed(raw), FORMS["big endian"])
    head, pixels = data[:-64], data[-64:]
    if vr == b"OW":
        pixels = b"".join(pixels[at : at + 2][::-1] for at in range(0, 64, 2))
    data = head[:-8] + vr + head[-6:] + pixels
    assert opened(data, "strict")[0] == raw
    again = io.BytesIO()
    rotate(io.BytesIO(data), again, keyring=keyring, epoch=epoch)
    assert opened(again.getvalue(), "strict")[0] == raw


def test_attributes_of_the_pixels_do_not_matter(sealed, opened):
    """Bits Allocated of a converted object said how its pixels were swapped: anybody may have changed it."""
    raw = file(image(bytes(range(128)), bits=16, vr="OW"))
    data = converted(sealed(raw), FORMS["big endian"])
    for bits in (b"\0\x08", b"\0\x40", b"\xff\xff"):
        was = struct.pack(">HH2sH", 0x0028, 0x0100, b"US", 2) + b"\0\x10"
        assert data.count(was) == 1
        assert opened(data.replace(was, was[:-2] + bits), "original")[0] == raw


def test_a_data_set_that_pydicom_cannot_write(epoch, policy, keyring):
    ds = dcmread(io.BytesIO(file(image())))
    sealed = encrypt_dataset(ds, recipients=epoch, policy=policy)
    sealed.add_new(0x00189087, "FD", "no number")
    assert decrypt_dataset(sealed, identities=keyring, headers="original") == ds
    str(sealed)  # decodes every element
    assert decrypt_dataset(sealed, identities=keyring) == ds
    ds.add_new(0x00189087, "FD", "no number")
    with pytest.raises(MalformedError, match="pydicom cannot write"):
        encrypt_dataset(ds, recipients=epoch, policy=policy)


def test_no_instance_uid_left(sealed, opened):
    """Nobody can say whether the header is this object's: nothing of it is carried over, and the original is there."""
    raw = file(image())
    ds = dcmread(io.BytesIO(sealed(raw)))
    del ds.SOPInstanceUID
    ds.PatientName = "Roe^Jane"
    sink = io.BytesIO()
    Dataset.save_as(ds, sink, enforce_file_format=False)
    back, done = opened(sink.getvalue())
    assert back == raw
    assert not done.applied
    assert "PatientName (0010,0010)" in done.changed
    assert done.remark == "nothing was applied: the clear header has no SOP Instance UID"


REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


def report() -> dict[int, tuple[str, bytes]]:
    geometry = {0x00280002, 0x00280004, 0x00280010, 0x00280011}
    plain = {tag: value for tag, value in image(None).items() if tag >> 16 != 0x28 or tag not in geometry}
    return {tag: v for tag, v in plain.items() if tag >> 16 != 0x28} | {0x00080016: ("UI", REPORT.encode())}


EMPTY = b"\xe0\x7f\x10\x00OB\0\0"
ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0" + bytes(4)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(EMPTY + bytes(4), id="native"),
        pytest.param(EMPTY + b"\xff\xff\xff\xff" + END, id="no items"),
        pytest.param(EMPTY + b"\xff\xff\xff\xff" + ITEM + bytes(4) + END, id="an empty offset table"),
        pytest.param(EMPTY + bytes(4) + b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0abcd", id="trailing padding"),
    ],
)
def test_a_report_with_an_empty_pixel_element(pixels, sealed, opened):
    raw = preamble() + data_set(report()) + pixels
    data = sealed(raw)
    for headers in ("original", "merged", "strict"):
        assert opened(data, headers)[0] == raw
    assert "PixelData" not in dcmread(io.BytesIO(data))
    with pytest.raises(MalformedError, match="empty"):
        sealed(file(image(b"")))


STREAM = ITEM + bytes(4) + ITEM + struct.pack("<L", 40) + bytes(range(40))
JPEG = "1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize("end", [END, b"", END[:4], END[:7]])
def test_a_missing_sequence_delimiter(end, sealed, opened):
    start = preamble(JPEG) + data_set(image(None)) + EMPTY + b"\xff\xff\xff\xff"
    raw = start + STREAM + end
    for headers in ("original", "merged", "strict"):
        assert opened(sealed(raw), headers)[0] == raw
    for cut in (start, start + STREAM[:-1], start + STREAM + b"\xfe\xff", start + STREAM[:20], start + STREAM + b"abc"):
        if cut == start + STREAM + b"\xfe\xff":
            assert opened(sealed(cut))[0] == cut
            continue
        with pytest.raises(MalformedError, match="damaged at offset"):
            sealed(cut)


def with_media(elements: dict[int, tuple[str, bytes]], sop_class: str, sop_instance: str) -> bytes:
    group = element(0x00020002, "UI", sop_class.encode()) + element(0x00020003, "UI", sop_instance.encode())
    group += element(0x00020010, "UI", EXPLICIT.encode())
    start = bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(group)))
    return start + group + data_set(elements)


class TestFileMetaInformation:
    """It says what an object is when the data set does not."""

    @pytest.mark.parametrize("missing", [(0x00080016,), (0x00080018,), (0x00080016, 0x00080018)])
    @pytest.mark.parametrize("pixels", [True, False])
    def test_uids(self, missing, pixels, sealed, opened):
        elements = image() if pixels else report()
        expected, whole = elements[0x00080016][1].decode(), dcmread(io.BytesIO(sealed(file(elements))))
        for tag in missing:
            del elements[tag]
        raw = with_media(elements, expected, "1.2.3.4")
        data = sealed(raw)
        ds = dcmread(io.BytesIO(data))
        assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == expected
        assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID == whole.SOPInstanceUID
        for headers in ("original", "merged", "strict"):
            back, done = opened(data, headers)
            assert back == raw
            assert (done.sop_class_uid, done.sop_instance_uid) == (expected, "1.2.3.4")
        assert done.changed == ()

    def test_data_sets(self, epoch, policy, keyring):
        elements = image()
        del elements[0x00080016], elements[0x00080018]
        ds = dcmread(io.BytesIO(with_media(elements, REPORT, "1.2.3.4")))
        sealed = encrypt_dataset(ds, recipients=epoch, policy=policy)
        assert sealed.SOPClassUID == REPORT
        assert decrypt_dataset(sealed, identities=keyring) == ds

    @pytest.mark.parametrize("name", ["Doe^John", "1.2.3 ; rm", "1" * 65])
    def test_what_is_no_uid_is_not_taken(self, name, sealed):
        elements = image()
        del elements[0x00080016]
        with pytest.raises(MalformedError, match="is missing") as caught:
            sealed(with_media(elements, name, "1.2.3.4"))
        assert "DICOMDIR" not in caught.value.hint
        assert "file meta information" in caught.value.hint
        assert name not in str(caught.value)

    def test_directories_keep_their_hint(self, sealed):
        directory = "1.2.840.10008.1.3.10"
        records = {0x00041130: ("CS", b"DISK"), 0x00041220: ("SQ", b"")}
        for raw in (with_media(records, directory, "1.2.3.4"), preamble() + data_set(records)):
            with pytest.raises(MalformedError, match="is missing") as caught:
                sealed(raw)
            assert "DICOMDIR" in caught.value.hint


def test_a_record_is_found_by_its_creator_alone(sealed):
    """What the way back makes do with is no other record than the one that everybody finds."""
    data = sealed(file(image()))
    spoiled = data.replace(element(0x00100010, "PN", b"Doe^John"), OPEN_SEQUENCE)
    assert find_record(read_sealed(io.BytesIO(spoiled)).header) == find_record(read_file(io.BytesIO(data)).header)
