"""Josephus scrambling with filtering diffusion is lossless, keyed, and spreads a change over the whole image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.baselines import josephus
from benchmarks.baselines.josephus import Josephus

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
NONCE = bytes(12)


def image_of(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


@pytest.mark.parametrize("n_rounds", [1, 2, 3])
@settings(max_examples=30)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), key=st.binary(min_size=32, max_size=32))
def test_round_trip(n_rounds, rows, columns, key):
    image = image_of(columns, rows, columns)
    before = image.copy()
    scheme = Josephus(n_rounds)
    cipher_image = scheme.encrypt(image, key, NONCE)
    assert cipher_image.size == image.size
    assert cipher_image.dtype == np.uint8
    assert np.array_equal(scheme.decrypt(cipher_image, key, NONCE), image)
    assert np.array_equal(image, before)


def test_the_shape_is_kept():
    assert Josephus().encrypt(image_of(0, 10, 20), KEY, NONCE).shape == (10, 20)


def test_another_key_decrypts_to_something_else():
    image = image_of(1, 64, 80)
    wrong = Josephus().decrypt(Josephus().encrypt(image, KEY, NONCE), OTHER, NONCE)
    assert np.mean(wrong == image) < 0.02


@pytest.mark.parametrize(
    ("n", "start", "step", "expected"),
    # every second of seven leaves: 2, 4, 6, 1, 5, 3, 7, counted from 1; the survivor of Josephus' 41 and 3 is the 31st
    [(7, 0, 1, [1, 3, 5, 0, 4, 2, 6]), (1, 9, 9, [0]), (5, 0, 0, [0, 1, 2, 3, 4]), (41, 0, 2, [..., 30])],
)
def test_counting_out(n, start, step, expected):
    order = np.empty(n, np.int64)
    josephus._count_out(n, start, step, order)
    assert sorted(order.tolist()) == list(range(n))
    assert order[-1] == expected[-1]
    if ... not in expected:
        assert order.tolist() == expected


def test_filtering_as_the_paper_has_it():
    """Each pixel is the weighted sum of its window, of which eight pixels were filtered before."""
    image, mask = image_of(3, 6, 5), image_of(4, 1, 8).reshape(-1)
    edge = image_of(5, 1, 2 * (6 + 5 + 4)).reshape(-1)
    framed = josephus._framed(image.shape, edge).astype(int)
    weights = np.append(mask, 1).reshape(3, 3).astype(int)
    for row in range(6):
        for column in range(5):
            framed[row + 2, column + 2] = image[row, column]
            window = framed[row : row + 3, column : column + 3]
            framed[row + 2, column + 2] = (window * weights).sum() % 256
    assert np.array_equal(josephus._filter(image, mask, edge), framed[2:, 2:])


def test_one_pixel_changes_most_of_the_image():
    image = image_of(6, 64, 64)
    changed = image.copy()
    changed[31, 17] ^= 1
    differs = Josephus().encrypt(image, KEY, NONCE) != Josephus().encrypt(changed, KEY, NONCE)
    assert np.mean(differs) > 0.4
