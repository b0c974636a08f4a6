"""The classifier: what it says, that it says the same again, and that damaged weights are refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from iomt_crypt.checks.card import CARD, SHIPPED, WEIGHTS, read_card
from iomt_crypt.checks.classifier import MAXIMUM_BYTES, Classifier
from iomt_crypt.checks.training import defect
from iomt_crypt.errors import ConfigurationError


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped weights that a test may damage."""
    for name in (CARD, WEIGHTS):
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path


def picture(shape: tuple[int, int] = (128, 128), dtype: type = np.uint16) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(1).normal(0, 3, shape)
    return np.clip(100 + 60 * np.sin(x / 9) * np.cos(y / 7) + noise, 0, 255).astype(dtype)


SHAPES = [(512, 512), (128, 128), (80, 80), (64, 300), (40, 33), (1, 9000), (9000, 1), (20, 20), (12, 12), (10, 24)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_encrypted_and_plain_of_any_size(classifier, shape, dtype):
    plain = picture(shape, dtype)
    good = defect.hybrid([plain], np.random.default_rng(2))[0]
    found = classifier.probabilities([good, plain])
    assert found.dtype == np.float64
    assert found[0] >= classifier.threshold > found[1]


def test_synthetic_noise_is_called_encrypted(classifier):
    rng = np.random.default_rng(11)
    frames = [rng.integers(0, 65536, (64, 96), np.uint16) for _ in range(400)]
    assert bool((classifier.probabilities(frames) >= classifier.threshold).all())


@pytest.mark.parametrize("name", ["permuted", "short key", "row key", "low bits", "stripe", "code book", "constant"])
def test_bad_encryption_is_called_plain(classifier, name):
    rng = np.random.default_rng(13)
    made = [defect.BAD[name]([picture((256, 256), np.uint16)], rng)[0] for _ in range(5)]
    assert bool((classifier.probabilities(made) < classifier.threshold).all())


def test_what_no_look_can_find_is_not_found(classifier):
    """The cryptographic check is there for these; this test holds the documentation to it."""
    for make in defect.INVISIBLE.values():
        made = make([picture(), picture()], np.random.default_rng(3))
        assert bool((classifier.probabilities(made) >= classifier.threshold).all())


def test_the_same_at_every_call_and_alone(classifier):
    rng = np.random.default_rng(5)
    frames = [picture(), rng.integers(0, 65536, (100, 70), np.uint16), rng.integers(0, 256, (90, 90), np.uint8)]
    before = [frame.copy() for frame in frames]
    together = classifier.probabilities(frames)
    assert np.array_equal(together, classifier.probabilities(frames))
    assert np.array_equal(together, np.concatenate([classifier.probabilities([frame]) for frame in frames]))
    assert np.array_equal(together, Classifier.load().probabilities(frames))
    assert all(np.array_equal(a, b) for a, b in zip(frames, before, strict=True))


def test_read_only_and_strided_frames(classifier):
    frame = picture((160, 160))
    expected = classifier.probabilities([np.ascontiguousarray(frame[::2, ::2])])
    frame.flags.writeable = False
    assert np.array_equal(classifier.probabilities([frame[::2, ::2]]), expected)


def test_threads_are_put_back(classifier):
    torch.set_num_threads(2)
    classifier.probabilities([picture()])
    assert torch.get_num_threads() == 2


def test_no_frames(classifier):
    assert classifier.probabilities([]).shape == (0,)


def test_no_gradients(classifier):
    classifier.probabilities([picture()])
    assert not any(parameter.requires_grad for parameter in classifier._network.parameters())


def test_the_shipped_files():
    assert (SHIPPED / WEIGHTS).stat().st_size < MAXIMUM_BYTES
    card = read_card(SHIPPED / CARD)
    assert card.sha256 == hashlib.sha256((SHIPPED / WEIGHTS).read_bytes()).hexdigest()
    assert card.about["command"].startswith("iomt-crypt train ")
    sources = {entry["source"] for entry in card.about["training"]}
    assert not sources & {entry["source"] for entry in card.about["held_out"]} - {"synthetic"}
    assert not any("GPL" in entry["licence"] for entry in card.about["training"])


def test_weights_that_were_changed_are_refused(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"not the weights that card\.json was written for") as caught:
        Classifier.load(folder)
    assert "iomt-crypt train" in caught.value.hint


def rewrite(folder: Path, data: bytes) -> None:
    """Weights with a card that fits them, as an attacker would."""
    (folder / WEIGHTS).write_bytes(data)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, "sha256": hashlib.sha256(data).hexdigest()}))


