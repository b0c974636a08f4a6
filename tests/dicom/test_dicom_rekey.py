"""One object: bytes around the record stay, and a rotation gives new pixels and nothing else new."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path

import pydicom
import pytest

from iomt_crypt import encrypt_file
from iomt_crypt.checks.vouch import rotate_object
from iomt_crypt.dicom import Policy, decrypt_file, inspect_file, read_file, restore, verify_file
from iomt_crypt.dicom.locate import Location, locate_in
from iomt_crypt.dicom.rekey import copy_patched, patches, rotate
from iomt_crypt.dicom.restore import open_object
from iomt_crypt.errors import AuthenticationError, MalformedError, NoMatchingIdentityError, NotEncryptedError
from iomt_crypt.seal import Epoch, HpkeIdentity, Keyring
from iomt_crypt.seal.record import ParsedRecord
from tests import synthetic


@pytest.fixture
def new() -> HpkeIdentity:
    return HpkeIdentity.generate()


def encrypted(tmp_path: Path, epoch: Epoch, policy: Policy, elements: synthetic.Elements | None = None) -> Path:
    plain, path = tmp_path / "plain.dcm", tmp_path / "encrypted.dcm"
    plain.write_bytes(synthetic.file(elements or synthetic.image()))
    encrypt_file(plain, path, recipients=epoch, policy=policy)
    return path


def located(data: bytes) -> Location:
    found = locate_in(read_file(io.BytesIO(data)))
    assert found is not None
    return found


def patched(path: Path, container: bytes) -> bytes:
    location = located(path.read_bytes())
    target = path.with_name("patched.dcm")
    source, sink = os.open(path, os.O_RDONLY), os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        copy_patched(source, sink, patches(location, container))
    finally:
        os.close(source)
        os.close(sink)
    return target.read_bytes()


def transcoded(path: Path, syntax: str) -> None:
    """As an archive does it."""
    ds = pydicom.dcmread(path)
    implicit, little = syntax == synthetic.IMPLICIT, syntax != synthetic.BIG
    if not little:
        word = ds.BitsAllocated // 8
        for element in ds.iterall():
            element.value  # noqa: B018 - decoded before the byte order changes
        pixels = ds.PixelData
        swapped = b"".join(pixels[i : i + word][::-1] for i in range(0, len(pixels), word))
        ds.PixelData = swapped if ds["PixelData"].VR == "OW" else pixels
    ds.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, ds, implicit_vr=implicit, little_endian=little, force_encoding=True)


@pytest.mark.parametrize("syntax", [synthetic.EXPLICIT, synthetic.IMPLICIT])
@pytest.mark.parametrize("grown", [0, 2, 4000, -100])
def test_a_new_file_around_another_container(syntax, grown, tmp_path, epoch, policy, keyring):
    path = encrypted(tmp_path, epoch, policy)
    transcoded(path, syntax)
    before = path.read_bytes()
    location = located(before)
    size = len(location.container) + grown
    container = ParsedRecord.of(location.container).record.pack(size=size)
    after = patched(path, container)
    begin, end = location.offset, location.offset + len(location.container)
    assert after[: begin - 4] == before[: begin - 4]
    assert after[begin - 4 : begin] == size.to_bytes(4, "little")
    assert after[begin : begin + size] == container
    assert after[begin + size :] == before[end:]
    assert located(after).container == container


def test_the_group_length_follows(tmp_path, epoch, policy, keyring):
    path = encrypted(tmp_path, epoch, policy)
    data = path.read_bytes()
    holder = located(data).offset - 12
    creator = holder - 8 - 18
    old = len(data[creator:holder]) + 12 + len(located(data).container)
    path.write_bytes(data[:creator] + synthetic.element(0x7FDF0000, "UL", old.to_bytes(4, "little")) + data[creator:])
    found = located(path.read_bytes())
    assert found.group_length is not None
    after = patched(path, found.container + bytes(500))
    again = located(after)
    assert again.group_length is not None
    assert int.from_bytes(again.group_length[1], "little") == old + 500
    assert located(patched(path, found.container)) == found
    path.write_bytes(after)
    assert verify_file(path, identities=keyring).state == "authentic"


def test_a_file_that_became_shorter_is_noticed(tmp_path, epoch, policy, monkeypatch):
    path = encrypted(tmp_path, epoch, policy)
    location = located(path.read_bytes())
    status = os.fstat
    real = path.stat().st_size

    class Longer:
        st_size = real + 1

    monkeypatch.setattr(os, "fstat", lambda descriptor: Longer() if descriptor > 2 else status(descriptor))
    with pytest.raises(MalformedError, match="changed while it was read"):
        patched(path, location.container)


def test_without_copy_file_range(tmp_path, epoch, policy, monkeypatch):
    path = encrypted(tmp_path, epoch, policy)
    location = located(path.read_bytes())

    def refused(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refused)
    assert patched(path, location.container) == path.read_bytes()


def rotated(data: bytes, keyring: Keyring, epoch: Epoch) -> bytes:
    sink = io.BytesIO()
    rotate(io.BytesIO(data), sink, keyring=keyring, epoch=epoch, look=lambda stored, plain: None)
    return sink.getvalue()


IMAGES = {
    "one frame": synthetic.image(),
    "frames": synthetic.image(bytes(range(256)) * 3, rows=8, columns=16, bits=16, frames=3, vr="OW"),
    "odd": synthetic.image(bytes(range(75)), rows=5, columns=5, samples=3, photometric="RGB"),
    "bits": synthetic.image(bytes(range(25)), rows=5, columns=5, bits=1, frames=8),
    "float": synthetic.image(bytes(range(256)), bits=32, tag=synthetic.FLOAT_PIXELS, vr="OF"),
    "no pixels": synthetic.image(None),
    "excess": synthetic.image(bytes(range(70))),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("suite", ["hybrid-1", "chaos-cnn-1"])
def test_rotation(name, suite, tmp_path, epoch, keyring, new):
    path = encrypted(tmp_path, epoch, Policy(suite=suite, site_key=bytes(32)), IMAGES[name])
    before = path.read_bytes()
    after = rotated(before, keyring, Epoch.create([new.recipient]))
    path.write_bytes(after)
    old, fresh = located(before), located(after)
    assert len(after) == len(before)
    assert (after[: fresh.offset], fresh.offset) == (before[: old.offset], old.offset)
    records = [ParsedRecord.of(found.container).record for found in (old, fresh)]
    for field in ("object_id", "wrapped_key", "epoch_id", "sealed", "mac"):
        assert getattr(records[0], field) != getattr(records[1], field)
    for field in ("suite", "form", "sop_instance_uid", "layout", "pixel_tag"):
        assert getattr(records[0], field) == getattr(records[1], field)
    if name != "no pixels":
        size = records[0].layout.n_frames * records[0].layout.frame_bytes
        ends = [data[found.offset + len(found.container) :] for data, found in ((before, old), (after, fresh))]
        assert ends[0][: -size - 1] == ends[1][: -size - 1]
        assert ends[0][-size:] != ends[1][-size:]
    decrypt_file(path, tmp_path / "back.dcm", identities=[new])
    assert (tmp_path / "back.dcm").read_bytes() == (tmp_path / "plain.dcm").read_bytes()
    with pytest.raises(NoMatchingIdentityError):
        verify_file(path, identities=keyring)


@pytest.mark.parametrize("syntax", [synthetic.EXPLICIT, synthetic.IMPLICIT, synthetic.BIG])
def test_rotation_keeps_what_the_archive_made_of_it(syntax, tmp_path, epoch, policy, keyring, new):
    path = encrypted(tmp_path, epoch, policy, IMAGES["frames"])
    ds = pydicom.dcmread(path)
    ds.PatientName, ds.AccessionNumber = "Corrected^Name", "A-1"
    ds.save_as(path)
    transcoded(path, syntax)
    before = path.read_bytes()
    path.write_bytes(rotated(before, keyring, Epoch.create([new.recipient])))
    offset = located(before).offset
    assert path.read_bytes()[:offset] == before[:offset]
    assert pydicom.dcmread(path).PatientName == "Corrected^Name"
    assert inspect_file(path).transfer_syntax_uid == syntax
    found = verify_file(path, identities=[new])
    assert found.state == "authentic"
    assert {"PatientName (0010,0010)", "AccessionNumber (0008,0050)"} <= set(found.changed)
    sink = io.BytesIO()
    restore(io.BytesIO(path.read_bytes()), sink, keyring=Keyring([new]), headers="original")
    assert sink.getvalue() == (tmp_path / "plain.dcm").read_bytes()


def test_rotation_to_more_recipients_than_fit(tmp_path, epoch, policy, keyring, new):
    path = encrypted(tmp_path, epoch, policy)
    before = path.read_bytes()
    many = [HpkeIdentity.generate() for _ in range(7)]
    after = rotated(before, keyring, Epoch.create([i.recipient for i in (*many, new)]))
    assert len(after) > len(before)
    path.write_bytes(after)
    for identity in (new, many[6]):
        assert verify_file(path, identities=[identity]).state == "authentic"


def test_a_rotation_reads_all_frames_first_and_believes_none(tmp_path, epoch, policy, keyring, new):
    path = encrypted(tmp_path, epoch, policy, IMAGES["frames"])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with pytest.raises(AuthenticationError):
        rotated(bytes(data), keyring, Epoch.create([new.recipient]))


def test_a_rotation_that_wrote_something_else_is_noticed(tmp_path, epoch, policy, keyring, new, monkeypatch):
    """Tags that fit and pixels that do not: the result is read back."""
    from iomt_crypt.dicom import rekey

    path = encrypted(tmp_path, epoch, policy, IMAGES["frames"])
    frames = rekey.frames

    def changed(opened):
        for frame in frames(opened):
            if opened.record.epoch_id == epoch.id:
                yield frame
            else:
                yield memoryview(bytearray(len(frame)))

    monkeypatch.setattr(rekey, "frames", changed)
    with pytest.raises(AuthenticationError):
        rotated(path.read_bytes(), keyring, Epoch.create([new.recipient]))


def test_a_rotation_of_what_is_not_encrypted(keyring, epoch):
    with pytest.raises(NotEncryptedError):
        rotated(synthetic.file(synthetic.image()), keyring, epoch)


def test_a_rotation_takes_the_memory_of_a_few_frames(tmp_path, epoch, policy, keyring, new):
    n_frames, frame_bytes = 64, 1 << 17
    pixels = bytes(range(256)) * (n_frames * frame_bytes // 256)
    path = encrypted(tmp_path, epoch, policy, synthetic.image(pixels, rows=256, columns=512, frames=n_frames))
    target = Epoch.create([new.recipient])
    with path.open("rb") as stream, (tmp_path / "rotated.dcm").open("wb+") as sink:
        tracemalloc.start()
        rotate_object(stream, sink, keyring=keyring, epoch=target)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert open_object(read_file(sink), Keyring.of_epoch(target)).record.layout.n_frames == n_frames
    assert peak < n_frames * frame_bytes / 2
