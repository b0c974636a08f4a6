"""The manners of MONAI's transforms: arguments, names, traits, copies to other processes."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, PersistentDataset, decollate_batch
from monai.transforms import (
    Compose,
    InvertibleTransform,
    LazyTransform,
    MapTransform,
    Randomizable,
    RandomizableTransform,
    Transform,
)
from monai.utils import TraceKeys

from iomt_crypt import checks
from iomt_crypt.checks import CheckIntegrityd, DecryptPixels, DecryptPixelsd, EncryptPixels, EncryptPixelsd, transform
from iomt_crypt.checks.key import Opener, Sealer, SharedKey
from iomt_crypt.checks.transform.array import SEAL
from iomt_crypt.errors import ConfigurationError, InputError, KeyMaterialError
from iomt_crypt.seal import HpkeIdentity

KEY = bytes(range(100, 132))
NAMES = [name for name in transform.__all__ if not name.endswith(("d", "D", "Dict")) and name != "Integrity"]
NAMES = sorted({*NAMES, "ClassifyEncrypted"})


def images(n: int = 4) -> list[dict[str, object]]:
    rng = np.random.default_rng(7)
    return [{"image": MetaTensor(torch.from_numpy(rng.integers(0, 4096, (1, 9, 8), np.int16)))} for _ in range(n)]


def test_the_public_names_are_all_there():
    assert len(NAMES) == 7
    for name in transform.__all__:
        assert getattr(checks, name) is getattr(transform, name)
        assert name in checks.__all__


@pytest.mark.parametrize(("missing", "error"), [("monai", ConfigurationError), ("pydicom", ModuleNotFoundError)])
def test_a_package_that_is_missing(monkeypatch, missing, error):
    def refuse(name: str) -> None:
        raise ModuleNotFoundError(name, name=missing)

    monkeypatch.setattr("iomt_crypt.checks.importlib.import_module", refuse)
    with pytest.raises(error) as caught:
        checks.EncryptPixels  # noqa: B018
    assert missing != "monai" or caught.value.hint == "pip install 'iomt-crypt[checks]'"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        checks.Nothing  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_pairs(name):
    array, dictionary = getattr(transform, name), getattr(transform, f"{name}d")
    assert getattr(transform, f"{name}D") is getattr(transform, f"{name}Dict") is dictionary
    assert issubclass(array, Transform)
    assert issubclass(dictionary, MapTransform)
    parameters = list(inspect.signature(dictionary.__init__).parameters.values())
    assert parameters[1].name == "keys"
    assert parameters[-1].name == "allow_missing_keys"
    assert parameters[-1].default is False
    assert array.backend == dictionary.backend or name == "LoadCells"
    for kind in (array, dictionary):
        assert not issubclass(kind, Randomizable | RandomizableTransform | LazyTransform)
        assert issubclass(kind, InvertibleTransform) == (name == "EncryptPixels")


@pytest.mark.parametrize("name", NAMES)
def test_missing_keys(name, identity):
    arguments = {"EncryptPixels": {"recipients": identity.recipient}, "DecryptPixels": {"identities": identity}}
    kind = getattr(transform, f"{name}d")
    assert kind("there", allow_missing_keys=True, **arguments.get(name, {}))({"other": 1}) == {"other": 1}
    with pytest.raises(KeyError):
        kind("there", **arguments.get(name, {}))({"other": 1})


def test_what_holds_no_secret_is_pickled(identity, identity_file):
    image = images(1)[0]["image"]
    encrypt = pickle.loads(pickle.dumps(EncryptPixels([identity.recipient, str(HpkeIdentity.generate().recipient)])))
    decrypt = pickle.loads(pickle.dumps(DecryptPixels(identity_file)))
    assert torch.equal(decrypt(encrypt(image)), image)
    for kind in (transform.CheckIntegrity, transform.CipherStatistics, transform.ClassifyEncrypted):
        assert isinstance(pickle.loads(pickle.dumps(kind())), kind)
    for name in ("CheckIntegrity", "LoadCells", "CipherStatistics", "ClassifyEncrypted", "RejectPlain"):
        kind = getattr(transform, f"{name}d")
        assert pickle.loads(pickle.dumps(kind("a"))).keys == ("a",)


def test_paths_are_pickled_as_paths(identity_file, monkeypatch):
    monkeypatch.chdir(identity_file.parent)
    pickled = pickle.dumps(DecryptPixels(identity_file.name))
    assert str(identity_file).encode() in pickled, "absolute: another process may have another folder"
    assert b"iomtsk1" not in pickled
    assert len(pickled) < 1000


def test_an_identity_file_is_opened_at_first_use(tmp_path):
    decrypt = DecryptPixels(tmp_path / "later.txt")
    sealed = EncryptPixels(key=KEY)(torch.zeros(1, 4, 4))
    with pytest.raises(KeyMaterialError, match=r"later\.txt"):
        decrypt(sealed)


def test_secrets_in_memory_are_not_pickled(identity):
    for holder in (
        DecryptPixels(identity),
        DecryptPixels(key=KEY),
        EncryptPixels(key=KEY),
        EncryptPixels(key=KEY, suite=None),
        EncryptPixelsd("image", [identity.recipient], identities=[identity]),
        transform.CheckIntegrity(identity),
        transform.CheckIntegrity(Opener(identity).keyring()),
    ):
        with pytest.raises(ConfigurationError) as caught:
            pickle.dumps(holder)
        assert "path" in caught.value.hint
        assert identity.secret_text() not in str(caught.value)


class _Token:
    """An identity whose secret is not at hand."""

    fingerprint = bytes(8)

    def unwrap(self, stanza, epoch_id):
        return None


def test_what_has_no_text_is_not_pickled_for_a_spawned_process_either(monkeypatch, identity):
    monkeypatch.setattr("iomt_crypt.checks.key.get_spawning_popen", lambda: object())
    with pytest.raises(ConfigurationError, match="_Token cannot be pickled"):
        pickle.dumps(Opener(_Token()))
    with pytest.raises(ConfigurationError, match="keyring cannot be pickled"):
        pickle.dumps(Opener(Opener(identity).keyring()))
    with pytest.raises(ConfigurationError, match="_Token cannot be pickled"):
        pickle.dumps(Sealer(_Token()))
    assert pickle.loads(pickle.dumps(SharedKey(KEY))).secret() == KEY
    sealed = EncryptPixels(identity.recipient)(torch.zeros(1, 4, 4))
    for given in (identity, [identity, _Token()][:1]):
        assert torch.equal(pickle.loads(pickle.dumps(DecryptPixels(given)))(sealed), torch.zeros(1, 4, 4))


def test_in_the_processes_of_a_data_loader(identity):
    """The whole way in the workers; and there, with the way back here. Spawned ones: test_checks_dataset."""
    there = Compose([EncryptPixelsd("image", identity.recipient), DecryptPixelsd("image", identity)])
    here = DecryptPixelsd("image", identity)
    plain = images()
    for chain, back in ((there, None), (Compose([EncryptPixelsd("image", identity.recipient)]), here)):
        loader = DataLoader(Dataset(plain, chain), batch_size=2, num_workers=2, multiprocessing_context="fork")
        loaded = [item for batch in loader for item in decollate_batch(batch)]
        loaded = [back(item) for item in loaded] if back else loaded
        assert len(loaded) == 4
        for before, after in zip(plain, loaded, strict=True):
            assert torch.equal(before["image"], after["image"])
            assert after["image"].dtype == torch.int16
            assert after["image"].applied_operations == []


@pytest.mark.parametrize("kind", ["MetaTensor", "torch", "numpy"])
def test_batches(kind, identity):
    """Images that were encrypted one by one are decrypted in the batch, or after it."""
    encrypt, decrypt = EncryptPixelsd("image", identity.recipient), DecryptPixelsd("image", identity)
    plain = [item["image"] if kind == "MetaTensor" else item["image"].as_tensor() for item in images()]
    given = [{"image": image.numpy() if kind == "numpy" else image} for image in plain]
    (batch,) = DataLoader(Dataset(given, encrypt), batch_size=4)
    assert not torch.equal(batch["image"], torch.stack(plain))
    assert torch.equal(decrypt(batch)["image"], torch.stack(plain))
    assert all(
        torch.equal(decrypt(item)["image"], image) for item, image in zip(decollate_batch(batch), plain, strict=True)
    )
    found = CheckIntegrityd("image", identity)(batch)["image_integrity"]
    assert found.state == "faulty"
    assert found.problems == ("a batch: check its images one by one (monai.data.decollate_batch)",)
    assert all(CheckIntegrityd("image", identity)(i)["image_integrity"].passed for i in decollate_batch(batch))
    if kind != "MetaTensor":
        with pytest.raises(InputError, match="4 images comes with 3 records"):
            decrypt({**batch, "image_seal": batch["image_seal"][:3]})
        return
    (whole,) = DataLoader(Dataset(given), batch_size=4)
    sealed = EncryptPixels(key=KEY)(whole["image"])
    assert sealed.is_batch
    assert len(set(sealed.meta[SEAL])) == 4
    assert torch.equal(
        EncryptPixels(key=KEY, suite=None)(whole["image"])[0], EncryptPixels(key=KEY, suite=None)(plain[0])
    )
    opened = DecryptPixels(key=KEY)(sealed)
    assert torch.equal(opened, whole["image"])
    assert opened.applied_operations == whole["image"].applied_operations


def test_each_process_has_an_epoch_of_its_own(identity):
    sealer = Sealer(identity.recipient)
    own = sealer.epoch()
    assert sealer.epoch() is own
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_epoch_id, (sealer,)) != own.id
    assert sealer.epoch() is own


def _epoch_id(sealer: Sealer) -> bytes:
    return sealer.epoch().id


def test_a_cache_on_disk_that_holds_noise_only(tmp_path, identity):
    """The pattern of the guide: MONAI's PersistentDataset of encrypted images, decrypted behind it."""
    plain = [{"image": MetaTensor(torch.full((1, 64, 64), value, dtype=torch.int16))} for value in (77, 78)]
    encrypted = PersistentDataset(
        plain, EncryptPixelsd("image", identity.recipient), cache_dir=tmp_path / "cache", track_meta=True
    )
    dataset = Dataset(encrypted, DecryptPixelsd("image", identity))
    with torch.serialization.safe_globals([TraceKeys]):
        for _ in range(2):
            assert all(torch.equal(dataset[i]["image"], plain[i]["image"]) for i in range(2))
    cached = [path for path in Path(tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(cached) == 2
    for path, value in ((p, v) for p in cached for v in (77, 78)):
        assert np.full(8, value, np.int16).tobytes() not in path.read_bytes()


def test_in_a_cache_dataset_with_threads(identity):
    plain = images(6)
    cached = CacheDataset(plain, EncryptPixelsd("image", identity.recipient), num_workers=3, progress=False)
    decrypt = DecryptPixelsd("image", identity)
    for before, after in zip(plain, cached, strict=True):
        assert not torch.equal(before["image"], after["image"])
        assert torch.equal(decrypt(after)["image"], before["image"])


def test_damage_in_a_worker_is_told(identity):
    """As RuntimeError: MONAI's data sets make a Compose of any transform. Of ours: test_checks_dataset."""
    sealed = EncryptPixelsd("image", identity.recipient)(images(1)[0])
    sealed["image"][0, 0, 0] ^= 1
    loader = DataLoader(Dataset([sealed], DecryptPixelsd("image", identity)), num_workers=1)
    with pytest.raises(RuntimeError, match=r"AuthenticationError: authentication failed[\s\S]*applying transform"):
        next(iter(loader))
