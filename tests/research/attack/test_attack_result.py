"""When an attack has gained: exact tails, and no gain for guessing, however clever."""

from __future__ import annotations

from fractions import Fraction
from math import comb, inf
from statistics import NormalDist

import attack_image
import numpy as np
import pytest

from iomt_crypt.analysis.attack.result import SIGMAS, TAIL, agreement_by_chance, binomial_tail, judge, pearson, psnr_db

TRUTH = attack_image.images()[0][40:168, 40:168]


def verdict(found, **more):
    return judge("a", "b", "c", found, TRUTH, n_images=1, seconds=0.0, **more)


def test_the_threshold_is_five_sigma():
    assert pytest.approx(NormalDist().cdf(-SIGMAS), rel=1e-9) == TAIL


@pytest.mark.parametrize(
    ("hits", "trials", "percent"), [(3, 10, 10), (10, 10, 50), (1, 5, 1), (60, 100, 40), (9, 256, 1)]
)
def test_binomial_tail_is_exact(hits, trials, percent):
    p = Fraction(percent, 100)
    exact = sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits, trials + 1))
    assert binomial_tail(hits, trials, float(p)) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "expected"), [((0, 5, 0.5), 1), ((5, 5, 1.0), 1), ((1, 5, 0.0), 0), ((1, 5, 0.5), 1)]
)
def test_binomial_tail_at_the_ends(arguments, expected):
    assert binomial_tail(*arguments) == expected


def test_the_exact_image_is_a_gain():
    result = verdict(TRUTH.copy())
    assert (result.share, result.psnr_db, result.gained, result.n_claimed) == (1.0, inf, True, TRUTH.size)
    assert result.correlation == pytest.approx(1)


@pytest.mark.parametrize("value", [0, 17, 255])
def test_a_constant_is_no_gain(value):
    """Not even if it is the most frequent value, which is right for every fourth sample."""
    result = verdict(np.full_like(TRUTH, value))
    assert result.share == pytest.approx(result.chance)
    assert result.share == np.mean(value == TRUTH)
    assert not result.gained


def test_noise_is_no_gain():
    rng = np.random.default_rng(3)
    results = [verdict(rng.integers(0, 256, TRUTH.shape, dtype=np.uint8)) for _ in range(60)]
    assert not any(result.gained for result in results)
    assert np.mean([result.share for result in results]) == pytest.approx(1 / 256, rel=0.05)


def test_noise_with_the_true_histogram_is_no_gain():
    result = verdict(np.random.default_rng(4).permutation(TRUTH.reshape(-1)).reshape(TRUTH.shape))
    assert result.share > 5 / 256
    assert not result.gained


@pytest.mark.parametrize("percent", [2, 5])
def test_a_few_right_samples_are_a_gain(percent):
    rng = np.random.default_rng(5)
    found = rng.integers(0, 256, TRUTH.shape, dtype=np.uint8)
    known = rng.random(TRUTH.shape) < percent / 100
    assert verdict(np.where(known, TRUTH, found)).gained


def test_a_likeness_is_a_gain_without_an_exact_sample():
    result = verdict(TRUTH ^ 1)
    assert result.share == 0
    assert result.gained


def test_to_know_where_the_background_is_is_a_gain():
    background = TRUTH == 0
    result = verdict(np.zeros_like(TRUTH), claimed=background)
    assert result.share == background.mean()
    assert result.chance == pytest.approx(background.mean() ** 2)
    assert result.gained


def test_nothing_claimed_is_nothing_gained():
    result = verdict(np.zeros_like(TRUTH), claimed=np.zeros(TRUTH.shape, bool))
    assert (result.share, result.chance, result.n_claimed, result.gained) == (0, 0, 0, False)


def test_measures_against_numpy():
    other = attack_image.images()[1][40:168, 40:168]
    assert pearson(TRUTH, other) == pytest.approx(np.corrcoef(TRUTH.reshape(-1), other.reshape(-1))[0, 1])
    assert pearson(TRUTH, np.zeros_like(TRUTH)) == 0
    assert psnr_db(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)) == 0
    pairs = TRUTH.reshape(-1)[:, np.newaxis] == other.reshape(-1)[np.newaxis, ::64]
    assert agreement_by_chance(TRUTH, other.reshape(-1)[::64]) == pytest.approx(pairs.mean())


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\) and \(128, 128\)"):
        verdict(np.zeros((2, 2), np.uint8))
