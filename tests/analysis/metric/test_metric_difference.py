"""NPCR and UACI against worked examples and the published table of critical values."""

import numpy as np
import pytest
from scipy import stats

from iomt_crypt.analysis.metric import critical_range, npcr, npcr_level, npcr_percent, uaci, uaci_percent


@pytest.mark.parametrize(
    ("word_bits", "side", "npcr", "uaci_low", "uaci_high"),
    [
        # 8-bit rows are the published ones, the others the same formulas computed once
        (8, 256, 99.5693, 33.2824, 33.6447),
        (8, 512, 99.5893, 33.3730, 33.5541),
        (8, 1024, 99.5994, 33.4183, 33.5088),
        (12, 512, 99.97057, 33.2512, 33.4317),
        (16, 512, 99.99722, 33.2436, 33.4241),
        (16, 1024, 99.99785, 33.2887, 33.3790),
    ],
)
def test_critical_values_are_the_published_ones(word_bits, side, npcr, uaci_low, uaci_high):
    found = critical_range(side * side, word_bits)
    digits = 4 if word_bits == 8 else 5
    assert round(found.npcr_minimum, digits) == npcr
    assert round(found.uaci_minimum, 4) == uaci_low
    assert round(found.uaci_maximum, 4) == uaci_high


def test_smaller_alpha_widens_the_range():
    wide, narrow = critical_range(65536, 8, alpha=0.001), critical_range(65536, 8, alpha=0.05)
    assert wide.npcr_minimum < narrow.npcr_minimum
    assert wide.uaci_minimum < narrow.uaci_minimum < narrow.uaci_maximum < wide.uaci_maximum


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_extremes(dtype):
    black = np.zeros((3, 5), dtype)
    white = np.full((3, 5), np.iinfo(dtype).max, dtype)
    assert npcr_percent(black, black) == uaci_percent(black, black) == 0
    assert npcr_percent(black, white) == uaci_percent(black, white) == 100
    assert uaci_percent(white, black) == 100


def test_worked_example():
    first = np.array([0, 10, 255, 7], np.uint8)
    second = np.array([0, 5, 250, 8], np.uint8)
    assert npcr_percent(first, second) == 75
    assert uaci_percent(first, second) == 100 * 11 / (255 * 4)


@pytest.mark.parametrize("metric", [npcr_percent, uaci_percent])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros(3, np.uint8), np.zeros(4, np.uint8)),
        (np.zeros(3, np.uint8), np.zeros(3, np.uint16)),
        (np.zeros(0, np.uint8), np.zeros(0, np.uint8)),
    ],
)
def test_unlike_or_empty_images_are_refused(metric, first, second):
    with pytest.raises(ValueError, match="images must have"):
        metric(first, second)


@pytest.mark.parametrize("arguments", [(0, 8, 0.05), (10, 0, 0.05), (10, 8, 0.0), (10, 8, 1.0)])
def test_critical_range_refuses_nonsense(arguments):
    n_samples, word_bits, alpha = arguments
    with pytest.raises(ValueError, match="got"):
        critical_range(n_samples, word_bits, alpha=alpha)


@pytest.mark.parametrize("side", [64, 128, 512])
@pytest.mark.parametrize("word_bits", [8, 16])
def test_the_exact_bound_of_npcr_keeps_its_level(side, word_bits):
    """At most 5 % of ideal pairs fail, and one equal sample fewer allowed would make it more than 5 %."""
    n_samples = side * side
    bound = critical_range(n_samples, word_bits, exact=True).npcr_minimum
    most_equal = round(n_samples * (1 - bound / 100))
    law = stats.binom(n_samples, 2.0**-word_bits)
    assert law.sf(most_equal) <= 0.05 < law.sf(most_equal - 1)
    assert npcr_level(n_samples, word_bits) == pytest.approx(law.cdf(most_equal))


def test_an_npcr_on_the_exact_bound_passes():
    first = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    second = first ^ np.uint16(1)
    allowed = round(65536 * (1 - critical_range(65536, 16, exact=True).npcr_minimum / 100))
    second.reshape(-1)[:allowed] = first.reshape(-1)[:allowed]
    assert npcr(first, second).passed
    second.reshape(-1)[: allowed + 1] = first.reshape(-1)[: allowed + 1]
    assert npcr(first, second).passed is False


def test_the_normal_bound_is_wrong_for_few_equal_samples():
    """128 x 128 words of 16 bits: 0.25 equal ones expected. The normal bound forbids two, which is 2.6 %, not 5 %."""
    n_samples = 128 * 128
    law = stats.binom(n_samples, 2.0**-16)
    normal = critical_range(n_samples, 16).npcr_minimum
    failing = law.sf(np.floor(n_samples * (1 - normal / 100)))
    assert 0.02 < failing < 0.03


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ideal_pairs_pass_as_often_as_they_should(dtype):
    rng = np.random.default_rng([2011, np.dtype(dtype).itemsize])
    word_bits = 8 * np.dtype(dtype).itemsize
    pairs = rng.integers(0, 1 << word_bits, (1000, 2, 64, 64), dtype)
    n_npcr = sum(bool(npcr(*pair).passed) for pair in pairs)
    n_uaci = sum(bool(uaci(*pair).passed) for pair in pairs)
    assert abs(n_npcr / 1000 - npcr_level(64 * 64, word_bits)) < 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert abs(n_uaci / 1000 - 0.95) < 4 * np.sqrt(0.05 * 0.95 / 1000)


def test_better_than_ideal_fails():
    """Figures such as 35 % are outside, whatever they are claimed to be."""
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 256, (2, 256, 256), np.uint8)
    second[:26] = first[:26] ^ np.uint8(128)  # a tenth of the rows, half the cell apart
    assert uaci(first, second).value > 35
    assert uaci(first, second).passed is False
