"""CheckIntegrity(d), LoadCells(d), CipherStatistics(d), ClassifyEncrypted(d), RejectPlain(d)."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import corpus
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from pydicom import dcmread

from iomt_crypt.checks import (
    CheckIntegrity,
    CheckIntegrityd,
    CipherStatistics,
    CipherStatisticsd,
    ClassifyEncrypted,
    ClassifyEncryptedd,
    EncryptPixels,
    EncryptPixelsd,
    LoadCells,
    LoadCellsd,
    RejectPlain,
    RejectPlaind,
    measure,
    read_cells,
)
from iomt_crypt.dicom import Policy, protect, read_file
from iomt_crypt.dicom.block import find_record
from iomt_crypt.errors import ConfigurationError, InputError, PlainImageError
from iomt_crypt.seal import Epoch

KEY = bytes(range(32))


def encrypted(path: Path, epoch: Epoch, policy: Policy) -> bytes:
    sink = io.BytesIO()
    with path.open("rb") as stream:
        protect(read_file(stream), sink, epoch=epoch, policy=policy)
    return sink.getvalue()


def edited(data: bytes, **values: object) -> io.BytesIO:
    """The object with other values of elements, as an archive might write it."""
    ds, sink = dcmread(io.BytesIO(data)), io.BytesIO()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(sink)
    return sink


@pytest.fixture(scope="module")
def loop(sample_files, epoch, policy) -> bytes:
    """An encrypted object of several frames."""
    return encrypted(next(path for path in sample_files if path.name == "us-loop.dcm"), epoch, policy)


def test_sound_objects_of_all_kinds(epoch, policy, keyring):
    cases = corpus.some(corpus.ENCRYPTED, 30, 200_000)
    assert len(cases) > 5
    for case in cases:
        data = encrypted(case.path, epoch, policy)
        found = CheckIntegrity()(io.BytesIO(data))
        assert (found.state, found.problems) == ("consistent", ()), case.name
        found = CheckIntegrity(keyring)(io.BytesIO(data))
        assert (found.state, found.changed) == ("authentic", ()), case.name
        assert found.passed
        found = CheckIntegrity()(case.path)
        assert found.state == "plain", case.name
        assert not found.passed


def test_frames_are_counted_and_the_stream_stays_usable(loop, identity, identity_file):
    stream = io.BytesIO(loop)
    n_frames = int(dcmread(stream).NumberOfFrames)
    for check in (CheckIntegrity(), CheckIntegrity(identity), CheckIntegrity([identity_file])):
        found = check(stream)
        assert found.n_frames == n_frames > 1
        assert found.sop_instance_uid == dcmread(io.BytesIO(loop)).SOPInstanceUID
        assert stream.tell() == 0


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"SOPInstanceUID": "1.2.3"}, "belongs to another object"),
        ({"NumberOfFrames": 3}, "the header declares 3 frames"),
        ({"Rows": 8}, "the header declares"),
        ({"BitsAllocated": 16}, "need"),
    ],
)
def test_contradictions_are_seen_without_a_key(loop, values, problem):
    found = CheckIntegrity()(edited(loop, **values))
    assert found.state == "faulty"
    assert any(problem in text for text in found.problems), found.problems


def test_missing_and_added_pixels(loop):
    ds = dcmread(io.BytesIO(loop))
    for pixels in (ds.PixelData[: len(ds.PixelData) // 2], ds.PixelData + bytes(2), b""):
        found = CheckIntegrity()(edited(loop, PixelData=pixels))
        assert found.state == "faulty"
    del ds.PixelData
    sink = io.BytesIO()
    ds.save_as(sink)
    assert CheckIntegrity()(sink).problems[0].startswith("the pixel element is missing")


def test_the_record_of_another_object(loop, sample_files, epoch, policy):
    other = encrypted(next(path for path in sample_files if path.name == "ct-01.dcm"), epoch, policy)
    with io.BytesIO(other) as stream:
        found = find_record(read_file(stream).header)
    assert found is not None
    ds = dcmread(io.BytesIO(loop))
    ds[found[0]].value = found[1]
    sink = io.BytesIO()
    ds.save_as(sink)
    problems = CheckIntegrity()(sink).problems
    assert len(problems) >= 3
    assert "belongs to another object" in problems[0]


def test_one_bit_in_record_or_pixels(loop, identity, rng):
    spots = {"pixels": loop.index(bytes(dcmread(io.BytesIO(loop)).PixelData[:16])), "record": loop.index(b"IOMTCRPT")}
    for name, spot in spots.items():
        for _ in range(5):
            changed = bytearray(loop)
            changed[spot + int(rng.integers(9, 1500))] ^= 4
            assert CheckIntegrity(identity)(io.BytesIO(changed)).problems == ("authentication failed",)
            without_key = CheckIntegrity()(io.BytesIO(changed))
            assert without_key.state == ("consistent" if name == "pixels" else "faulty")


def test_corrections_by_an_archive_are_named_and_pass(loop, identity):
    found = CheckIntegrity(identity)(edited(loop, PatientName="Corrected^Name"))
    assert found.passed
    assert found.changed == ("PatientName (0010,0010)",)
    assert "Corrected" not in repr(found)


def test_a_stranger_and_what_is_no_object(loop, stranger, tmp_path):
    assert CheckIntegrity(stranger)(io.BytesIO(loop)).problems == ("no matching identity",)
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "text", tmp_path / "missing", tmp_path):
        assert CheckIntegrity()(path).state == "faulty"
    assert CheckIntegrity()(io.BytesIO(loop[: len(loop) // 2])).state == "faulty"


def test_the_integrity_of_images(rng, identity, stranger):
    image = MetaTensor(torch.from_numpy(rng.integers(0, 255, (3, 16, 16), np.uint8)))
    sealed = EncryptPixels(identity.recipient)(image)
    before = sealed.clone()
    assert CheckIntegrity()(image).state == "plain"
    assert CheckIntegrity()(sealed).state == "consistent"
    assert CheckIntegrity(identity)(sealed).state == "authentic"
    assert CheckIntegrity(identity)(sealed).n_frames == 3
    assert torch.equal(sealed, before), "a check leaves the image as it is"
    assert CheckIntegrity(stranger)(sealed).problems == ("no matching identity",)
    cropped = sealed[:, :8]
    assert CheckIntegrity()(cropped).state == "faulty"
    sealed[0, 0, 0] ^= 1
    assert CheckIntegrity()(sealed).state == "consistent"
    assert CheckIntegrity(identity)(sealed).state == "faulty"
    item = CheckIntegrityd("image", key=KEY)(EncryptPixelsd("image", key=KEY)({"image": image.numpy()}))
    assert item["image_integrity"].state == "authentic"
    assert item.keys() == {"image", "image_seal", "image_integrity"}


def test_objects_in_a_compose(loop, sample_files):
    chain = Compose(
        [
            CheckIntegrityd("object"),
            LoadCellsd("object", n_frames=3),
            CipherStatisticsd("cells"),
            RejectPlaind("cells"),
        ]
    )
    item = chain({"object": io.BytesIO(loop)})
    assert item.keys() == {"object", "object_integrity", "cells", "cells_statistics"}
    assert item["object_integrity"].passed
    assert item["cells"].has_record
    assert len(item["cells"].frames) == len(item["cells_statistics"]) == 3
    with pytest.raises(RuntimeError, match="applying transform") as caught:  # MONAI's own
        chain({"object": next(path for path in sample_files if path.name == "ct-01.dcm")})
    assert isinstance(caught.value.__cause__, PlainImageError)
    assert str(caught.value.__cause__).startswith("frame 0 does not look encrypted: values")
    with pytest.raises(InputError):
        LoadCells()(io.BytesIO(b"no object"))
    with pytest.raises(ConfigurationError):
        LoadCellsd(["a", "b"])


def test_cells_of_several_objects(sample_files):
    load = LoadCellsd(["one", "two"], cells_keys=["first", "second"])
    item = load({"one": sample_files[0], "two": str(sample_files[1])})
    assert item["first"].sop_instance_uid == read_cells(sample_files[0]).sop_instance_uid
    assert item["second"].sop_instance_uid != item["first"].sop_instance_uid


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_statistics_are_equal_for_every_kind_and_at_the_true_word_size(dtype, rng):
    plain = np.cumsum(rng.normal(size=(2, 32, 40)), 2).astype(dtype)
    kinds = (plain, torch.from_numpy(plain), MetaTensor(torch.from_numpy(plain)))
    found = [CipherStatistics()(img) for img in kinds]
    assert repr(found[0]) == repr(found[1]) == repr(found[2])
    assert len(found[0]) == 2
    words = plain.view(np.uint8 if dtype == "uint8" else np.uint16)
    assert repr(found[0]) == repr(tuple(measure(channel) for channel in words))
    assert all(s.n_words == words[0].size for s in found[0])
    for img in kinds:
        with pytest.raises(PlainImageError):
            RejectPlain()(img)
        sealed = EncryptPixels(key=KEY)(img)
        assert RejectPlain()(sealed) is sealed
        item = CipherStatisticsd("image")({"image": img})
        assert item["image"] is img
        assert repr(item["image_statistics"]) == repr(found[0])


def test_what_is_rejected_is_named(rng):
    noise, flat = rng.integers(0, 1 << 16, (1, 64, 64), np.uint16), np.full((1, 64, 64), 9, np.uint16)
    with pytest.raises(PlainImageError, match="frame 1 does not look encrypted"):
        RejectPlain()(np.concatenate([noise, flat]))
    reject = RejectPlain(threshold=0.5)
    assert reject(flat, probability=np.array([0.9])) is flat
    for probability in (0.49, float("nan")):
        with pytest.raises(PlainImageError, match="frame 1 does not look encrypted: probability"):
            reject(noise, probability=np.array([0.9, probability]))
    item = {"cells": noise, "cells_probability": np.array([0.1])}
    with pytest.raises(PlainImageError):
        RejectPlaind("cells", threshold=0.5)(item)
    assert RejectPlaind("cells", threshold=0.05)(item).keys() == item.keys()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_the_classifier_of_the_package(dtype, sample_files):
    """Equal probabilities for every kind, on the right side of the threshold."""
    path = next(path for path in sample_files if path.name == "ct-03.dcm")
    plain = dcmread(path).pixel_array[None].astype(dtype)
    classify = ClassifyEncrypted()
    kinds = (plain, torch.from_numpy(plain), MetaTensor(torch.from_numpy(plain)))
    found = [classify(img) for img in kinds]
    assert found[0].dtype == np.float64
    assert found[0].shape == (1,)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert found[0][0] < classify.classifier.threshold
    chain = Compose([EncryptPixelsd("image", key=KEY), ClassifyEncryptedd("image"), RejectPlaind("image")])
    item = chain({"image": plain})
    assert item["image_probability"][0] >= classify.classifier.threshold
    with pytest.raises(PlainImageError, match="probability"):
        RejectPlaind("image")(ClassifyEncryptedd("image")({"image": plain}))
    copied = pickle.loads(pickle.dumps(classify))
    assert np.array_equal(copied(plain), found[0])
    assert len(pickle.dumps(classify)) < 1000, "the weights are loaded where they are needed"


def test_a_classifier_that_is_not_there(tmp_path, rng):
    classify = ClassifyEncrypted(tmp_path)
    with pytest.raises(ConfigurationError):
        classify(rng.integers(0, 255, (1, 64, 64), np.uint8))