def test_too_large_weights_are_refused(folder):
    rewrite(folder, bytes(MAXIMUM_BYTES + 1))
    with pytest.raises(ConfigurationError, match="over the limit"):
        Classifier.load(folder)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(100),
        pickle.dumps({"a": 1}),
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
    ],
    ids=["empty", "zeros", "pickle", "huge header", "no tensors", "list"],
)
def test_other_files_are_refused(folder, data):
    rewrite(folder, data)
    with pytest.raises(ConfigurationError, match=WEIGHTS):
        Classifier.load(folder)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "type", "nan"])
def test_other_tensors_are_refused(folder, fault):
    tensors = load_file(folder / WEIGHTS)
    if fault == "missing":
        del tensors["bias"]
    elif fault == "unknown":
        tensors["more"] = torch.zeros(1)
    elif fault == "shape":
        tensors["mean"] = tensors["mean"][:, :-1].contiguous()
    elif fault == "type":
        tensors["mean"] = tensors["mean"].double()
    else:
        tensors["bias"] = torch.tensor(float("nan"))
    rewrite(folder, save(tensors))
    with pytest.raises(ConfigurationError, match="tensor"):
        Classifier.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 0},
        {"threshold": 1},
        {"threshold": float("nan")},
        {"threshold": "0.5"},
        {"threshold": True},
        {"offsets": [1, 2]},
        {"scales": [1, 1, 1, 0]},
        {"channels": [1, 2]},
        {"channels": [1 << 30, 1, 1]},
        {"pooling": "none"},
        {"sha256": 7},
        {"about": []},
        {"format": "other"},
        {"more": 1},
    ],
)
def test_odd_cards_are_refused(folder, change):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **change}))
    with pytest.raises(ConfigurationError, match=CARD):
        Classifier.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}'])
def test_what_is_no_card_is_refused(folder, text):
    (folder / CARD).write_text(text)
    with pytest.raises(ConfigurationError, match=CARD):
        Classifier.load(folder)


def test_missing_and_huge_cards_are_refused(folder):
    (folder / CARD).write_text(" " * (1 << 21))
    with pytest.raises(ConfigurationError, match="over the limit"):
        Classifier.load(folder)
    (folder / CARD).unlink()
    with pytest.raises(ConfigurationError, match=CARD):
        Classifier.load(folder)


def test_missing_weights_are_refused(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ConfigurationError, match=WEIGHTS):
        Classifier.load(folder)


def test_the_edge_of_the_threshold(folder):
    """Probability equal to the threshold is encrypted: the card decides."""
    frame = np.random.default_rng(3).integers(0, 65536, (64, 64), np.uint16)
    probability = float(Classifier.load(folder).probabilities([frame])[0])
    card = json.loads((folder / CARD).read_text())
    for threshold, encrypted in ((probability, True), (float(np.nextafter(probability, 2)), False)):
        (folder / CARD).write_text(json.dumps({**card, "threshold": threshold}))
        again = Classifier.load(folder)
        assert (again.probabilities([frame])[0] >= again.threshold) == encrypted


def test_loading_never_unpickles():
    """Neither pickle nor torch.load is asked for anything."""
    code = (
        "import pickle, torch\n"
        "from iomt_crypt.checks.classifier import Classifier\n"
        "def never(*_, **__): raise AssertionError\n"
        "pickle.load = pickle.loads = pickle.Unpickler = torch.load = never\n"
        "print(Classifier.load().threshold)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert 0 < float(done.stdout) < 1
