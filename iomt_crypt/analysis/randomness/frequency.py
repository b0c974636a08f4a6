"""Tests of SP 800-22 that count ones and runs: sections 2.1 to 2.4 and 2.13."""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np

from iomt_crypt.analysis.randomness.kernel import longest_runs
from iomt_crypt.analysis.randomness.result import Bits, Result, check_bits, chi_square_result
from iomt_crypt.analysis.randomness.special import erfc, igamc, normal_cdf


def frequency(bits: Bits, *, n_minimum: int = 100) -> list[Result]:
    """Frequency (monobit) test, section 2.1: are there as many ones as zeros?

    Parameters
    ----------
    bits
        uint8 (n,), 0 or 1.
    n_minimum
        The publication's smallest n; a smaller one is for its worked examples only. So in all tests.

    Returns
    -------
    list of Result
        One row; the statistic is s_obs = |ones - zeros| / sqrt(n).

    Raises
    ------
    ValueError
        The sequence is shorter than `n_minimum`, or holds other values than 0 and 1. So in all tests.
    """
    bits = check_bits(bits, "frequency", n_minimum)
    observed = abs(2 * int(np.count_nonzero(bits)) - bits.size) / sqrt(bits.size)
    return [Result("frequency", "", observed, erfc(observed / sqrt(2)), bits.size)]


def block_frequency(bits: Bits, *, block_size: int | None = None, n_minimum: int = 100) -> list[Result]:
    """Frequency test within a block, section 2.2: are there as many ones as zeros in every block?

    `block_size` is M. None: 128 bits, the block of the publication's appendix B and of its program, and 20, its
    smallest, below 1280 bits. (Its section 2.2.7 recommends fewer than 100 blocks, which at 10^6 bits would be blocks
    of more than 10^4 bits.) The statistic is chi-square.
    """
    bits = check_bits(bits, "block frequency", max(n_minimum, block_size or 1))
    block_size = block_size or (128 if bits.size >= 1280 else 20)
    n_blocks = bits.size // block_size
    ones = bits[: n_blocks * block_size].reshape(n_blocks, block_size).sum(axis=1, dtype=np.int64)
    chi_square = 4 * block_size * float(((ones / block_size - 0.5) ** 2).sum())
    return [Result("block frequency", "", chi_square, igamc(n_blocks / 2, chi_square / 2), bits.size)]


def runs(bits: Bits, *, n_minimum: int = 100) -> list[Result]:
    """Runs test, section 2.3: does the sequence change between zeros and ones too fast or too slowly?

    P is 0 where the share of ones is so far from a half (2/sqrt(n)) that the frequency test fails anyway (2.3.4).
    The statistic is V_n, the number of runs.
    """
    bits = check_bits(bits, "runs", n_minimum)
    n = bits.size
    share = int(np.count_nonzero(bits)) / n
    n_runs = int(np.count_nonzero(bits[1:] != bits[:-1])) + 1
    p_value = 0.0
    if abs(share - 0.5) < 2 / sqrt(n):
        spread = share * (1 - share)
        p_value = erfc(abs(n_runs - 2 * n * spread) / (2 * sqrt(2 * n) * spread))
    return [Result("runs", "", float(n_runs), p_value, n)]


#: From n bits on: block size, the longest run of the lowest class, and the probabilities of the classes (2.4.4, 3.4).
#: These are exact to the digits given (the tests count them again); the publication rounds to four, for blocks of 10^4
#: bits not even correctly, so that the P-values of its appendix differ from these in the third digit.
_LONGEST_RUN: Final = (
    (
        750_000,
        10_000,
        10,
        (0.0866323111, 0.2082006484, 0.2484185819, 0.1939127867, 0.1214584851, 0.0680110893, 0.0733660975),
    ),
    (6_272, 128, 4, (0.1174035788, 0.2429559593, 0.2493634832, 0.1751770603, 0.1027010713, 0.1123988471)),
    (128, 8, 1, (0.21484375, 0.36718750, 0.23046875, 0.18750000)),
)


def longest_run(bits: Bits, *, probabilities: tuple[float, ...] | None = None, n_minimum: int = 128) -> list[Result]:
    """Longest run of ones in a block, section 2.4; the statistic is chi-square over the classes of lengths.

    Blocks have 8, 128 or 10^4 bits, from 128, 6272 and 750 000 bits on. `probabilities` of the classes are for
    repeating results that were computed with other ones.
    """
    bits = check_bits(bits, "longest run", max(n_minimum, 128))
    _, block_size, lowest, exact = next(row for row in _LONGEST_RUN if bits.size >= row[0])
    n_blocks = bits.size // block_size
    longest = longest_runs(bits[: n_blocks * block_size].reshape(n_blocks, block_size))
    classes = np.clip(longest - lowest, 0, len(exact) - 1)
    counts = np.bincount(classes, minlength=len(exact))
    return [chi_square_result("longest run", "", counts, np.array(probabilities or exact), bits.size)]


def cumulative_sums(bits: Bits, *, n_minimum: int = 100) -> list[Result]:
    """Cumulative sums (Cusum), section 2.13, forward and backward: does the walk of +1 and -1 go too far from zero?

    The statistic is z, the largest distance from zero.
    """
    bits = check_bits(bits, "cumulative sums", n_minimum)
    walk = np.cumsum(2 * bits.astype(np.int64) - 1)
    forward = int(np.abs(walk).max())
    # The walk from the other end: total minus everything before.
    backward = int(np.abs(walk[-1] - np.concatenate(([0], walk[:-1]))).max())
    return [
        Result("cumulative sums", variant, float(z), _cusum_p_value(z, bits.size), bits.size)
        for variant, z in (("forward", forward), ("backward", backward))
    ]


def _cusum_p_value(z: int, n: int) -> float:
    """Section 2.13.4, with the limits of the sums truncated towards zero as in the publication's program."""
    root = sqrt(n)
    first = np.arange(int((-n / z + 1) / 4), int((n / z - 1) / 4) + 1)
    second = np.arange(int((-n / z - 3) / 4), int((n / z - 1) / 4) + 1)
    inside = (normal_cdf((4 * first + 1) * z / root) - normal_cdf((4 * first - 1) * z / root)).sum()
    between = (normal_cdf((4 * second + 3) * z / root) - normal_cdf((4 * second + 1) * z / root)).sum()
    return float(min(1.0, max(0.0, 1 - inside + between)))
