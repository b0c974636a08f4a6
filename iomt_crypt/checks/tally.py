"""Counting over the words of a frame: the compiled loops of `statistic`. Each word is read once for most counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Words = npt.NDArray[np.unsignedinteger[Any]]
_Counts = npt.NDArray[np.int64]

#: What each row of `planes` counts. 8-bit words have no low byte of their own: its row stays empty.
PLANES = (
    "high bytes",
    "low bytes of differences",
    "high bytes of differences",
    "high bytes of rows xor rows",
)
#: Words of a block: small enough that a stripe of a few rows fills one.
BLOCK_WORDS = 2048
#: Entropy is summed by how often a value occurs; from here on one by one.
FREQUENT = 1024


def _compiled(function: _Function, *, fastmath: bool = False) -> _Function:
    """Compile on first use without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False, cache=True, fastmath=fastmath))
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False, fastmath=fastmath))


def _kernel(function: _Function) -> _Function:
    return _compiled(function)


def _kernel_exact(function: _Function) -> _Function:
    """For sums of floating-point numbers that are exact in any order, so that it may be the compiler's."""
    return _compiled(function, fastmath=True)


@_kernel
def _count_wide(
    words: _Words,
    start: int,
    stop: int,
    row_length: int,
    stop_over: int,
    values: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int32],
) -> None:
    """Count 16-bit words from ``start`` (even) to ``stop``, two at a time; rows are compared up to ``stop_over``."""
    for i in range(start, stop - 1, 2):
        first, second = words[i], words[i + 1]
        values[first] += 1
        values[second] += 1
        counts[0, first >> 8] += 1
        counts[0, second >> 8] += 1
        difference = np.uint16(second - first)
        counts[1, difference & 255] += 1
        counts[2, difference >> 8] += 1
        if i < stop_over:
            counts[3, (first ^ words[i + row_length]) >> 8] += 1
    if (stop - start) & 1:
        values[words[stop - 1]] += 1
        counts[0, words[stop - 1] >> 8] += 1


@_kernel
def _count_narrow(
    words: _Words, start: int, stop: int, row_length: int, stop_over: int, counts: npt.NDArray[np.int32]
) -> None:
    """`_count_wide` for 8-bit words."""
    for i in range(start, stop - 1, 2):
        first, second = words[i], words[i + 1]
        counts[0, first] += 1
        counts[0, second] += 1
        counts[2, np.uint8(second - first)] += 1
        if i < stop_over:
            counts[3, first ^ words[i + row_length]] += 1
    if (stop - start) & 1:
        counts[0, words[stop - 1]] += 1


@_kernel
def planes(words: _Words, row_length: int, values: npt.NDArray[np.int32], totals: _Counts, worst: _Counts) -> None:
    """Count words and bytes over the whole vector, and find the block of each plane that is furthest from flat.

    Differences are those of words 2i and 2i + 1, and rows are compared at every other word: half the pairs, which are
    independent like all of them, at half the cost.

    Parameters
    ----------
    words
        uint8 or uint16 (n,).
    row_length
        Distance of the words that are compared across rows, 1 or more.
    values
        int32 (2^b,), zeros; filled: how often each word occurs.
    totals
        int64 (4, 256), zeros; filled.
    worst
        int64 (4,), zeros; for each plane the largest sum of squares of a full block.
    """
    n = words.size
    n_over = max(0, n - row_length)  # words with one below them
    wide = values.size > 256
    counts = np.zeros((4, 256), np.int32)
    for start in range(0, n, BLOCK_WORDS):
        stop = min(start + BLOCK_WORDS, n)
        counts[:] = 0
        if wide:
            _count_wide(words, start, stop, row_length, min(stop, n_over), values, counts)
        else:
            _count_narrow(words, start, stop, row_length, min(stop, n_over), counts)
        # Of the last full block the second half may lack its row below.
        full = stop - start == BLOCK_WORDS
        for plane in range(4):
            squares = np.int32(0)  # below BLOCK_WORDS^2, and narrow, so that many fit into a register
            for value in range(256):
                count = counts[plane, value]
                squares = np.int32(squares + np.int32(count * count))
                totals[plane, value] += count
            if full and (plane < 3 or stop <= n_over):
                worst[plane] = max(worst[plane], squares)
    if not wide:
        for value in range(256):
            values[value] = totals[0, value]


@_kernel_exact
def products(frame: _Words, centre: float, sums: npt.NDArray[np.float64]) -> None:
    """Sum over a frame of words less ``centre``: x, x^2, and x times its right, lower and lower right neighbour.

    ``sums``: float64 (5,), zeros; filled. Sums of whole numbers below 2^53, so that their order does not matter.
    """
    rows, columns = frame.shape
    for row in range(rows):
        under = min(row + 1, rows - 1)  # of the last row the products with itself are thrown away
        total = squares = right = below = diagonal = 0.0
        for column in range(columns - 1):
            x = np.float64(frame[row, column]) - centre
            total += x
            squares += x * x
            right += x * (np.float64(frame[row, column + 1]) - centre)
            below += x * (np.float64(frame[under, column]) - centre)
            diagonal += x * (np.float64(frame[under, column + 1]) - centre)
        x = np.float64(frame[row, columns - 1]) - centre
        sums[0] += total + x
        sums[1] += squares + x * x
        sums[2] += right
        if under > row:
            sums[3] += below + x * (np.float64(frame[under, columns - 1]) - centre)
            sums[4] += diagonal


