"""Statistics of raw words: equal to the reference metrics, silent for noise, loud for what is badly encrypted."""

from __future__ import annotations

import importlib
from math import isnan

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy.stats import binom, multinomial

from iomt_crypt.analysis.metric.correlation import DIRECTIONS, adjacent, coefficient
from iomt_crypt.analysis.metric.entropy import entropy_bits
from iomt_crypt.checks import limit, measure, tally
from iomt_crypt.checks.likeness import share_stream
from iomt_crypt.checks.statistic import ALARMS, LEVEL, MINIMUM_WORDS
from iomt_crypt.checks.stream import starts_compressed
from iomt_crypt.cipher import encrypt

DTYPES = (np.uint8, np.uint16)
# Not imported as a name: the package shows a function of it.
chi_square = importlib.import_module("iomt_crypt.analysis.metric.histogram").chi_square


def noise(rng, shape, dtype):
    return rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, shape, dtype=dtype)


def image(rng, dtype, side=128):
    """A body in air: smooth, with detector noise, 12 bits of 16 or 8 of 8."""
    down, across = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = np.where(down**2 + across**2 < 0.5, 0.6 + 0.2 * np.cos(3 * across), 0.02)
    top = 4000 if dtype == np.uint16 else 250
    return np.clip(top * body + rng.normal(0, top / 200, body.shape), 0, top).astype(dtype)


class TestReference:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(2, 32), (37, 91), (128, 128), (700, 600)])
    @pytest.mark.parametrize("make", [noise, lambda rng, shape, dtype: image(rng, dtype, 700)[: shape[0], : shape[1]]])
    def test_equals_the_metrics_of_the_report(self, rng, shape, dtype, make):
        frame = np.ascontiguousarray(make(rng, shape, dtype))
        found = measure(frame)
        assert (found.word_bits, found.n_words) == (8 * frame.itemsize, frame.size)
        assert found.entropy_bits == pytest.approx(entropy_bits(frame), abs=1e-12)
        assert found.chi_square == pytest.approx(chi_square(frame).value, rel=1e-12)
        for value, direction in zip(found.correlation, DIRECTIONS, strict=True):
            assert value == pytest.approx(coefficient(*adjacent(frame, direction)), abs=1e-8)

    def test_equal_input_gives_the_equal_result(self, rng):
        frame = image(rng, np.uint16)
        assert measure(frame) == measure(frame.copy()) == measure(np.asfortranarray(frame))

    def test_constant_frame(self):
        found = measure(np.full((64, 64), 7, np.uint16))
        assert found.entropy_bits == 0.0
        assert all(isnan(value) for value in found.correlation)
        assert {"values", "words", "block", "period", "repeats"} <= set(found.alarms)

    def test_rare_and_frequent_values(self):
        frame = np.repeat(np.arange(3, dtype=np.uint8), [1, 1022, 2001]).reshape(8, -1)
        assert measure(frame).entropy_bits == pytest.approx(entropy_bits(frame), abs=1e-12)


class TestNoise:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(1, 64), (64, 1), (8, 8), (3, 100), (64, 64), (1, 9999), (200, 333)])
    def test_noise_passes(self, rng, shape, dtype):
        found = [measure(noise(rng, shape, dtype)) for _ in range(40)]
        assert all(statistics.judged for statistics in found)
        assert not any(statistics.alarms for statistics in found)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_the_image_cipher_passes(self, rng, dtype):
        for plain in (image(rng, dtype), np.zeros((64, 96), dtype)):
            assert measure(encrypt(plain, rng.bytes(32), tweak=rng.bytes(8))).alarms == ()

    @pytest.mark.parametrize("shape", [(0, 0), (1, 1), (7, 9), (1, MINIMUM_WORDS - 1)])
    def test_too_small_to_judge(self, shape):
        found = measure(np.zeros(shape, np.uint16))
        assert not found.judged
        assert found.alarms == ()

    def test_smallest_that_is_judged(self):
        assert measure(np.zeros((1, MINIMUM_WORDS), np.uint8)).alarms

    def test_what_is_no_frame(self):
        with pytest.raises(TypeError, match="int32"):
            measure(np.zeros((8, 8), np.int32))
        with pytest.raises(ValueError, match="two dimensions, got 1"):
            measure(np.zeros(8, np.uint8))


