"""EncryptedDataset and EncryptedCacheDataset."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, PydicomReader
from monai.transforms import Compose, LoadImaged, RandFlipd, ScaleIntensityd
from pydicom import dcmread

from iomt_crypt import encrypt_file
from iomt_crypt.checks import (
    DecryptPixelsd,
    EncryptedCacheDataset,
    EncryptedDataset,
    EncryptPixelsd,
    list_items,
)
from iomt_crypt.errors import AuthenticationError, ConfigurationError, InputError, NoMatchingIdentityError
from iomt_crypt.seal import write_identity


@pytest.fixture(scope="module")
def plain(sample_files) -> Path:
    return sample_files[0].parents[1]


@pytest.fixture(scope="module")
def encrypted(sample_files, plain, epoch, policy, tmp_path_factory) -> Path:
    """A tree of three series: MR, and the first slices of the CT in the folder of another."""
    folder = tmp_path_factory.mktemp("encrypted")
    for path in sample_files:
        relative = path.relative_to(plain)
        if path.name in ("ct-01.dcm", "ct-02.dcm", "cr-chest.dcm") or relative.parts[0] == "mr":
            target = folder / ("mixed" if relative.parts[0] in ("ct", "cr") else "mr") / path.name
            target.parent.mkdir(exist_ok=True)
            encrypt_file(path, target, recipients=epoch, policy=policy)
    (folder / "mixed" / "README.txt").write_text("no DICOM object")
    (folder / "mixed" / ".hidden").write_text("hidden")
    return folder


@pytest.fixture(scope="module")
def expected(plain) -> list[torch.Tensor]:
    """The plain slices of the MR series."""
    load = LoadImaged("image", reader=PydicomReader(), ensure_channel_first=True)
    return [load({"image": path})["image"] for path in sorted((plain / "mr").glob("*.dcm"))]


def test_series_are_told_apart_without_a_key(encrypted):
    items = list_items(encrypted, key="scan")
    assert [[Path(name).name for name in item["scan"]] for item in items] == [
        ["cr-chest.dcm"],
        ["ct-01.dcm", "ct-02.dcm"],
        ["mr-1.dcm", "mr-2.dcm", "mr-3.dcm"],
    ]
    for item in items:
        assert {dcmread(name).SeriesInstanceUID for name in item["scan"]} == {item["series_instance_uid"]}
    files = list_items(str(encrypted), by="file")
    assert [Path(item["image"]).name for item in files] == [Path(name).name for item in items for name in item["scan"]]


def test_folders_that_hold_no_images(encrypted, tmp_path):
    for folder in (tmp_path / "missing", tmp_path, encrypted / "mixed" / "README.txt"):
        with pytest.raises(InputError):
            list_items(folder)
    target = tmp_path / "cut.dcm"
    target.write_bytes((encrypted / "mr" / "mr-1.dcm").read_bytes()[:9000])
    with pytest.raises(InputError) as caught:
        list_items(tmp_path)
    assert caught.value.__notes__ == [f"file: {target}"]


def test_volumes_of_a_mixed_folder(plain, encrypted, identity_file):
    dataset = EncryptedDataset(encrypted, identities=identity_file)
    assert [tuple(dataset[index]["image"].shape) for index in (1, 2)] == [(1, 512, 512, 2), (1, 256, 256, 3)]
    whole = LoadImaged("image", reader=PydicomReader(), ensure_channel_first=True)({"image": plain / "mr"})["image"]
    assert torch.equal(dataset[2]["image"], whole)
    assert torch.equal(dataset[2]["image"].affine, whole.affine)
    assert dataset[2]["image"].dtype == torch.float32


def test_items_with_labels(plain, encrypted, identity, expected, tmp_path):
    """MONAI data lists: labels beside, plain files between, and files of other formats."""
    np.save(tmp_path / "mask.npy", np.ones((256, 256), np.uint8))
    items = [
        {"image": encrypted / "mr" / "mr-1.dcm", "label": str(tmp_path / "mask.npy"), "grade": 1},
        {"image": plain / "mr" / "mr-2.dcm", "label": str(tmp_path / "mask.npy"), "grade": 2},
    ]
    dataset = EncryptedDataset(items, identities=identity, keys=["image", "label"])
    for item, image in zip(dataset, expected, strict=False):
        assert torch.equal(item["image"], image)
        assert item["label"].shape == (1, 256, 256)
    assert [item["grade"] for item in dataset] == [1, 2]
    strict = EncryptedDataset(items, identities=identity, reader_options={"plain": "refuse", "swap_ij": False})
    assert torch.equal(strict[0]["image"], expected[0].transpose(1, 2))
    with pytest.raises(InputError, match="plain files are refused"):
        strict[1]


@pytest.mark.parametrize("transform", [None, ScaleIntensityd("image"), [ScaleIntensityd("image")], "Compose"])
def test_transforms_of_every_form(encrypted, identity, expected, transform):
    if transform == "Compose":
        transform = Compose([ScaleIntensityd("image")], log_stats=False, lazy=False)
    dataset = EncryptedDataset(encrypted / "mr", transform, identities=identity, by="file")
    image = expected[0] if transform is None else ScaleIntensityd("image")({"image": expected[0]})["image"]
    assert torch.equal(dataset[0]["image"], image)


@pytest.mark.parametrize("wrap", [list, Compose])
def test_the_cache_stops_before_what_is_random(encrypted, identity, expected, wrap):
    chain = wrap([ScaleIntensityd("image"), RandFlipd("image", prob=0.5)])
    dataset = EncryptedCacheDataset(encrypted / "mr", chain, identities=identity, by="file", num_workers=2)
    scaled = [ScaleIntensityd("image")({"image": image})["image"] for image in expected]
    assert all(torch.equal(item["image"], image) for item, image in zip(dataset._cache, scaled, strict=True))
    dataset.transform.set_random_state(3)
    flipped = [not torch.equal(dataset[0]["image"], scaled[0]) for _ in range(12)]
    assert {True, False} == set(flipped)
    half = EncryptedCacheDataset(encrypted / "mr", chain, identities=identity, by="file", cache_num=1)
    assert len(half._cache) == 1
    assert half[2]["image"].shape == scaled[2].shape


def test_errors_are_those_of_the_objects(encrypted, stranger, identity, tmp_path):
    """And not "applying transform"."""
    dataset = EncryptedDataset(encrypted / "mr", identities=stranger, by="file")
    with pytest.raises(NoMatchingIdentityError) as caught:
        dataset[1]
    assert caught.value.__notes__ == [f"file: {encrypted / 'mr' / 'mr-2.dcm'}"]
    with pytest.raises(NoMatchingIdentityError):
        EncryptedCacheDataset(encrypted / "mr", identities=stranger, by="file")
    shutil.copytree(encrypted / "mr", tmp_path / "mr")
    spoiled = tmp_path / "mr" / "mr-3.dcm"
    spoiled.write_bytes(spoiled.read_bytes()[:-2] + b"xx")
    dataset = EncryptedDataset(tmp_path, identities=identity)
    with pytest.raises(AuthenticationError) as damaged:
        dataset[0]
    assert damaged.value.__notes__ == [f"file: {spoiled}"]
    broken = EncryptedDataset([{"image": spoiled}], lambda item: item["nothing"], identities=stranger)
    with pytest.raises(NoMatchingIdentityError):
        broken[0]
    other = EncryptedDataset([{"image": encrypted / "mr" / "mr-1.dcm"}], lambda d: d["nothing"], identities=identity)
    with pytest.raises(RuntimeError, match="applying transform"):
        other[0]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_what_fails_in_a_worker_is_the_same_error_here(encrypted, identity_file, stranger, tmp_path, context):
    spoiled = tmp_path / "mr-3.dcm"
    spoiled.write_bytes((encrypted / "mr" / "mr-3.dcm").read_bytes()[:-2] + b"xx")
    write_identity(tmp_path / "stranger.txt", stranger)
    for given, error in ((identity_file, AuthenticationError), (tmp_path / "stranger.txt", NoMatchingIdentityError)):
        dataset = EncryptedDataset([{"image": spoiled}], identities=given)
        loader = DataLoader(dataset, num_workers=1, multiprocessing_context=context)
        with pytest.raises(error, match=r"mr-3\.dcm") as caught:
            next(iter(loader))
        assert caught.value.hint == error().hint


@pytest.mark.parametrize("kind", [EncryptedDataset, EncryptedCacheDataset])
def test_forked_loaders(encrypted, identity, identity_file, expected, kind):
    for given in (identity, identity_file):
        dataset = kind(encrypted / "mr", identities=given, by="file")
        loader = DataLoader(dataset, num_workers=2, multiprocessing_context="fork")
        assert [torch.equal(batch["image"][0], image) for batch, image in zip(loader, expected, strict=True)] == [
            True
        ] * 3


def test_spawned_loaders(encrypted, identity, expected):
    """An identity in memory goes to the processes; nothing else may pickle it. Transforms with keys go along."""
    chain = [EncryptPixelsd("image", identity.recipient), DecryptPixelsd("image", identity)]
    dataset = EncryptedDataset(encrypted / "mr", chain, identities=identity, by="file")
    with pytest.raises(ConfigurationError, match="not pickled"):
        pickle.dumps(dataset)
    # one process, since each imports PyTorch and MONAI anew
    loader = DataLoader(dataset, num_workers=1, multiprocessing_context=multiprocessing.get_context("spawn"))
    batches = list(loader)
    assert len(batches) == 3
    for batch, image in zip(batches, expected, strict=True):
        assert torch.equal(batch["image"][0], image)


def test_a_path_is_all_that_is_pickled(encrypted, identity_file):
    pickled = pickle.dumps(EncryptedDataset(encrypted / "mr", identities=identity_file, by="file"))
    assert b"iomtsk1" not in pickled
    assert isinstance(pickle.loads(pickled), Dataset)
