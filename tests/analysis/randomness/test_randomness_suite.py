"""Which sequences fail which tests, what is refused, and what is left out."""

import json

import numpy as np
import pytest

from iomt_crypt.analysis import randomness
from iomt_crypt.analysis.randomness import TESTS, applicable, bits_of, run_all
from iomt_crypt.analysis.randomness.suite import _SUITE
from iomt_crypt.analysis.randomness.template import aperiodic_templates

N = 1_000_000
ALWAYS_MINIMUM = {
    "frequency": 100,
    "block frequency": 100,
    "runs": 100,
    "longest run": 128,
    "binary matrix rank": 38_912,
    "spectral": 1000,
    "non-overlapping template": 20_544,
    "overlapping template": N,
    "universal": 387_840,
    "linear complexity": N,
    "serial": 128,
    "approximate entropy": 256,
    "cumulative sums": 100,
    "random excursions": N,
    "random excursions variant": N,
}


def ideal(n_bits=N, seed=1):
    return bits_of(np.random.default_rng(seed).bytes(-(-n_bits // 8)))[:n_bits]


def failing(bits, tests=None):
    """Names of the tests with a P-value below 10^-6."""
    return {row.test for row in run_all(bits, tests=tests) if row.p_value < 1e-6}


def test_an_ideal_sequence_passes():
    rows = run_all(ideal())
    assert min(row.p_value for row in rows) > 1e-4
    assert len(rows) == 188
    assert sum(row.passed() for row in rows) > 180


@pytest.mark.parametrize("value", [0, 1])
def test_constant_sequences(value):
    found = failing(np.full(N, value, np.uint8))
    one_run = {"longest run"} if value else {"longest run", "overlapping template"}
    assert found >= {"frequency", "block frequency", "runs", "serial", "approximate entropy", "cumulative sums"}
    assert found >= one_run | {"binary matrix rank", "non-overlapping template", "universal", "linear complexity"}
    assert not {"random excursions"} & {row.test for row in run_all(np.full(N, value, np.uint8))}


def test_alternating_sequence():
    found = failing(np.tile(np.array([0, 1], np.uint8), N // 2))
    assert not found & {"frequency", "block frequency", "cumulative sums"}
    assert found >= {"runs", "longest run", "serial", "approximate entropy", "universal", "linear complexity"}


def test_bias():
    bits = (np.random.default_rng(2).random(N) < 0.505).astype(np.uint8)
    assert failing(bits, ["frequency", "cumulative sums", "spectral", "linear complexity"]) == {
        "frequency",
        "cumulative sums",
    }


def test_long_runs():
    flips = np.random.default_rng(3).random(N) < 0.495
    assert failing((np.cumsum(flips) % 2).astype(np.uint8), ["frequency", "runs", "longest run"]) == {"runs"}


def test_feedback_registers():
    def register(length, tap):
        bits = ideal(seed=5)
        for start in range(length, N, tap):
            end = min(N, start + tap)
            bits[start:end] = bits[start - length : end - length] ^ bits[start - tap : end - tap]
        return bits

    # the rank of 32 x 32 matrices sees a short register, the linear complexity any of fewer than 250 bits
    tests = ["binary matrix rank", "linear complexity", "frequency"]
    assert failing(register(31, 28), tests) == {"binary matrix rank", "linear complexity"}
    assert failing(register(127, 126), tests) == {"linear complexity"}
    assert failing(register(1279, 861), tests) == set()


def test_period():
    bits = ideal(seed=6)
    wave = (np.sin(2 * np.pi * np.arange(N) / 77.7) > 0).astype(np.uint8)
    spots = np.random.default_rng(6).random(N) < 0.2
    bits[spots] = wave[spots]
    assert failing(bits, ["spectral", "frequency"]) == {"spectral"}


def test_planted_templates():
    bits = ideal(seed=7)
    for start in np.random.default_rng(7).integers(0, N - 9, 1500):
        bits[start : start + 9] = [0, 0, 1, 1, 0, 1, 0, 1, 1]
    rows = [row for row in run_all(bits, tests=["non-overlapping template"]) if row.p_value < 1e-6]
    assert min(rows, key=lambda row: row.p_value).variant == "template 001101011"
    assert len(rows) < 20
    bits = ideal(seed=8)
    for start in np.random.default_rng(8).integers(0, N - 9, 1500):
        bits[start : start + 9] = 1
    assert failing(bits, ["overlapping template", "linear complexity"]) == {"overlapping template"}


def test_repetition():
    bits = ideal(seed=9)
    block = np.concatenate([bits[:700], 1 - bits[:700]])
    bits[N // 2 : N // 2 + 1400 * 200] = np.tile(block, 200)
    assert failing(bits, ["universal", "frequency"]) == {"universal"}
    assert failing(bits, ["approximate entropy", "serial"]) == {"approximate entropy", "serial"}


def test_walks_that_turn_back():
    bits = ideal(seed=10)
    place = 0
    for i in range(N):
        step = 2 * int(bits[i]) - 1
        if abs(place + step) > 3:
            step = -step
            bits[i] ^= 1
        place += step
    assert failing(bits, ["random excursions", "random excursions variant"]) == {
        "random excursions",
        "random excursions variant",
    }


@pytest.mark.parametrize("name", TESTS)
def test_too_short(name):
    minimum = ALWAYS_MINIMUM[name]
    short = ideal(minimum - 1)
    with pytest.raises(ValueError, match=f"^{name}: needs at least {minimum} bits, got {minimum - 1}$"):
        _SUITE[name](short)
    assert applicable(short).left_out[name] == f"needs at least {minimum} bits, got {minimum - 1}"
    if "excursions" not in name:
        assert name in applicable(ideal(minimum)).tests


def test_too_few_cycles():
    bits = np.ones(N, np.uint8)
    left_out = applicable(bits).left_out
    assert left_out["random excursions"] == "needs at least 500 cycles of the walk, got 1"
    assert set(left_out) == {"random excursions", "random excursions variant"}
    for name in left_out:
        with pytest.raises(ValueError, match=f"^{name}: needs at least 500 cycles of the walk, got 1$"):
            run_all(bits, tests=[name])


@pytest.mark.parametrize("n_bits", [1, 99, 100, 200, 1000, 40_000])
def test_short_sequences_run_what_is_applicable(n_bits):
    bits = ideal(n_bits)
    fit = applicable(bits)
    assert set(fit.tests) | set(fit.left_out) == set(TESTS)
    assert not set(fit.tests) & set(fit.left_out)
    assert list(fit.tests) == [name for name in TESTS if n_bits >= ALWAYS_MINIMUM[name]]
    assert {row.test for row in run_all(bits)} == set(fit.tests)
    assert all(0 <= row.p_value <= 1 for row in run_all(bits))


@pytest.mark.parametrize("length", [0, 1])
def test_pattern_lengths(length):
    with pytest.raises(ValueError, match="serial: the patterns must have 2 bits or more"):
        randomness.pattern.serial(ideal(1000), length=length)
    if not length:
        with pytest.raises(ValueError, match="the patterns must have 1 bit or more, got 0"):
            randomness.pattern.approximate_entropy(ideal(1000), length=0)


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        ([0, 1] * 100, TypeError, "one-dimensional array of uint8, got list"),
        (np.zeros((20, 20), np.uint8), TypeError, "got 2-D uint8"),
        (np.zeros(200, np.int64), TypeError, "got 1-D int64"),
        (np.full(200, 2, np.uint8), ValueError, "bits must be 0 or 1, got 2"),
        (np.zeros(0, np.uint8), ValueError, "at least 1 bits, got 0"),
    ],
)
def test_what_is_no_sequence(bits, error, message):
    with pytest.raises(error, match=message):
        run_all(bits)


def test_unknown_tests():
    with pytest.raises(ValueError, match="got nothing, something"):
        run_all(ideal(1000), tests=["something", "runs", "nothing"])


def test_bits_of():
    assert bits_of(b"\x80\x01").tolist() == [1] + [0] * 14 + [1]
    # 16-bit words: low byte first, whatever the byte order in memory
    for dtype in ("<u2", ">u2"):
        assert bits_of(np.array([[0x0180]], dtype)).tolist() == [1] + [0] * 14 + [1]
    assert bits_of(b"").size == 0


def test_results_are_json():
    [row] = run_all(ideal(1000), tests=["frequency"])
    assert json.loads(json.dumps(row.to_dict())) == {
        "test": "frequency",
        "variant": "",
        "statistic": row.statistic,
        "p_value": row.p_value,
        "n_bits": 1000,
    }
    assert (row.row, row.passed(), row.passed(alpha=1.1)) == ("frequency", True, False)
    rows = {row.row for row in run_all(ideal(), tests=["non-overlapping template"])}
    assert rows == {f"non-overlapping template, template {t:09b}" for t in aperiodic_templates(9)}


def test_non_contiguous_sequences():
    bits = ideal(40_000)
    spread = np.repeat(bits, 2)[::2]
    assert not spread.flags.c_contiguous
    assert run_all(spread) == run_all(bits)
