"""The network and the pieces of a frame that it looks at."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from iomt_crypt.checks.channel import channels_of
from iomt_crypt.checks.network import Network
from iomt_crypt.checks.patch import SIDES, cut, tiled, word_raster


def noise(shape: tuple[int, ...], dtype: type = np.uint16, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


@pytest.fixture(params=["average", "max", "l2"])
def network(request) -> Network:
    torch.manual_seed(3)
    return Network(channels=(4, 5, 6), pooling=request.param).eval()


@pytest.mark.parametrize("side", SIDES)
def test_features_of_every_side(network, side):
    with torch.no_grad():
        found = network.features(channels_of(noise((3, side, side))))
    assert found.shape == (3, 15)
    assert bool(torch.isfinite(found).all())


def test_probabilities_of_pieces(network):
    with torch.no_grad():
        found = network(channels_of(noise((5, 64, 64))), 64)
    assert found.shape == (5, 2)
    assert torch.allclose(found.sum(1), torch.ones(5))


def test_nothing_is_less_plain_than_noise(network):
    """Whatever the weights: a deviation from noise, of any feature in any direction, never makes it less plain."""
    torch.manual_seed(9)
    with torch.no_grad():
        network.mix.weight.copy_(torch.randn(15, 15))
        network.weigh.copy_(3 * torch.randn(15))
        deviations = 10 * torch.randn(200, 15)
        least = network.plainness(torch.zeros(1, 15))
        scores = [network.plainness(deviations * factor) for factor in (1, 2, 4, 1000)]
    assert bool((scores[0] > least).all())
    assert all(bool((b > a).all()) for a, b in pairwise(scores))


def test_noise_is_the_measure(network):
    with torch.no_grad():
        features = network.features(channels_of(noise((256, 32, 32))))
        network.measure_noise(features, 32)
        found = network.deviations(features, 32)
    assert torch.allclose(found.mean(0), torch.zeros(15), atol=1e-4)
    assert float(found.std(0).max()) <= 1.001


@pytest.mark.parametrize(
    ("shape", "dtype", "side"),
    [
        ((512, 512), np.uint16, 64),
        ((512, 512), np.uint8, 64),
        ((64, 64), np.uint16, 64),
        ((64, 64), np.uint8, 32),
        ((40, 40), np.uint16, 32),
        ((2, 5000), np.uint16, 64),  # folded
        ((1, 4000), np.uint8, 32),
        ((5000, 1), np.uint8, 32),
        ((20, 20), np.uint16, 16),
        ((10, 10), np.uint16, 8),
        ((1, 1), np.uint8, 8),
        ((3, 7), np.uint8, 8),
    ],
)
def test_pieces_of_any_frame(shape, dtype, side):
    frame = noise(shape, dtype)
    before = frame.copy()
    found = cut(frame)
    assert found.side == side
    assert found.words.shape[1:] == (side, side)
    assert found.words.dtype == np.uint16
    assert 1 <= len(found.words) <= 64
    assert 0 < found.n_distinct <= len(found.words)
    assert np.array_equal(found.words, cut(frame.copy()).words)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("shape", [(512, 512), (1024, 1024), (700, 300), (3000, 200), (90, 2500), (80, 80), (130, 70)])
def test_every_row_and_column_is_seen(shape):
    """So a stripe cannot hide."""
    rows = np.broadcast_to(np.arange(shape[0], dtype=np.uint16)[:, None], shape)
    columns = np.broadcast_to(np.arange(shape[1], dtype=np.uint16)[None], shape)
    assert set(np.unique(cut(np.ascontiguousarray(rows)).words)) == set(range(shape[0]))
    assert set(np.unique(cut(np.ascontiguousarray(columns)).words)) == set(range(shape[1]))


def test_large_frames_are_seen_all_over():
    frame = np.zeros((6000, 5000), np.uint16)
    assert len(cut(frame).words) == 64


def test_bytes_in_twos():
    raster = word_raster(np.array([[1, 2, 3, 4, 5]], np.uint8))
    assert raster.tolist() == [[0x0201, 0x0403]]


def test_channels_of_words():
    """Low byte, high byte, and the low half of each stretched to a byte; scaled as noise is."""
    words = noise((2, 64, 64))
    before = words.copy()
    found = channels_of(words)
    low, high = (words & 255).astype(np.float64), (words >> 8).astype(np.float64)
    expected = np.stack([low, high, low % 16 * 17, high % 16 * 17], axis=1)
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), ((expected - 127.5).astype(np.float32) / np.float32(73.9)))
    assert np.array_equal(words, before)
    assert channels_of(noise((3, 8, 8))).shape == (3, 4, 32, 32)


def test_small_pieces_are_repeated():
    piece = noise((1, 8, 8))
    assert np.array_equal(tiled(piece)[0], np.tile(piece[0], (4, 4)))
    assert tiled(noise((1, 64, 64))).shape == (1, 64, 64)


@pytest.mark.parametrize(
    "frame",
    [np.zeros(4, np.uint8), np.zeros((2, 2), np.int16), np.zeros((0, 4), np.uint8), np.zeros((2, 2, 2), np.uint16)],
)
def test_other_arrays_are_refused(frame):
    with pytest.raises(ValueError, match="non-empty uint8 or uint16"):
        cut(frame)
