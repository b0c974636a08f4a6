"""Does a frame look like noise? Counts over its raw words, against limits that noise keeps.

All alarms of a frame together are false with probability `LEVEL` at most, whatever its size: each limit is a bound and
not an approximation (`limit`). What an alarm means is in docs/GUARD.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import isqrt, log2, nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from iomt_crypt.checks import tally
from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.limit import binomial_floor, binomial_limit, product_limit, square_limits
from iomt_crypt.checks.stream import starts_compressed

#: Fewer words cannot be judged: structure and digest have to decide.
MINIMUM_WORDS = 64
#: Probability of an alarm at an ideal cipher frame; 1000 frames of an object make 10^-6.
LEVEL = 1e-9
_SHARE = LEVEL / 25  # of one limit: 16 of counts, 3 of products, 5 others
_MAXIMUM_LAG = 2048
_STREAM_BYTES = 1 << 17  # of the beginning: what is searched for the marks of a compressed stream
_SEEN_PLACES = 1 << 15
_MINIMUM_EXPECTED = 5  # words of a bin, below which Pearson's statistic takes wider bins


@dataclass(frozen=True)
class CellStatistics:
    """What was counted in one frame.

    Parameters
    ----------
    word_bits, n_words
        8 or 16, and how many words the frame has.
    judged
        False where there are fewer than 64 words: too small to judge, ``alarms`` is then empty.
    entropy_bits
        Shannon entropy of the words.
    chi_square
        Pearson's statistic of the histogram, binned as in `iomt_crypt.analysis.metric.histogram`; NaN below 10 words.
    correlation
        Pearson's coefficient of neighbours: horizontal, vertical, diagonal; NaN where it is not defined.
    n_repeated_blocks
        Blocks of 8 bytes that occurred before; some are missed.
    alarms
        Names of the tests that noise would not fail, of `ALARMS`; empty for noise.
    """

    word_bits: int
    n_words: int
    judged: bool
    entropy_bits: float
    chi_square: float
    correlation: tuple[float, ...]
    n_repeated_blocks: int
    alarms: tuple[str, ...]


#: What the alarms say, in words.
ALARMS = {
    "values": "values are not uniform",
    "words": "pairs of equal words are too many or too few",
    "differences": "neighbours resemble each other",
    "rows": "rows resemble each other",
    "block": "a part of the frame is not uniform",
    "correlation": "neighbours are correlated",
    "period": "a key stream repeats",
    "repeats": "blocks of 8 bytes repeat",
    "compressed": "it is a compressed stream",
}


def measure(frame: Frame) -> CellStatistics:
    """Count, and compare with noise.

    Parameters
    ----------
    frame
        uint8 or uint16 (rows, words in a row), as `read_cells` gives them.

    Raises
    ------
    TypeError
        The array is not of uint8 or uint16.
    ValueError
        It is not two-dimensional.
    """
    if frame.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"the frame must be of uint8 or uint16, got {frame.dtype}")
    if frame.ndim != 2:
        raise ValueError(f"the frame must have two dimensions, got {frame.ndim}")
    frame = np.ascontiguousarray(frame)
    word_bits, words = 8 * frame.dtype.itemsize, frame.reshape(-1)
    judged = words.size >= MINIMUM_WORDS
    values, planes = _count(frame)
    correlation, correlated = _correlation(frame, word_bits)
    data = words.view(np.uint8)
    n_repeated = _repeats(data)
    alarms: set[str] = set()
    if judged:
        alarms = {*values.alarms(), *planes.alarms(), *_stream_alarms(data)}
        alarms |= {"correlation"} if correlated else set()
        alarms |= {"period"} if _repeats_at_a_lag(data, word_bits) else set()
        alarms |= {"repeats"} if n_repeated > binomial_limit(words.nbytes // 8, 0.5**32, _SHARE) else set()
    return CellStatistics(
        word_bits,
        words.size,
        judged,
        values.entropy_bits(),
        values.chi_square(),
        correlation,
        n_repeated,
        tuple(name for name in ALARMS if name in alarms),
    )


@dataclass(frozen=True)
class _Values:
    """How often each value of the words occurs."""

    n_words: int
    counts: npt.NDArray[np.int32]
    how_often: npt.NDArray[np.int64]
    squares: int

    @classmethod
    def of(cls, counts: npt.NDArray[np.int32], n_words: int) -> _Values:
        how_often = np.zeros(tally.FREQUENT, np.int64)
        return cls(n_words, counts, how_often, int(tally.frequencies(counts, how_often)))

    def entropy_bits(self) -> float:
        if not self.n_words:
            return nan
        rare = np.flatnonzero(self.how_often[1:-1]) + 1
        total = float((self.how_often[rare] * rare * np.log2(rare)).sum())
        if self.how_often[-1]:
            often = self.counts[self.counts >= tally.FREQUENT - 1].astype(np.float64)
            total += float((often * np.log2(often)).sum())
        return abs(log2(self.n_words) - total / self.n_words)  # abs: no -0.0

    def chi_square(self) -> float:
        n, counts = self.n_words, self.counts
        if n < 2 * _MINIMUM_EXPECTED:
            return nan
        if n < _MINIMUM_EXPECTED * counts.size:
            if counts.size > 256:
                square = counts.reshape(256, 256)
                counts, n = square.sum(axis=0) + square.sum(axis=1), 2 * n
            n_bins = min(256, 1 << (n // _MINIMUM_EXPECTED).bit_length() - 1)
            counts = counts.reshape(n_bins, -1).sum(axis=1)
        expected = n / counts.size
        return float(((counts - expected) ** 2).sum() / expected)

    def alarms(self) -> set[str]:
        """Of whole words and, of words of two bytes, of their low bytes; the high ones are in `_Planes`."""
        lower, upper = square_limits(self.n_words, self.counts.size, _SHARE)
        found = set() if lower <= self.squares <= upper else {"words"}
        low = self.counts.reshape(-1, 256).sum(axis=0)
        return found if _is_flat(low) else {*found, "values"}


#: Alarm of each of `tally.PLANES`.
_PLANE_ALARMS = ("values", "differences", "differences", "rows")


@dataclass(frozen=True)
class _Planes:
    """Counts of bytes, one row for each of `tally.PLANES`, and the largest sum of squares among the blocks."""

    n_words: int
    totals: npt.NDArray[np.int64]
    worst: npt.NDArray[np.int64]

    def alarms(self) -> set[str]:
        n_blocks = self.n_words // tally.BLOCK_WORDS
        found = set()
        for plane, name in enumerate(_PLANE_ALARMS):
            if not _is_flat(self.totals[plane]):
                found.add(name)
            n_in_block = tally.BLOCK_WORDS // (1 if plane == 0 else 2)
            if n_blocks and self.worst[plane] > square_limits(n_in_block, 256, _SHARE / n_blocks)[1]:
                found.add("block")
        return found


def _count(frame: Frame) -> tuple[_Values, _Planes]:
    words = frame.reshape(-1)
    # Where there are no rows, lines of some length.
    row_length = frame.shape[1] if frame.shape[0] > 1 else isqrt(words.size)
    counts = np.zeros(1 << 8 * frame.dtype.itemsize, np.int32)
    totals, worst = np.zeros((4, 256), np.int64), np.zeros(4, np.int64)
    tally.planes(words, max(1, row_length), counts, totals, worst)
    return _Values.of(counts, words.size), _Planes(words.size, totals, worst)


def _is_flat(counts: npt.NDArray[Any]) -> bool:
    n = int(counts.sum())
    if n == 0:
        return True
    lower, upper = square_limits(n, 256, _SHARE)
    return lower <= float((counts.astype(np.float64) ** 2).sum()) <= upper


def _correlation(frame: Frame, word_bits: int) -> tuple[tuple[float, ...], bool]:
    """Coefficients in three directions, and whether noise could not have one of them."""
    half, sums, edges, corners = 1 << word_bits - 1, np.zeros(5), np.zeros((4, 2)), np.zeros(4)
    if frame.size:
        tally.products(frame, float(half), sums)
        tally.edges(frame, float(half), edges, corners)
    found, correlated = [], False
    for down, right, product in ((0, 1, sums[2]), (1, 0, sums[3]), (1, 1, sums[4])):
        n_pairs = max(0, frame.shape[0] - down) * max(0, frame.shape[1] - right)
        first = _Side.of(sums, edges, corners, bottom=bool(down), right=bool(right))
        second = _Side.of(sums, edges, corners, top=bool(down), left=bool(right))
        found.append(_coefficient(n_pairs, first, second, float(product)))
        # Words lie about half a value below the middle.
        centred = float(product) + (first.total + second.total) / 2 + n_pairs / 4
        correlated |= abs(centred) > product_limit(n_pairs, 1 << word_bits, _SHARE)
    return tuple(found), correlated


_Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Side:
    """One side of all pairs of neighbours: the sum of its words less the middle, and of their squares."""

    total: float
    squares: float

    @classmethod
    def of(
        cls,
        sums: _Sums,
        edges: _Sums,
        corners: _Sums,
        *,
        top: bool = False,
        bottom: bool = False,
        left: bool = False,
        right: bool = False,
    ) -> _Side:
        """All words but those of the edges named, see `tally.edges`."""
        total, squares = float(sums[0]), float(sums[1])
        for missing, (edge, edge_squares) in zip((top, bottom, left, right), edges, strict=True):
            if missing:
                total, squares = total - float(edge), squares - float(edge_squares)
        if (top or bottom) and (left or right):
            twice = float(corners[2 * bottom + right])
            total += twice
            squares += twice * twice
        return cls(total, squares)


def _coefficient(n_pairs: int, first: _Side, second: _Side, product: float) -> float:
    if n_pairs < 2:
        return nan
    spread = [side.squares - side.total * side.total / n_pairs for side in (first, second)]
    scale = sqrt(max(0.0, spread[0]) * max(0.0, spread[1]))
    # Rounding leaves a trace where all words are equal.
    if min(spread) <= 1e-12 * max(first.squares, second.squares, 1.0):
        return nan
    return (product - first.total * second.total / n_pairs) / scale


def _repeats_at_a_lag(data: npt.NDArray[np.uint8], word_bits: int) -> bool:
    """Whether the key stream repeats: bytes a period apart are equal wherever the plain ones are."""
    high = data[: 4 * word_bits // 8 * _MAXIMUM_LAG]
    if word_bits == 16:
        high = high.reshape(-1, 2)[:, 1 if sys.byteorder == "little" else 0]
    n_lags = min(_MAXIMUM_LAG, high.size // 2)
    n_compared = min(_MAXIMUM_LAG, high.size - n_lags)
    most = tally.coincidences(np.ascontiguousarray(high), n_compared, n_lags)
    return bool(most > binomial_limit(n_compared, 1 / 256, _SHARE / n_lags))


def _repeats(data: npt.NDArray[np.uint8]) -> int:
    n_blocks = data.size // 8
    return int(tally.repeats(data[: 8 * n_blocks].view(np.uint64), np.zeros(_SEEN_PLACES, np.uint32)))


def _stream_alarms(data: npt.NDArray[np.uint8]) -> set[str]:
    """JPEG puts 00 behind a byte FF, or a restart marker; JPEG 2000 and JPEG-LS put no byte above 8F there.

    ISO/IEC 10918-1 B.1.1.5, 15444-1 C.2.3, 14495-1 A.1. The limits hold for any number of bytes FF, hence the sum.
    """
    start = data[:_STREAM_BYTES]
    if starts_compressed(start[:65_600].tobytes(), data.size):
        return {"compressed"}
    n_marks, n_high, n_stuffed = tally.followers(start)
    level = _SHARE / start.size
    stuffed = n_stuffed > binomial_limit(n_marks, 9 / 256, level)
    return {"compressed"} if stuffed or n_high < binomial_floor(n_marks, 112 / 256, level) else set()
