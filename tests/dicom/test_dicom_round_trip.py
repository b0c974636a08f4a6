"""What comes back is what went in, byte for byte: every file of the corpora, and shapes that nobody has sent yet."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from corpus import CASES, ENCRYPTED, REFUSED, SHARED, find, some
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from synthetic import BIG, DOUBLE_PIXELS, EXPLICIT, FLOAT_PIXELS, IMPLICIT, data_set, file, image, preamble

from iomt_crypt import decrypt_dataset, decrypt_file, encrypt_dataset, encrypt_file
from iomt_crypt.dicom import Policy, Protected, protect, read_file, read_network, restore, split_file
from iomt_crypt.errors import InputError, MalformedError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring

# pydicom complains about the values of real files; with warnings as errors it would refuse what users can read
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def encrypted(raw: bytes, epoch: Epoch, policy: Policy) -> tuple[bytes, Protected]:
    sink = io.BytesIO()
    done = protect(read_file(io.BytesIO(raw)), sink, epoch=epoch, policy=policy)
    assert done.size_bytes == len(sink.getvalue())
    return sink.getvalue(), done


def restored(data: bytes, keyring: Keyring) -> bytes:
    sink = io.BytesIO()
    restore(io.BytesIO(data), sink, keyring=keyring, headers="strict")
    return sink.getvalue()


def test_the_corpora_are_there():
    corpora = [name.split("/")[0] for name in (case.name for case in CASES)]
    assert corpora.count("test_files") >= 150
    assert corpora.count("charset_files") >= 15
    assert not SHARED.exists() or corpora.count("shared") >= 300
    names = {case.name for case in CASES}
    assert {name for name in REFUSED if not name.startswith("shared/")} <= names
    assert not SHARED.exists() or set(REFUSED) <= names


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_file(case, epoch, keyring, policy):
    raw = case.read()
    if case.refused:
        with pytest.raises(InputError) as caught:
            encrypted(raw, epoch, policy)
        assert type(caught.value) is case.refused
        return
    data, done = encrypted(raw, epoch, policy)
    assert restored(data, keyring) == raw
    uid = done.original_sop_instance_uid
    # Well-known instances, and those without a UID of their own, have nothing to derive from
    assert done.form == "header" or not uid or done.sop_instance_uid.startswith("2.25.")


@pytest.mark.parametrize("case", ENCRYPTED, ids=lambda case: case.name)
def test_object_from_the_network(case, epoch, keyring, policy):
    raw = case.read()
    parts = split_file(io.BytesIO(raw))
    sent = raw[parts.dataset_offset :]
    source, sink = read_network(sent, transfer_syntax_uid=parts.transfer_syntax_uid), io.BytesIO()
    if not source.sop_class_uid or (source.pixel is None and not source.sop_instance_uid):
        # a C-STORE has no file meta information that could say what the object is
        with pytest.raises(MalformedError, match="is missing"):
            protect(source, sink, epoch=epoch, policy=policy)
        return
    protect(source, sink, epoch=epoch, policy=policy)
    back = restored(sink.getvalue(), keyring)
    again = split_file(io.BytesIO(back))
    assert back[again.dataset_offset :] == sent
    assert again.transfer_syntax_uid == parts.transfer_syntax_uid
    source = read_file(io.BytesIO(raw))
    assert (again.sop_class_uid, again.sop_instance_uid) == (source.text(0x00080016), source.text(0x00080018))


@pytest.mark.parametrize("case", some(ENCRYPTED, 9), ids=lambda case: case.name)
@pytest.mark.parametrize(
    "changes", [{"suite": "chaos-cnn-1"}, {"uids": "keep", "site_key": None}], ids=["chaos", "keep"]
)
def test_other_policies(case, changes, epoch, keyring, policy):
    raw = case.read()
    data, done = encrypted(raw, epoch, replace(policy, **changes))
    assert restored(data, keyring) == raw
    if "uids" in changes and done.original_sop_instance_uid:
        assert done.sop_instance_uid == done.original_sop_instance_uid
    assert done.suite == changes.get("suite", "hybrid-1")


@pytest.mark.parametrize("case", some(ENCRYPTED, 29), ids=lambda case: case.name)
def test_files_by_path(case, identity, epoch, policy, tmp_path):
    done = encrypt_file(case.path, tmp_path / "a" / "encrypted.dcm", recipients=epoch, policy=policy)
    assert (tmp_path / "a" / "encrypted.dcm").stat().st_size == done.size_bytes
    back = decrypt_file(
        tmp_path / "a" / "encrypted.dcm", tmp_path / "back.dcm", identities=[identity], headers="strict"
    )
    assert (tmp_path / "back.dcm").read_bytes() == case.read()
    assert back.changed == ()
    assert back.suite == "hybrid-1"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "back.dcm", "encrypted.dcm"]


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "rtplan.dcm", "image_dfl.dcm"]
)
def test_data_sets(name, identity, policy):
    case = find(f"test_files/{name}")
    ds = dcmread(case.path)
    before = dcmread(case.path)
    sealed = encrypt_dataset(ds, recipients=[identity.recipient], policy=policy)
    assert ds == before
    if "PixelData" in ds:
        assert sealed.PixelData != ds.PixelData
    back = decrypt_dataset(sealed, identities=[identity])
    assert back == ds
    stored = io.BytesIO()
    sealed.save_as(stored, enforce_file_format=True)
    stored.seek(0)
    assert decrypt_dataset(dcmread(stored), identities=[identity]) == ds


def test_samples(sample_files, epoch, keyring, policy):
    for path in sample_files:
        raw = path.read_bytes()
        data, done = encrypted(raw, epoch, policy)
        assert done.form in ("native", "carrier")
        assert restored(data, keyring) == raw


def test_all_forms_and_encodings_are_in_the_corpora(epoch, policy):
    forms, syntaxes = set(), set()
    for case in some(ENCRYPTED, 1, 60_000):
        raw = case.read()
        syntaxes.add(read_file(io.BytesIO(raw)).transfer_syntax_uid)
        forms.add(encrypted(raw, epoch, policy)[1].form)
    assert forms == {"native", "carrier", "header"}
    assert {
        IMPLICIT,
        EXPLICIT,
        BIG,
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.50",
    } <= syntaxes


def test_uids_are_the_same_on_every_run_and_all_else_is_not(epoch, keyring, policy):
    raw = file(image())
    first, done = encrypted(raw, epoch, policy)
    second, again = encrypted(raw, epoch, policy)
    assert done.sop_instance_uid == again.sop_instance_uid
    assert done.series_instance_uid == again.series_instance_uid
    assert first[-64:] != second[-64:]
    assert done.study_instance_uid == "1.2.3"


@settings(max_examples=120)
@given(data=st.data())
def test_shapes(data, epoch, keyring, policy):
    rows, columns, frames = (data.draw(st.integers(1, top)) for top in (9, 11, 4))
    kinds = ((PIXEL_DATA_KIND, bits) for bits in (1, 8, 16, 32, 64))
    (tag, vr), bits = data.draw(st.sampled_from([*kinds, ((FLOAT_PIXELS, "OF"), 32), ((DOUBLE_PIXELS, "OD"), 64)]))
    samples = data.draw(st.sampled_from([1, 3])) if bits in (8, 16) else 1
    photometric = data.draw(st.sampled_from(["RGB", "YBR_FULL"])) if samples == 3 else "MONOCHROME2"
    syntax = data.draw(st.sampled_from([EXPLICIT, IMPLICIT, BIG]))
    size = -(-rows * columns * samples * bits * frames // 8)
    extra = data.draw(st.sampled_from([0, 0, 1, 2, 17]))
    pixels = data.draw(st.binary(min_size=size + extra, max_size=size + extra))
    vr = vr or ("OB" if bits <= 8 else "OW")
    elements = image(
        pixels,
        rows=rows,
        columns=columns,
        bits=bits,
        samples=samples,
        frames=frames,
        photometric=photometric,
        tag=tag,
        vr=vr,
    )
    raw = file(elements, syntax)
    suite = data.draw(st.sampled_from(["hybrid-1", "chaos-cnn-1"]))
    sealed, done = encrypted(raw, epoch, replace(policy, suite=suite))
    assert done.form == "native"
    assert restored(sealed, keyring) == raw
    ds = dcmread(io.BytesIO(sealed))
    assert ds.BitsAllocated == bits
    assert ds.get("PhotometricInterpretation") == ("RGB" if samples == 3 else "MONOCHROME2")
    if tag == 0x7FE00010:
        assert (ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (bits, bits - 1, 0)


PIXEL_DATA_KIND = (0x7FE00010, None)


@pytest.mark.parametrize("subsampled", [True, False])
def test_ybr_full_422(subsampled, epoch, keyring, policy):
    pixels = bytes(range(256)) * 2
    size = 8 * 16 * 2
    raw = file(image(pixels[:size], rows=8, columns=16, samples=3, photometric="YBR_FULL_422"))
    data, done = encrypted(raw, epoch, policy)
    assert done.form == "carrier"
    assert dcmread(io.BytesIO(data)).PhotometricInterpretation == "RGB"
    assert restored(data, keyring) == raw


@pytest.mark.parametrize("length", [1, 2, 63, 65])
def test_odd_and_unpadded_values(length, epoch, keyring, policy):
    """A value of odd length at the end of the file: not allowed, and seen."""
    raw = preamble() + data_set(image(None, rows=1, columns=length))
    raw += b"\xe0\x7f\x10\x00OB\0\0" + length.to_bytes(4, "little") + bytes(range(length))
    data, _ = encrypted(raw, epoch, policy)
    assert restored(data, keyring) == raw
    assert len(data) % 2 == 0


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda raw: raw[132:], id="no preamble"),
        pytest.param(lambda raw: raw[len(preamble()) :], id="no file meta"),
        pytest.param(lambda raw: b"\xaa" * 128 + raw[128:], id="preamble in use"),
        pytest.param(lambda raw: raw + b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0abcd", id="trailing padding"),
        pytest.param(
            lambda raw: raw + b"\xe1\x7f\x10\x00LO\x04\0MINE\xe1\x7f\x01\x10OB\0\0\x02\0\0\0ab", id="private behind"
        ),
        pytest.param(lambda raw: raw + bytes(10), id="zeros behind"),
        pytest.param(lambda raw: raw + b"junk", id="junk behind"),
    ],
)
def test_odd_files(build, epoch, keyring, policy):
    raw = build(file(image()))
    data, _ = encrypted(raw, epoch, policy)
    assert restored(data, keyring) == raw
    dcmread(io.BytesIO(data))


def test_carrier_larger_than_its_raster(epoch, keyring, policy):
    """A code stream that is larger than the raster: what does not fit is sealed with the header."""
    stream = bytes(range(256)) * 8
    value = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + len(stream).to_bytes(4, "little") + stream
    value += b"\xfe\xff\xdd\xe0\0\0\0\0"
    raw = preamble("1.2.840.10008.1.2.4.50") + data_set(image(None)) + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + value
    data, done = encrypted(raw, epoch, policy)
    assert done.form == "carrier"
    assert stream[:16] not in data
    assert restored(data, keyring) == raw


def test_nothing_is_overwritten(epoch, policy, tmp_path: Path):
    (tmp_path / "in.dcm").write_bytes(file(image()))
    (tmp_path / "out.dcm").write_bytes(b"mine")
    with pytest.raises(Exception, match="exists already"):
        encrypt_file(tmp_path / "in.dcm", tmp_path / "out.dcm", recipients=epoch, policy=policy)
    assert (tmp_path / "out.dcm").read_bytes() == b"mine"
    encrypt_file(tmp_path / "in.dcm", tmp_path / "out.dcm", recipients=epoch, policy=policy, overwrite=True)
    decrypted = tmp_path / "out.dcm"
    assert decrypted.read_bytes()[128:132] == b"DICM"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.dcm", "out.dcm"]


def test_several_recipients_open_the_same_object(policy):
    identities = [HpkeIdentity.generate() for _ in range(3)]
    raw = file(image())
    data, _ = encrypted(raw, Epoch.create([i.recipient for i in identities]), policy)
    for identity in identities:
        assert restored(data, Keyring([HpkeIdentity.generate(), identity])) == raw
