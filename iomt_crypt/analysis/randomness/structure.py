"""Tests of the key stream that look where this generator could be weak: bit planes, pairs, periods of Weyl words."""

from __future__ import annotations

from math import expm1, log1p
from typing import Final

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness import spacing
from iomt_crypt.analysis.randomness.complexity import judge_complexities, rank_probability
from iomt_crypt.analysis.randomness.kernel import compiled, linear_complexities
from iomt_crypt.analysis.randomness.lane import Words
from iomt_crypt.analysis.randomness.result import Bits, Result, chi_square_result
from iomt_crypt.analysis.randomness.special import erfc
from iomt_crypt.analysis.randomness.word import ORDERS, correlation, dependencies
from iomt_crypt.cipher.constant import LANES

_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]

_BITS: Final = 32
_MATRIX_ROWS: Final = 1024
_COMPLEXITY_BLOCK: Final = 1 << 14
#: The low nine bits of a Weyl word repeat after 512 steps.
_LAG: Final = 512
_LAGS: Final = 1000
#: Lanes that stand for all where one lane is enough work: both of a pair, at both ends and in the middle.
_CHOSEN: Final = (0, 1, 62, 127)


def bit_plane(words: Words, lane: int, bit: int) -> Bits:
    """Return one bit of one lane's words as a sequence, uint8 (n_steps,)."""
    plane: Bits = ((words[:, lane] >> np.uint32(bit)) & np.uint32(1)).astype(np.uint8)
    return plane


def examine_lanes(words: Words) -> list[Result]:
    """Run every structural test on one long key stream.

    Parameters
    ----------
    words
        uint32 (n_steps, 128), C-contiguous, n_steps a multiple of 2^16; 2^20 (512 MiB) for the full strength.

    Returns
    -------
    list of Result
        One row for each test and order of the words.

    Raises
    ------
    ValueError
        The shape is another one.
    """
    if words.ndim != 2 or words.shape[1] != LANES or words.shape[0] % (1 << 16) or not words.shape[0]:
        raise ValueError(f"words must have the shape (k * 65536, {LANES}), got {words.shape}")
    rows = [row for order in ORDERS for row in dependencies(words, order)]
    rows += spacing.spacings(words, "") + spacing.collisions(words, "") + spacing.gaps(words, "")
    rows += [matrix_ranks(words), plane_complexity(words), spectral_line(words), recurrence(words)]
    return rows + correlations(words)


def correlations(words: Words) -> list[Result]:
    """Test the bits of a lane against its own and its partner's later ones, and a bit of all lanes with each other."""
    pair = np.ascontiguousarray(words[:, :2].astype(">u4"))
    bits = np.unpackbits(pair.view(np.uint8), axis=1)
    one, two = bits[:, :_BITS], bits[:, _BITS:]
    rows = [correlation(one[:-lag], one[lag:], f"lane with itself, lag {lag}") for lag in (1, 2, 4, 512)]
    rows += [correlation(one[: len(one) - lag], two[lag:], f"lane with its partner, lag {lag}") for lag in (0, 1, 2)]
    for bit in (0, 15, 31):
        planes = ((words[: 1 << 18] >> np.uint32(bit)) & np.uint32(1)).astype(np.uint8)
        rows.append(correlation(planes, planes, f"lanes with each other, bit {bit}"))
        rows.append(correlation(planes[:-1], planes[1:], f"lanes with each other, lag 1, bit {bit}"))
    return rows


