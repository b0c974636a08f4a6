"""The scheme with two maps is lossless and keyed."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.baselines import two_maps
from benchmarks.baselines.two_maps import TwoMaps

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
NONCE = bytes(12)


def image_of(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


@settings(max_examples=30)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), key=st.binary(min_size=32, max_size=32))
def test_round_trip(rows, columns, key):
    image = image_of(columns, rows, columns)
    before = image.copy()
    cipher_image = TwoMaps().encrypt(image, key, NONCE)
    assert cipher_image.shape == image.shape
    assert cipher_image.dtype == np.uint8
    assert np.array_equal(TwoMaps().decrypt(cipher_image, key, NONCE), image)
    assert np.array_equal(image, before)


def test_another_key_decrypts_to_something_else():
    image = image_of(1, 64, 80)
    wrong = TwoMaps().decrypt(TwoMaps().encrypt(image, KEY, NONCE), OTHER, NONCE)
    assert np.mean(wrong == image) < 0.02


def test_the_henon_map_stays_in_its_attractor_from_every_start():
    """An orbit that escapes would fill the sequence with infinities, and the order would be no shuffle."""
    for x, y in itertools.product(np.linspace(0, 0.1, 21), repeat=2):
        orbit = np.empty(2000)
        two_maps._henon(x, y, orbit)
        assert np.abs(orbit).max() < 1.3
        assert len(np.unique(orbit)) == orbit.size


def test_pixels_are_shuffled_one_by_one():
    scheme = TwoMaps()
    zeros = scheme.encrypt(np.zeros((16, 16), np.uint8), KEY, NONCE)
    moved = scheme.encrypt(np.arange(256, dtype=np.uint8).reshape(16, 16), KEY, NONCE) ^ zeros
    assert sorted(moved.reshape(-1).tolist()) == list(range(256))
    kept_neighbours = np.mean(np.diff(moved.reshape(-1).astype(int)) == 1)
    assert kept_neighbours < 0.05
