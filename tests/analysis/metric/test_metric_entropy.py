"""Entropy of ideal images: published and independently computed expectations, and simulated ideal images."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from iomt_crypt.analysis.metric import (
    entropy_bits,
    entropy_range,
    global_entropy,
    ideal_entropy,
    local_entropy,
)


@pytest.mark.parametrize(
    ("word_bits", "side", "expected"),
    [
        (8, 256, 7.99719),
        (8, 512, 7.99930),
        (8, 1024, 7.99982),
        (12, 512, 11.98870),
        (12, 1024, 11.99718),
        (16, 256, 15.17276),
        (16, 512, 15.80804),
        (16, 1024, 15.95441),
    ],
)
def test_expectations(word_bits, side, expected):
    """Not 8 and 16 bits: no finite image has them."""
    assert round(ideal_entropy(side * side, word_bits).mean, 5) == expected


def test_expectation_of_a_block_is_the_published_one():
    """Wu et al. 2013: 1936 samples of 8 bits."""
    assert round(ideal_entropy(1936, 8).mean, 9) == 7.902469317


@pytest.mark.parametrize(("n_samples", "word_bits"), [(1, 8), (2, 1), (3, 2), (6, 1)])
def test_the_mean_is_exact(n_samples, word_bits):
    """Against every possible image."""
    n_values = 1 << word_bits
    images = np.indices((n_values,) * n_samples).reshape(n_samples, -1).T.astype(np.uint8)
    mean = np.mean([entropy_bits(image) for image in images])
    assert ideal_entropy(n_samples, word_bits).mean == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("n_samples", [1024, 3000, 16384, 65536])
def test_ideal_images_keep_the_range(dtype, n_samples):
    """Outside on each side: 2.5 % at most, 600 images, and 4.5 deviations of that count."""
    word_bits = 8 * np.dtype(dtype).itemsize
    rng = np.random.default_rng([2013, n_samples, word_bits])
    found = np.array([entropy_bits(rng.integers(0, 1 << word_bits, n_samples, dtype)) for _ in range(600)])
    lower, upper = entropy_range(n_samples, word_bits)
    for outside in ((found < lower).sum(), (found > upper).sum()):
        assert outside <= 15 + 4.5 * np.sqrt(15)
    ideal = ideal_entropy(n_samples, word_bits)
    assert abs(found.mean() - ideal.mean) < 4.5 * ideal.deviation / np.sqrt(600)
    assert found.std() / ideal.deviation == pytest.approx(1, abs=0.13)


def test_the_range_of_the_mean_of_blocks():
    """Simulated; the range that the literature quotes, 7.901901305 to 7.903037329, is too narrow by sqrt(30)."""
    rng = np.random.default_rng(44)
    blocks = rng.integers(0, 256, (300, 30, 1936), np.uint8)
    means = np.array([np.mean([entropy_bits(block) for block in group]) for group in blocks])
    lower, upper = entropy_range(1936, 8, n_blocks=30)
    assert 0.91 < np.mean((means >= lower) & (means <= upper)) < 0.985
    assert np.mean((means >= 7.901901305) & (means <= 7.903037329)) < 0.4
    assert (upper - lower) / (7.903037329 - 7.901901305) == pytest.approx(np.sqrt(30), rel=0.01)


def test_worked_examples():
    assert entropy_bits(np.zeros(100, np.uint8)) == 0
    assert entropy_bits(np.arange(256, dtype=np.uint8)) == 8
    assert entropy_bits(np.array([0, 0, 1, 65535], np.uint16)) == 1.5


def test_measurements():
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 65536, (200, 300), np.uint16)
    for measurement in (global_entropy(noise), local_entropy(noise, rng=rng)):
        assert measurement.passed
        assert measurement.lower < measurement.ideal < measurement.upper < log2(65536)
    flat = np.arange(60000, dtype=np.uint16).reshape(200, 300)
    assert global_entropy(flat).passed is False, "flatter than chance is outside as well"
    assert local_entropy(noise // 2, rng=rng).passed is False
    assert "24 blocks" in local_entropy(noise, rng=rng).note
    assert "30 blocks" in local_entropy(np.resize(noise, (512, 512)), rng=rng).note


def test_local_entropy_is_that_of_blocks_which_do_not_overlap():
    """A plane whose columns of blocks differ: only whole blocks give whole bits."""
    plane = np.zeros((44, 88), np.uint8)
    plane[:, 44:] = np.arange(44)[:, np.newaxis] % 4
    for seed in range(5):
        assert local_entropy(plane, rng=np.random.default_rng(seed)).value == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(43, 100), (100, 43), (4000,)])
def test_planes_without_room_for_a_block_are_refused(shape):
    with pytest.raises(ValueError, match="44 or more"):
        local_entropy(np.zeros(shape, np.uint8), rng=np.random.default_rng(1))


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="1024 samples"):
        global_entropy(np.zeros((10, 10), np.uint8))
    with pytest.raises(TypeError, match="int32"):
        entropy_bits(np.zeros(10, np.int32))
    with pytest.raises(ValueError, match="alpha"):
        entropy_range(10_000, 8, alpha=0)
    with pytest.raises(ValueError, match="n_samples"):
        ideal_entropy(0, 8)