def matrix_ranks(words: Words) -> Result:
    """Test ranks over GF(2) of 1024 x 1024 matrices, each filled from one bit plane of one lane.

    Linear generators have planes of low rank. The statistic is the lowest rank; the P-value is of that rank and of the
    chi-square of 3 classes together. From fewer than 2^20 steps a lane fills no matrix, and lanes are joined.
    """
    size = _MATRIX_ROWS * _MATRIX_ROWS
    ranks = []
    joined = max(1, size // words.shape[0])
    for first in _CHOSEN:
        lanes = [(first + k) % LANES for k in range(joined)]
        for bit in range(_BITS):
            bits = np.concatenate([bit_plane(words, lane, bit) for lane in lanes])[:size]
            rows = np.packbits(bits).view(np.uint64).reshape(_MATRIX_ROWS, -1)
            ranks.append(large_rank(rows))
    full = [rank_probability(rank, _MATRIX_ROWS, _MATRIX_ROWS) for rank in (_MATRIX_ROWS, _MATRIX_ROWS - 1)]
    counts = np.bincount(np.minimum(_MATRIX_ROWS - np.array(ranks), 2), minlength=3)
    classes = chi_square_result("", "", counts, np.array([*full, 1 - sum(full)]), 0)
    # A rank that is d below the full one has about the probability 2^(-d^2).
    lowest = min(ranks)
    low = sum(rank_probability(rank, _MATRIX_ROWS, _MATRIX_ROWS) for rank in range(lowest - 8, lowest + 1))
    p_value = _of_two(classes.p_value, -expm1(len(ranks) * log1p(-low)))
    return Result("matrix rank, 1024 x 1024", "bit planes", lowest, p_value, size * len(ranks))


def _of_two(first: float, second: float) -> float:
    """P-value of the smaller of two."""
    return min(1.0, 2 * min(first, second))


@compiled
def large_rank(rows: _U64) -> int:
    """Rank over GF(2) of a matrix whose rows are uint64 (n_rows, n_words)."""
    matrix = rows.copy()
    rank = 0
    for column in range(64 * rows.shape[1]):
        word, bit = column // 64, np.uint64(1) << np.uint64(column % 64)
        pivot = rank
        while pivot < rows.shape[0] and not matrix[pivot, word] & bit:
            pivot += 1
        if pivot == rows.shape[0]:
            continue
        for k in range(word, rows.shape[1]):
            matrix[rank, k], matrix[pivot, k] = matrix[pivot, k], matrix[rank, k]
        for other in range(rank + 1, rows.shape[0]):
            if matrix[other, word] & bit:
                for k in range(word, rows.shape[1]):
                    matrix[other, k] ^= matrix[rank, k]
        rank += 1
    return rank


def plane_complexity(words: Words) -> Result:
    """Test the linear complexity of 2^14 successive bits of each plane of eight lanes.

    The statistic is the largest distance from 2^13; the P-value is of that distance and of the chi-square of SP 800-22,
    section 2.10, together.
    """
    planes = [
        bit_plane(words[:_COMPLEXITY_BLOCK], lane, bit) for lane in range(0, LANES, LANES // 8) for bit in range(_BITS)
    ]
    bits = np.concatenate(planes)
    found = linear_complexities(bits.reshape(len(planes), _COMPLEXITY_BLOCK))
    farthest = int(np.abs(found - _COMPLEXITY_BLOCK // 2).max())
    # Of 2^n sequences 2^(2L - 1) have the complexity L up to n/2, and 2^(2n - 2L) have L above (SP 800-22, 3.10).
    tail = min(1.0, 2.0 ** (1 - 2 * farthest))
    chi_square = judge_complexities(found, _COMPLEXITY_BLOCK).p_value
    p_value = _of_two(chi_square, -expm1(len(planes) * log1p(-tail)) if tail < 1 else 1.0)
    return Result("linear complexity of 16384 bits", "bit planes", farthest, p_value, bits.size)


def spectral_line(words: Words) -> Result:
    """Look for a line in the spectrum of any bit of a lane, such as at the frequency of its Weyl word.

    The statistic is the highest of all peaks, as power over its mean; of independent bits it is exponential.
    """
    highest, n_peaks = 0.0, 0
    for lane in _CHOSEN:
        for bit in range(_BITS):
            power = np.abs(np.fft.rfft(2.0 * bit_plane(words, lane, bit) - 1.0)[1:-1]) ** 2 / words.shape[0]
            highest, n_peaks = max(highest, float(power.max())), n_peaks + power.size
    p_value = -expm1(n_peaks * log1p(-float(np.exp(-highest))))
    return Result("spectral line", "bit planes", highest, p_value, n_peaks * 2)


def recurrence(words: Words) -> Result:
    """Look for steps at which a pair of lanes repeats a relation between the one's top bits and the other's low bits.

    For lags of 512 * m, at which the low bits of a Weyl word repeat: are words of a lane with equal top ten bits
    followed by words of the partner with equal two low bits more often than in one of four cases? Some lag below
    512 * 1000 repeats the top bits of the other Weyl word as well. Lanes without veil fail (decision 0008).

    The statistic is the largest |z| over lags and pairs.
    """
    n_lags = min(_LAGS, words.shape[0] // (2 * _LAG))
    largest, n_tested = 0.0, 0
    for even in range(0, LANES, LANES // 8):
        for one, other in ((even, even + 1), (even + 1, even)):
            top = (words[:-1, one] >> np.uint32(22)).astype(np.uint16)
            low = (words[1:, other] & np.uint32(3)).astype(np.uint16)
            equal, agreeing = _agreements(top, low, n_lags)
            z = np.abs(agreeing - equal / 4) / np.sqrt(np.maximum(equal, 1) * 3 / 16)
            largest, n_tested = max(largest, float(z.max())), n_tested + n_lags
    p_value = -expm1(n_tested * log1p(-erfc(largest / 2**0.5)))
    return Result("recurrence in pairs", "lags of 512", largest, p_value, 32 * 16 * words.shape[0])


@compiled
def _agreements(
    top: npt.NDArray[np.uint16], low: npt.NDArray[np.uint16], n_lags: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each lag count the places with equal top bits, and those among them with equal low bits."""
    equal = np.zeros(n_lags, np.int64)
    agreeing = np.zeros(n_lags, np.int64)
    for k in range(n_lags):
        lag = _LAG * (k + 1)
        n_equal, n_agreeing = np.int64(0), np.int64(0)
        for i in range(top.size - lag):
            same = np.int64(top[i] == top[i + lag])
            n_equal += same
            n_agreeing += same & np.int64(low[i] == low[i + lag])
        equal[k], agreeing[k] = n_equal, n_agreeing
    return equal, agreeing