@_kernel_exact
def edges(frame: _Words, centre: float, sums: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]) -> None:
    """Sum over the first and last row and the first and last column of words less ``centre``.

    Parameters
    ----------
    sums
        float64 (4, 2), zeros; filled with the sums of x and of x^2: top, bottom, left, right.
    corners
        float64 (4,), filled with x: top left, top right, bottom left, bottom right.
    """
    last_row, last_column = frame.shape[0] - 1, frame.shape[1] - 1
    for edge in range(2):
        total = squares = 0.0
        for column in range(last_column + 1):
            x = np.float64(frame[edge * last_row, column]) - centre
            total += x
            squares += x * x
        sums[edge, 0], sums[edge, 1] = total, squares
        total = squares = 0.0
        for row in range(last_row + 1):
            x = np.float64(frame[row, edge * last_column]) - centre
            total += x
            squares += x * x
        sums[2 + edge, 0], sums[2 + edge, 1] = total, squares
        corners[2 * edge] = np.float64(frame[edge * last_row, 0]) - centre
        corners[2 * edge + 1] = np.float64(frame[edge * last_row, last_column]) - centre


@_kernel
def frequencies(values: npt.NDArray[np.int32], how_often: _Counts) -> np.int64:
    """Count how many values occur how often; return the sum of the squared counts.

    ``how_often``: int64 (`FREQUENT`,), zeros; filled, the last entry with all that occur so often or more.
    """
    squares = np.int64(0)
    for value in range(values.size):
        count = np.int64(values[value])
        squares += count * count
        how_often[count if count < FREQUENT else FREQUENT - 1] += 1
    return squares


@_kernel
def coincidences(data: npt.NDArray[np.uint8], n_compared: int, n_lags: int) -> np.int64:
    """Return how often byte i equals byte i + lag, i below ``n_compared``, for the lag from 1 on where that is most.

    ``data`` has ``n_compared + n_lags`` bytes or more, ``n_compared`` is below 2^15.
    """
    most = np.int16(0)
    for lag in range(1, n_lags + 1):
        equal = np.int16(0)  # narrow, so that many fit into a register
        for i in range(n_compared):
            equal = np.int16(equal + np.int16(data[i] == data[i + lag]))
        most = max(most, equal)
    return np.int64(most)


@_kernel
def repeats(blocks: npt.NDArray[np.uint64], seen: npt.NDArray[np.uint32]) -> int:
    """Count blocks of 8 bytes that occurred before and were not forgotten since.

    ``seen``: uint32 (32768,), zeros. It keeps 32 bits of the last block at each of its places; noise makes a false
    count with probability 2^-32 for each block.
    """
    n_repeated = 0
    for i in range(blocks.size):
        mixed = blocks[i] * np.uint64(0x9E3779B97F4A7C15)
        place = (mixed >> np.uint64(17)) & np.uint64(32767)
        mark = np.uint32(mixed >> np.uint64(32))
        n_repeated += seen[place] == mark
        seen[place] = mark
    return n_repeated


@_kernel
def followers(data: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Count bytes FF, those followed by more than 8F, and those followed by 00 or D0 to D7."""
    n_marks = n_high = n_stuffed = 0
    for i in range(data.size - 1):
        if data[i] == 255:
            following = data[i + 1]
            n_marks += 1
            n_high += following > 0x8F
            n_stuffed += (following == 0) | ((following & 0xF8) == 0xD0)
    return n_marks, n_high, n_stuffed


@_kernel
def differences(first: _Words, second: _Words, counts: _Counts) -> None:
    """Count the bytes of the words of two vectors xor each other.

    ``counts``: int64 (2, 256), zeros; filled with low bytes and, where words have them, high bytes.
    """
    for i in range(first.size):
        word = np.int64(first[i]) ^ np.int64(second[i])
        counts[0, word & 255] += 1
        counts[1, word >> 8] += 1


@_kernel
def channels(
    words: _Words, whole: npt.NDArray[np.float32], low: npt.NDArray[np.float32], found: npt.NDArray[np.float32]
) -> None:
    """What two tables say of the bytes of 16-bit words, low byte first.

    ``whole``, ``low``: float32 (256,). ``found``: float32 (n, 4), filled: ``whole`` of both bytes, ``low`` of both.
    """
    for i in range(words.size):
        first, second = words[i] & 255, words[i] >> 8
        found[i, 0] = whole[first]
        found[i, 1] = whole[second]
        found[i, 2] = low[first]
        found[i, 3] = low[second]
