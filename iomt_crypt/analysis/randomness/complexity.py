"""Tests of SP 800-22 for linear structure and periods: sections 2.5, 2.6 and 2.10."""

from __future__ import annotations

from math import log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.kernel import linear_complexities, matrix_ranks
from iomt_crypt.analysis.randomness.result import Bits, Result, check_bits, chi_square_result
from iomt_crypt.analysis.randomness.special import erfc

_ROWS: Final = 32
_MATRIX_BITS: Final = _ROWS * _ROWS

#: Classes of T in section 2.10.4, as exact fractions (3.10). The publication's program rounds, and its appendix was
#: computed with 0.01047 for the first, which is a slip for 0.010417.
_COMPLEXITY_CLASSES: Final = (1 / 96, 1 / 32, 1 / 8, 1 / 2, 1 / 4, 1 / 16, 1 / 48)


def rank_probability(rank: int, rows: int, columns: int) -> float:
    """Return the probability that a random matrix over GF(2) has this rank (section 3.5)."""
    product = 2.0 ** (rank * (rows + columns - rank) - rows * columns)
    for i in range(rank):
        product *= (1 - 2.0 ** (i - rows)) * (1 - 2.0 ** (i - columns)) / (1 - 2.0 ** (i - rank))
    return product


def binary_matrix_rank(bits: Bits, *, n_minimum: int = 38 * _MATRIX_BITS) -> list[Result]:
    """Binary matrix rank test, section 2.5, of 32 x 32 matrices; chi-square of the classes 32, 31, and 30 or less."""
    bits = check_bits(bits, "binary matrix rank", max(n_minimum, _MATRIX_BITS))
    n_matrices = bits.size // _MATRIX_BITS
    rows = np.packbits(bits[: n_matrices * _MATRIX_BITS]).view(">u4").astype(np.uint32).reshape(n_matrices, _ROWS)
    ranks = matrix_ranks(rows)
    full, less = int((ranks == _ROWS).sum()), int((ranks == _ROWS - 1).sum())
    probabilities = [rank_probability(rank, _ROWS, _ROWS) for rank in (_ROWS, _ROWS - 1)]
    probabilities.append(1 - sum(probabilities))
    counts = np.array([full, less, n_matrices - full - less])
    return [chi_square_result("binary matrix rank", "", counts, np.array(probabilities), bits.size)]


def spectral(bits: Bits, *, n_minimum: int = 1000) -> list[Result]:
    """Discrete Fourier transform (spectral) test, section 2.6: are 95 % of the peaks below the threshold?

    The variance is n * 0.95 * 0.05 / 4, as in the publication since Rev. 1 (S.-J. Kim, K. Umeno, A. Hasegawa, ePrint
    2004/018), in place of the n * 0.95 * 0.05 / 2 of independent peaks. It is an estimate from generators; F. Pareschi
    et al. (IEEE Trans. Inf. Forensics Security 7(2), 2012) found 3.8 in place of 4. The statistic is d.
    """
    bits = check_bits(bits, "spectral", n_minimum)
    n = bits.size
    peaks = np.abs(np.fft.rfft(2.0 * bits - 1.0))[: n // 2]
    n_below = int(np.count_nonzero(peaks < sqrt(n * log(1 / 0.05))))
    difference = (n_below - 0.95 * n / 2) / sqrt(n * 0.95 * 0.05 / 4)
    return [Result("spectral", "", difference, erfc(abs(difference) / sqrt(2)), n)]


def linear_complexity(
    bits: Bits,
    *,
    block_size: int = 500,
    probabilities: tuple[float, ...] = _COMPLEXITY_CLASSES,
    n_minimum: int = 1_000_000,
) -> list[Result]:
    """Linear complexity test, section 2.10: how long a feedback register gives each block? Chi-square of 7 classes.

    `block_size` is M; other `probabilities` of the classes are for repeating results that were computed with them.
    """
    bits = check_bits(bits, "linear complexity", max(n_minimum, block_size))
    n_blocks = bits.size // block_size
    found = linear_complexities(bits[: n_blocks * block_size].reshape(n_blocks, block_size))
    return [judge_complexities(found, block_size, probabilities, bits.size)]


def judge_complexities(
    found: npt.NDArray[np.int64],
    block_size: int,
    probabilities: tuple[float, ...] = _COMPLEXITY_CLASSES,
    n_bits: int = 0,
) -> Result:
    """Chi-square of the classes of T (2.10.4) that the linear complexities of blocks fall into."""
    sign = 1 if block_size % 2 == 0 else -1
    mean = block_size / 2 + (9 - sign) / 36 - (block_size / 3 + 2 / 9) * 2.0**-block_size
    deviations = sign * (found - mean) + 2 / 9
    classes = np.clip(np.ceil(deviations + 2.5).astype(np.int64), 0, 6)
    counts = np.bincount(classes, minlength=7)
    return chi_square_result("linear complexity", "", counts, np.array(probabilities), n_bits)
