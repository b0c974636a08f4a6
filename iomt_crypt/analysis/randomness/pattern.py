"""Tests of SP 800-22 that count patterns: sections 2.9, 2.11 and 2.12."""

from __future__ import annotations

from math import log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.kernel import count_patterns, distance_logarithms
from iomt_crypt.analysis.randomness.result import Bits, Result, check_bits
from iomt_crypt.analysis.randomness.special import erfc, igamc

#: For each length of a block in bits, mean and variance of log2 of the distance of equal blocks (section 2.9.4).
_MAURER: Final = {
    6: (5.2177052, 2.954),
    7: (6.1962507, 3.125),
    8: (7.1836656, 3.238),
    9: (8.1764248, 3.311),
    10: (9.1723243, 3.356),
    11: (10.170032, 3.384),
    12: (11.168765, 3.401),
    13: (12.168070, 3.410),
    14: (13.167693, 3.416),
    15: (14.167488, 3.419),
    16: (15.167379, 3.421),
}
_UNIVERSAL_MINIMUM: Final = 1010 * 2**6 * 6


def universal(bits: Bits, *, n_minimum: int = _UNIVERSAL_MINIMUM) -> list[Result]:
    """Maurer's universal statistical test, section 2.9: can the sequence be compressed? The statistic is f_n.

    The block length L is the largest for which n is at least 1010 * 2^L * L; 10 * 2^L blocks come first and only fill
    the table.
    """
    bits = check_bits(bits, "universal", max(n_minimum, _UNIVERSAL_MINIMUM))
    length = max(length for length in _MAURER if bits.size >= 1010 * 2**length * length)
    mean, variance = _MAURER[length]
    value, n_tested = mean_distance(bits, length, 10 * 2**length)
    shrink = 0.7 - 0.8 / length + (4 + 32 / length) * n_tested ** (-3 / length) / 15
    sigma = shrink * sqrt(variance / n_tested)
    return [Result("universal", "", value, erfc(abs(value - mean) / (sqrt(2) * sigma)), bits.size)]


def mean_distance(bits: Bits, length: int, n_first: int) -> tuple[float, int]:
    """Return f_n of section 2.9.4, the mean log2 distance of equal blocks, and over how many blocks it was taken."""
    n_blocks = bits.size // length
    weights = (1 << np.arange(length - 1, -1, -1)).astype(np.uint32)
    symbols = bits[: n_blocks * length].reshape(n_blocks, length) @ weights
    n_tested = n_blocks - n_first
    return distance_logarithms(symbols.astype(np.uint32), n_first, 1 << length) / n_tested, n_tested


def serial(bits: Bits, *, length: int | None = None, n_minimum: int = 128) -> list[Result]:
    """Serial test, section 2.11: are all patterns of m bits equally frequent? Two rows.

    Parameters
    ----------
    bits
        uint8 (n,), 0 or 1.
    length
        m, 2 or more. None: 16, or less where the publication's m < floor(log2 n) - 2 (2.11.7) demands it.
    n_minimum
        The publication names none; here the n that allows m = 4.
    """
    bits = check_bits(bits, "serial", n_minimum)
    length = min(16, bits.size.bit_length() - 4) if length is None else length
    if length < 2:
        raise ValueError(f"serial: the patterns must have 2 bits or more, got {length}")
    counts = count_patterns(bits, length, bits.size)
    psi = []
    for m in (length, length - 1, length - 2):
        square = float((counts.astype(np.float64) ** 2).sum())
        psi.append(2.0**m / bits.size * square - bits.size if m else 0.0)
        counts = counts.reshape(-1, 2).sum(axis=1) if counts.size > 1 else counts
    first, second = psi[0] - psi[1], psi[0] - 2 * psi[1] + psi[2]
    return [
        Result("serial", "first difference", first, igamc(2.0 ** (length - 2), first / 2), bits.size),
        Result("serial", "second difference", second, igamc(2.0 ** (length - 3), second / 2), bits.size),
    ]


def approximate_entropy(bits: Bits, *, length: int | None = None, n_minimum: int = 256) -> list[Result]:
    """Approximate entropy test, section 2.12: how well do m bits tell the next? The statistic is chi-square.

    `length` is m. None: 10, or less where the publication's m < floor(log2 n) - 5 (2.12.7) demands it. The publication
    names no smallest n; here it is the n that allows m = 2.
    """
    bits = check_bits(bits, "approximate entropy", n_minimum)
    length = min(10, bits.size.bit_length() - 7) if length is None else length
    if length < 1:
        raise ValueError(f"approximate entropy: the patterns must have 1 bit or more, got {length}")
    longer = count_patterns(bits, length + 1, bits.size)
    entropy = _phi(longer.reshape(-1, 2).sum(axis=1)) - _phi(longer)
    chi_square = 2 * bits.size * (log(2) - entropy)
    return [
        Result("approximate entropy", "", chi_square, igamc(2.0 ** (length - 1), max(0.0, chi_square) / 2), bits.size)
    ]


def _phi(counts: npt.NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float((shares * np.log(shares)).sum())
