"""The literal scheme is lossless, keyed, and does what its description says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.baselines.literal import N_TRANSIENT, Literal, logistic

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
NONCE = bytes(12)
SCHEMES = [Literal(), Literal(np.float64)]


def image_of(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@settings(max_examples=30)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), key=st.binary(min_size=32, max_size=32))
def test_round_trip(scheme, rows, columns, key):
    image = image_of(rows, rows, columns)
    before = image.copy()
    cipher_image = scheme.encrypt(image, key, NONCE)
    assert cipher_image.shape == image.shape
    assert cipher_image.dtype == np.uint8
    assert np.array_equal(scheme.decrypt(cipher_image, key, NONCE), image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_another_key_decrypts_to_something_else(scheme):
    image = image_of(1, 64, 80)
    wrong = scheme.decrypt(scheme.encrypt(image, KEY, NONCE), OTHER, NONCE)
    assert np.mean(wrong == image) < 0.02


def test_neighbouring_keys_give_other_parameters():
    flipped = bytes([KEY[0] ^ 1]) + KEY[1:]
    assert Literal().parameters(KEY) != Literal().parameters(flipped)
    assert all(0 < Literal().parameters(bytes([i]) * 32)[0] < 1 for i in range(256))
    assert all(3.9 <= Literal().parameters(bytes([i]) * 32)[1] < 4 for i in range(256))


def test_the_nonce_changes_nothing():
    image = image_of(2, 16, 16)
    assert np.array_equal(Literal().encrypt(image, KEY, NONCE), Literal().encrypt(image, KEY, bytes(11) + b"\1"))


def test_the_stream_is_the_scaled_orbit():
    """Zeros show the key stream: the values behind the 64 that order the parts, times 255."""
    x, r = Literal().parameters(KEY)
    orbit = np.empty(64 + 400, np.float32)
    logistic(np.float32(x), np.float32(r), N_TRANSIENT, orbit)
    stream = np.rint(orbit[64:] * np.float32(255)).astype(np.uint8)
    assert np.array_equal(Literal().encrypt(np.zeros((20, 20), np.uint8), KEY, NONCE).reshape(-1), stream)


def test_the_orbit_in_python():
    """The map in single precision, each operation rounded."""
    x, r, one = np.float32(0.3), np.float32(3.97), np.float32(1)
    orbit = np.empty(50, np.float32)
    logistic(x, r, 3, orbit)
    expected = []
    for _ in range(53):
        x = np.float32(np.float32(r * x) * np.float32(one - x))
        expected.append(x)
    assert orbit.tolist() == [float(value) for value in expected[3:]]


def test_parts_move_as_a_whole_and_the_rest_stays():
    """8 x 8 parts of 2 x 3 samples; one row and two columns are left over."""
    scheme = Literal()
    image = np.zeros((17, 26), np.uint8)
    image[:16, :24] = np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8), np.ones((2, 3), np.uint8))
    moved = scheme.encrypt(image, KEY, NONCE) ^ scheme.encrypt(np.zeros_like(image), KEY, NONCE)
    parts = moved[:16, :24].reshape(8, 2, 8, 3).swapaxes(1, 2).reshape(64, 6)
    assert all(len(set(part)) == 1 for part in parts.tolist())
    assert sorted(parts[:, 0].tolist()) == list(range(64))
    assert parts[:, 0].tolist() != list(range(64))
    assert not moved[16].any()
    assert not moved[:, 24:].any()
