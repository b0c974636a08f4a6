"""The reduced cipher with nothing taken away is the cipher, and with something taken away still a cipher."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.baselines.reduced import Reduced
from iomt_crypt import cipher

KEY, OTHER, NONCE = bytes(range(32)), bytes(range(1, 33)), bytes(range(12))
SHAPES = [(1, 1), (1, 9), (7, 3), (40, 50)]


def image_of(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(shape[0]).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_it_is_the_cipher(shape):
    image = image_of(shape)
    expected = cipher.encrypt(image, KEY, tweak=NONCE)
    assert np.array_equal(Reduced("all").encrypt(image, KEY, NONCE), expected)


@pytest.mark.parametrize("n_rounds", range(5))
@pytest.mark.parametrize("stages", list(itertools.product([False, True], repeat=4)))
def test_round_trip(n_rounds, stages):
    scheme = Reduced("some", n_rounds, *stages)
    for shape in SHAPES:
        image = image_of(shape)
        before = image.copy()
        cipher_image = scheme.encrypt(image, KEY, NONCE)
        assert np.array_equal(scheme.decrypt(cipher_image, KEY, NONCE), image)
        assert np.array_equal(image, before)


def test_what_is_missing():
    image = image_of((40, 50))
    half = image.size // 2

    def shown(**stages: bool) -> np.ndarray:
        return Reduced("some", **stages).encrypt(image, KEY, NONCE).reshape(-1)

    assert np.array_equal(shown(n_rounds=1, use_move=False)[:half], image.reshape(-1)[:half])
    only_moved = shown(n_rounds=0)
    assert not np.array_equal(only_moved, image.reshape(-1))
    assert np.array_equal(np.sort(only_moved), np.sort(image.reshape(-1)))
    assert np.array_equal(shown(n_rounds=0, use_move=False), image.reshape(-1))
    changed = image.copy()
    changed[20, 20] ^= 1
    stream_only = Reduced("stream", use_cnn=False, use_pooling=False)
    first, second = (stream_only.encrypt(frame, KEY, NONCE) for frame in (image, changed))
    assert np.count_nonzero(first != second) == 1


@pytest.mark.parametrize("scheme", [Reduced("all"), Reduced("no pooling", use_pooling=False)], ids=lambda s: s.name)
def test_another_key_or_nonce_decrypts_to_something_else(scheme):
    image = image_of((40, 50))
    cipher_image = scheme.encrypt(image, KEY, NONCE)
    assert np.mean(scheme.decrypt(cipher_image, OTHER, NONCE) == image) < 0.03
    assert np.mean(scheme.decrypt(cipher_image, KEY, bytes(12)) == image) < 0.03
