"""How far two cipher images of nearly equal plain images differ: NPCR and UACI with their critical values.

Y. Wu, J. P. Noonan, S. Agaian: NPCR and UACI Randomness Tests for Image Encryption. Cyber Journals: JSAT, 2011.
Values are percentages, as everywhere in the literature. "Better than ideal" does not exist: outside the range fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

_Samples = npt.NDArray[np.unsignedinteger[Any]]


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


def npcr_percent(first: _Samples, second: _Samples) -> float:
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


def uaci_percent(first: _Samples, second: _Samples) -> float:
    """Return the mean absolute difference over the largest word (unified average changing intensity), 0 to 100.

    The largest word is that of the dtype: cipher images fill their cells, whatever Bits Stored the plain image had.
    Parameters and errors are those of `npcr_percent`.
    """
    _check_pair(first, second)
    difference = np.maximum(first, second) - np.minimum(first, second)
    largest = int(np.iinfo(first.dtype).max)
    return 100 * int(difference.sum(dtype=np.uint64)) / (largest * first.size)


def critical_range(n_samples: int, word_bits: int, *, alpha: float = 0.05) -> CriticalRange:
    """Return Wu's critical values for images of this size.

    Parameters
    ----------
    n_samples
        Samples of the image, 1 or more. The normal approximation of NPCR is rough where n_samples is not well
        above 2^word_bits: equal samples are then a handful, and a Poisson count.
    word_bits
        True word size of the cipher samples, 1 or more.
    alpha
        Level of significance of each of the two tests, between 0 and 1.

    Raises
    ------
    ValueError
        An argument is outside its range.
    """
    if n_samples < 1 or word_bits < 1 or not 0 < alpha < 1:
        raise ValueError(
            f"n_samples and word_bits must be 1 or more and alpha inside (0, 1), got {n_samples}, {word_bits}, {alpha}"
        )
    largest = (1 << word_bits) - 1
    normal = NormalDist()
    npcr_deviation = sqrt(largest / n_samples) / (largest + 1)
    npcr_mean = largest / (largest + 1)
    uaci_mean = (largest + 2) / (3 * largest + 3)
    uaci_variance = (largest + 2) * (largest**2 + 2 * largest + 3) / (18 * (largest + 1) ** 2 * n_samples * largest)
    uaci_reach = normal.inv_cdf(1 - alpha / 2) * sqrt(uaci_variance)
    return CriticalRange(
        npcr_minimum=100 * (npcr_mean - normal.inv_cdf(1 - alpha) * npcr_deviation),
        uaci_minimum=100 * (uaci_mean - uaci_reach),
        uaci_maximum=100 * (uaci_mean + uaci_reach),
    )


def _check_pair(first: _Samples, second: _Samples) -> None:
    if first.shape != second.shape or first.dtype != second.dtype:
        raise ValueError(
            f"images must have one shape and dtype, got {first.shape} {first.dtype} and {second.shape} {second.dtype}"
        )
    if first.size == 0:
        raise ValueError("images must have 1 sample or more")