class TestLimits:
    """The bounds hold: no event is more probable than asked for, by exact laws and by trials."""

    @pytest.mark.parametrize(("n", "p"), [(50, 1 / 256), (1000, 9 / 256), (300, 0.5), (5, 0.01)])
    @pytest.mark.parametrize("level", [1e-3, 1e-9])
    def test_binomial(self, n, p, level):
        highest, lowest = limit.binomial_limit(n, p, level), limit.binomial_floor(n, p, level)
        assert binom.sf(highest, n, p) <= level
        assert binom.cdf(lowest - 1, n, p) <= level
        assert 0 <= lowest <= n * p <= highest + 1 <= n + 1

    @pytest.mark.parametrize("level", [1e-2, 1e-6])
    def test_squares_by_the_exact_law(self, level):
        """6 words over 4 values: every outcome is counted."""
        lower, upper = limit.square_limits(6, 4, level)
        outcomes = [(a, b, c, 6 - a - b - c) for a in range(7) for b in range(7 - a) for c in range(7 - a - b)]
        law = multinomial(6, [0.25] * 4)
        above = sum(law.pmf(outcome) for outcome in outcomes if sum(c * c for c in outcome) > upper)
        below = sum(law.pmf(outcome) for outcome in outcomes if sum(c * c for c in outcome) < lower)
        assert max(above, below) <= level

    @pytest.mark.parametrize("n", [64, 500, 4096])
    def test_squares_by_trials(self, rng, n):
        level, n_trials = 0.01, 4000
        lower, upper = limit.square_limits(n, 256, level)
        squares = (rng.multinomial(n, [1 / 256] * 256, n_trials) ** 2).sum(axis=1)
        allowed = binom.ppf(1 - 1e-9, n_trials, level)
        assert np.count_nonzero(squares > upper) <= allowed
        assert np.count_nonzero(squares < lower) <= allowed
        # A bound, but no idle one: what is twice as uneven as noise is far outside.
        assert upper < 2 * (n + n * (n - 1) / 256)

    @pytest.mark.parametrize("shape", [(1, 64), (8, 8), (40, 40)])
    def test_products_by_trials(self, rng, shape):
        n_pairs, level, n_trials = shape[0] * (shape[1] - 1), 0.01, 4000
        words = rng.integers(0, 256, (n_trials, *shape)) - 127.5
        products = (words[:, :, 1:] * words[:, :, :-1]).sum(axis=(1, 2))
        bound = limit.product_limit(n_pairs, 256, level)
        assert np.count_nonzero(np.abs(products) > bound) <= binom.ppf(1 - 1e-9, n_trials, level)
        assert bound < 6 * np.sqrt(n_pairs) * 255**2 / 12

    def test_no_pairs_no_limit(self):
        assert limit.product_limit(0, 256, 0.1) == float("inf")

    def test_false_alarms_of_an_object(self):
        assert 1000 * LEVEL <= 1.000001e-6


def xored(frame, stream):
    data = np.ascontiguousarray(frame).reshape(-1).view(np.uint8)
    return (data ^ np.resize(stream, data.size)).view(frame.dtype).reshape(frame.shape)


def ecb(frame, rng):
    encryptor = Cipher(algorithms.AES(rng.bytes(32)), modes.ECB()).encryptor()
    return np.frombuffer(encryptor.update(frame.tobytes()), frame.dtype).reshape(frame.shape)


def bits(frame, rng, mask):
    return (frame & ~frame.dtype.type(mask)) | (noise(rng, frame.shape, frame.dtype) & frame.dtype.type(mask))


def stripe(frame, rng, rows=slice(None), columns=slice(None)):
    result = noise(rng, frame.shape, frame.dtype)
    result[rows, columns] = frame[rows, columns]
    return result


