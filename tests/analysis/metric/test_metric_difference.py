"""NPCR and UACI against worked examples and the published table of critical values."""

import numpy as np
import pytest

from iomt_crypt.analysis.metric import critical_range, npcr_percent, uaci_percent


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
