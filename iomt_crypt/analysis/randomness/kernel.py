"""The compiled loops of the tests of SP 800-22; they release the GIL and change only what they create."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.result import Bits

_I64 = npt.NDArray[np.int64]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Largest distance from zero at which the tests of excursions and of their variant count visits.
NEAR: Final = 4
FAR: Final = 9
#: Numbers of visits within a cycle are counted in the classes 0, 1, 2, 3, 4, and 5 or more.
VISIT_CLASSES: Final = 6


def compiled(function: _Function) -> _Function:
    """Compile on first use without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False, cache=True))
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False))


@compiled
def longest_runs(blocks: Bits) -> _I64:
    """Length of the longest run of ones in each row of uint8 (n_blocks, block_size)."""
    longest = np.zeros(blocks.shape[0], np.int64)
    for block in range(blocks.shape[0]):
        best = 0
        run = 0
        for bit in blocks[block]:
            run = run + 1 if bit else 0
            best = max(best, run)
        longest[block] = best
    return longest


@compiled
def count_patterns(bits: Bits, length: int, n_starts: int) -> _I64:
    """How often each pattern of `length` bits, first bit on top, begins at the first `n_starts` places.

    What goes over the end continues at the beginning.
    """
    counts = np.zeros(1 << length, np.int64)
    mask = (1 << length) - 1
    value = np.int64(0)
    for i in range(length - 1):
        value = (value << 1) | np.int64(bits[i % bits.size])
    for start in range(n_starts):
        end = start + length - 1
        while end >= bits.size:
            end -= bits.size
        value = ((value << 1) | np.int64(bits[end])) & mask
        counts[value] += 1
    return counts


@compiled
def matrix_ranks(rows: _U32) -> _I64:
    """Ranks over GF(2) of square matrices, uint32 (n_matrices, 32)."""
    ranks = np.zeros(rows.shape[0], np.int64)
    for k in range(rows.shape[0]):
        matrix = rows[k].copy()
        rank = 0
        for column in range(32):
            bit = np.uint32(1) << np.uint32(column)
            pivot = rank
            while pivot < 32 and not matrix[pivot] & bit:
                pivot += 1
            if pivot == 32:
                continue
            row = matrix[pivot]
            matrix[pivot] = matrix[rank]
            matrix[rank] = row
            for other in range(rank + 1, 32):
                if matrix[other] & bit:
                    matrix[other] ^= row
            rank += 1
        ranks[k] = rank
    return ranks


@compiled
def linear_complexity_of(bits: Bits) -> int:
    """Length of the shortest linear feedback shift register that gives the bits (Massey 1969), on 64 bits at a time."""
    n_words = bits.size // 64 + 1
    polynomial = np.zeros(n_words, np.uint64)
    before = np.zeros(n_words, np.uint64)  # the polynomial before the last change of length, times x^steps since
    history = np.zeros(n_words, np.uint64)  # bit i is the sequence's bit i steps ago
    saved = np.zeros(n_words, np.uint64)
    polynomial[0] = before[0] = np.uint64(1)
    complexity = 0
    one, top = np.uint64(1), np.uint64(63)
    for step in range(bits.size):
        carry, carry_before = np.uint64(bits[step]), np.uint64(0)
        sum_bits = np.uint64(0)
        for k in range(n_words):
            word = history[k]
            history[k] = (word << one) | carry
            carry = word >> top
            word = before[k]
            before[k] = (word << one) | carry_before
            carry_before = word >> top
            sum_bits ^= polynomial[k] & history[k]
        if not _odd(sum_bits):
            continue
        longer = 2 * complexity <= step
        for k in range(n_words):
            saved[k] = polynomial[k]
            polynomial[k] ^= before[k]
        if longer:
            complexity = step + 1 - complexity
            before, saved = saved, before
    return complexity


@compiled
def _odd(word: np.uint64) -> bool:
    for shift in (32, 16, 8, 4, 2, 1):
        word ^= word >> np.uint64(shift)
    return bool(word & np.uint64(1))


@compiled
def linear_complexities(blocks: Bits) -> _I64:
    """Linear complexity of each row of uint8 (n_blocks, block_size)."""
    found = np.empty(blocks.shape[0], np.int64)
    for block in range(blocks.shape[0]):
        found[block] = linear_complexity_of(blocks[block])
    return found


@compiled
def distance_logarithms(symbols: _U32, n_first: int, n_symbols: int) -> float:
    """Sum over the symbols behind the first `n_first` of log2 of the distance to the last equal one (Maurer 1992).

    A symbol that has not been seen counts from before the beginning.
    """
    last = np.zeros(n_symbols, np.int64)
    total = 0.0
    for i in range(symbols.size):
        if i >= n_first:
            total += log2(i + 1 - last[symbols[i]])
        last[symbols[i]] = i + 1
    return total


@compiled
def excursions(bits: Bits) -> tuple[int, _I64, _I64]:
    """Walk by +1 and -1 from zero, in cycles from zero to zero; the last ends with the sequence.

    Returns
    -------
    int
        Number of cycles J.
    ndarray
        int64 (9, 6): number of cycles by state -4 to +4 and by how often they visit it (5: 5 or more).
    ndarray
        int64 (19,): visits of the states -9 to +9.
    """
    classes = np.zeros((2 * NEAR + 1, VISIT_CLASSES), np.int64)
    visits = np.zeros(2 * FAR + 1, np.int64)
    here = np.zeros(2 * NEAR + 1, np.int64)
    n_cycles = 0
    place = 0
    for i in range(bits.size):
        place += 1 if bits[i] else -1
        if -FAR <= place <= FAR:
            visits[place + FAR] += 1
        if -NEAR <= place <= NEAR:
            here[place + NEAR] += 1
        if place == 0 or i == bits.size - 1:
            n_cycles += 1
            for state in range(2 * NEAR + 1):
                classes[state, min(here[state], VISIT_CLASSES - 1)] += 1
                here[state] = 0
    return n_cycles, classes, visits