BAD = {
    "plain": lambda frame, rng: frame,
    "permuted": lambda frame, rng: rng.permutation(frame.reshape(-1)).reshape(frame.shape),
    **{
        f"stream of {n} bytes": lambda frame, rng, n=n: xored(frame, rng.integers(0, 256, n, np.uint8))
        for n in (1, 8, 16, 37, 256, 1000)
    },
    "high half": lambda frame, rng: bits(frame, rng, 0xFF00 if frame.itemsize == 2 else 0xF0),
    "low half": lambda frame, rng: bits(frame, rng, 0x00FF if frame.itemsize == 2 else 0x0F),
    "a row in twenty": lambda frame, rng: stripe(frame, rng, rows=slice(50, 56)),
    "a column in ten": lambda frame, rng: stripe(frame, rng, columns=slice(50, 63)),
    "inverted": lambda frame, rng: ~frame,
    "constant": lambda frame, rng: np.full_like(frame, 0x5A),
    "counter": lambda frame, rng: np.arange(frame.size).astype(frame.dtype).reshape(frame.shape),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BAD)
def test_bad_encryption_is_found(rng, dtype, name):
    assert measure(BAD[name](image(rng, dtype), rng)).alarms


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_that_are_encrypted_alike(rng, dtype):
    frame = image(rng, dtype)
    frame[:40] = 3  # air without noise, or padding
    assert "repeats" in measure(ecb(frame, rng)).alarms


def test_alarms_say_which_test(rng):
    frame = noise(rng, (128, 128), np.uint16)
    rows = frame.copy()
    rows[1::2] = rows[0::2]
    assert "rows" in measure(rows).alarms
    assert measure(bits(frame, rng, 0xFF00) & 0x7FFF).alarms[0] == "values"
    near = np.cumsum(rng.integers(0, 3, frame.size)).astype(np.uint16).reshape(frame.shape)
    assert {"differences", "correlation"} <= set(measure(near).alarms)
    assert set(ALARMS) >= set(measure(near).alarms)


def test_compressed_streams(rng):
    jpeg = rng.integers(0, 256, 30_000, np.uint8)
    jpeg = np.insert(jpeg, np.flatnonzero(jpeg == 0xFF) + 1, 0)  # byte stuffing
    assert "compressed" in measure(jpeg.reshape(1, -1)).alarms
    j2k = rng.integers(0, 256, 40_000, np.uint8)
    after = np.flatnonzero(j2k[:-1] == 0xFF) + 1
    j2k[after] &= 0x7F
    assert "compressed" in measure(j2k[:40_000].reshape(200, 200)).alarms


@pytest.mark.parametrize(
    "start",
    [
        b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
        b"\xff\xd8\xff\xe0\x00\x10" + bytes(14) + b"\xff",
        b"\xff\x4f\xff\x51\x00\x2f",
        b"\x03\x00\x00\x00\x40\x00\x00\x00",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    ],
)
def test_first_bytes_of_streams(rng, start):
    assert starts_compressed(start + bytes(100), 5000)
    assert not starts_compressed(start[1:] + bytes(100), 5000)
    frame = np.frombuffer(start + rng.bytes(4096 - len(start)), np.uint8).reshape(64, 64)
    assert measure(frame).alarms == ("compressed",)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_frames_of_one_key_stream(rng, dtype):
    first, second = image(rng, dtype), image(rng, dtype)
    stream = rng.integers(0, 256, first.nbytes, np.uint8)
    assert measure(xored(first, stream)).alarms == (), "alone each is noise"
    assert share_stream(xored(first, stream), xored(second, stream))
    for _ in range(50):
        assert not share_stream(noise(rng, (64, 64), dtype), noise(rng, (64, 70), dtype))
    assert not share_stream(first[:1, :20], first[:1, :20]), "too small to judge"
    assert not share_stream(first, first.astype(np.uint32).astype(np.uint8 if dtype == np.uint16 else np.uint16))


def test_planes_have_alarms():
    from iomt_crypt.checks import statistic

    assert len(statistic._PLANE_ALARMS) == len(tally.PLANES)
