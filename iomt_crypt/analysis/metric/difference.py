"""How far two cipher images of nearly equal plain images differ: NPCR and UACI with their critical values.

Y. Wu, J. P. Noonan, S. Agaian: NPCR and UACI Randomness Tests for Image Encryption. Cyber Journals: JSAT, 2011.
Values are percentages, as everywhere in the literature. "Better than ideal" does not exist: outside the range fails.
The paper's NPCR bound is a normal approximation. Equal samples are a binomial count, and for 16-bit words a small one;
`critical_range` takes the binomial law itself where it is asked to.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from iomt_crypt.analysis.metric.law import binomial_probability, binomial_quantile
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, word_bits_of

_REFERENCE = "Wu, Noonan, Agaian 2011"


@dataclass(frozen=True, slots=True)
class CriticalRange:
    """Where two independent random images fall with probability 1 - alpha, for each metric on its own.

    Parameters
    ----------
    npcr_minimum
        NPCR below this fails, in percent (one-sided).
    uaci_minimum, uaci_maximum
        UACI outside of these fails, in percent (two-sided).
    """

    npcr_minimum: float
    uaci_minimum: float
    uaci_maximum: float


def npcr_percent(first: Samples, second: Samples) -> float:
    """Return the share of samples that differ (number of pixels change rate), 0 to 100.

    Parameters
    ----------
    first, second
        uint8 or uint16, of the same shape and dtype, 1 sample or more.

    Raises
    ------
    ValueError
        Shapes or dtypes differ, or there are no samples.
    """
    _check_pair(first, second)
    return 100 * int(np.count_nonzero(first != second)) / first.size


def uaci_percent(first: Samples, second: Samples) -> float:
    """Return the mean absolute difference over the largest word (unified average changing intensity), 0 to 100.

    The largest word is that of the dtype: cipher images fill their cells, whatever Bits Stored the plain image had.
    Parameters and errors are those of `npcr_percent`.
    """
    _check_pair(first, second)
    difference = np.maximum(first, second) - np.minimum(first, second)
    largest = int(np.iinfo(first.dtype).max)
    return 100 * int(difference.sum(dtype=np.uint64)) / (largest * first.size)


def critical_range(n_samples: int, word_bits: int, *, alpha: float = 0.05, exact: bool = False) -> CriticalRange:
    """Return Wu's critical values for images of this size.

    Parameters
    ----------
    n_samples
        Samples of the image, 1 or more.
    word_bits
        True word size of the cipher samples, 1 or more.
    alpha
        Level of significance of each of the two tests, between 0 and 1.
    exact
        Take the bound of NPCR from the binomial distribution of equal samples instead of the paper's normal
        approximation, which is rough where n_samples is not well above 2^word_bits. Then an ideal cipher fails with
        probability alpha at most; `npcr_level` says with which. (Needs scipy.)

    Raises
    ------
    ValueError
        An argument is outside its range.
    """
    _check_arguments(n_samples, word_bits, alpha)
    largest = (1 << word_bits) - 1
    normal = NormalDist()
    npcr_deviation = sqrt(largest / n_samples) / (largest + 1)
    npcr_mean = largest / (largest + 1)
    uaci_mean = ideal_uaci_percent(word_bits) / 100
    uaci_reach = normal.inv_cdf(1 - alpha / 2) * uaci_deviation_percent(n_samples, word_bits) / 100
    npcr_minimum = 100 * (npcr_mean - normal.inv_cdf(1 - alpha) * npcr_deviation)
    if exact:
        # The very expression that `npcr_percent` computes, so that an NPCR on the bound equals it.
        npcr_minimum = 100 * (n_samples - _most_equal(n_samples, word_bits, alpha)) / n_samples
    return CriticalRange(
        npcr_minimum=npcr_minimum,
        uaci_minimum=100 * (uaci_mean - uaci_reach),
        uaci_maximum=100 * (uaci_mean + uaci_reach),
    )


def npcr_level(n_samples: int, word_bits: int, *, alpha: float = 0.05) -> float:
    """Return the probability that two independent uniform images pass the exact NPCR bound: 1 - alpha or more."""
    _check_arguments(n_samples, word_bits, alpha)
    return binomial_probability(_most_equal(n_samples, word_bits, alpha), n_samples, 0.5**word_bits)


def ideal_npcr_percent(word_bits: int) -> float:
    """Return the expectation for two independent uniform images."""
    return 100 * (1 - 0.5**word_bits)


def ideal_uaci_percent(word_bits: int) -> float:
    """Return the expectation for two independent uniform images, (2^b + 1) / (3 * 2^b)."""
    return 100 * ((1 << word_bits) + 1) / (3 << word_bits)


def uaci_deviation_percent(n_samples: int, word_bits: int) -> float:
    """Return the standard deviation of UACI for two independent uniform images."""
    largest = (1 << word_bits) - 1
    variance = (largest + 2) * (largest**2 + 2 * largest + 3) / (18 * (largest + 1) ** 2 * n_samples * largest)
    return 100 * sqrt(variance)


def npcr(first: Samples, second: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure NPCR of two cipher images against the exact one-sided bound."""
    value, word_bits = npcr_percent(first, second), word_bits_of(first)
    limits = critical_range(first.size, word_bits, alpha=alpha, exact=True)
    note = f"{first.size} words of {word_bits} bits; one-sided"
    ideal = ideal_npcr_percent(word_bits)
    return Measurement("NPCR", value, ideal, limits.npcr_minimum, None, alpha, "%", _REFERENCE, note)


def uaci(first: Samples, second: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure UACI of two cipher images against the two-sided bounds."""
    value, word_bits = uaci_percent(first, second), word_bits_of(first)
    limits = critical_range(first.size, word_bits, alpha=alpha)
    note = f"{first.size} words of {word_bits} bits; two-sided"
    ideal = ideal_uaci_percent(word_bits)
    lower, upper = limits.uaci_minimum, limits.uaci_maximum
    return Measurement("UACI", value, ideal, lower, upper, alpha, "%", _REFERENCE, note)


def _most_equal(n_samples: int, word_bits: int, alpha: float) -> int:
    """The smallest count that no more equal samples than alpha's share of ideal pairs exceed."""
    return binomial_quantile(1 - alpha, n_samples, 0.5**word_bits)


def _check_arguments(n_samples: int, word_bits: int, alpha: float) -> None:
    if n_samples < 1 or word_bits < 1 or not 0 < alpha < 1:
        raise ValueError(
            f"n_samples and word_bits must be 1 or more and alpha inside (0, 1), got {n_samples}, {word_bits}, {alpha}"
        )


def _check_pair(first: Samples, second: Samples) -> None:
    if first.shape != second.shape or first.dtype != second.dtype:
        raise ValueError(
            f"images must have one shape and dtype, got {first.shape} {first.dtype} and {second.shape} {second.dtype}"
        )
    if first.size == 0:
        raise ValueError("images must have 1 sample or more")
