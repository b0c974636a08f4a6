"""From the leaves of the search to a pair's whole state, and to the words that come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.cryptanalysis.search import Half, Ints, walk


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane, found. Weyl word and increment are those of the first known word; state is x before the last one."""

    weyl: int
    increment: int
    state: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """A pair, found or not.

    Parameters
    ----------
    pair
        Both lanes, or None.
    n_nodes
        Nodes of both walks.
    n_tried
        Candidates for whole Weyl sequences that were tried after them.
    """

    pair: tuple[Lane, Lane] | None
    n_nodes: int
    n_tried: int


def recover(words: npt.NDArray[np.uint64], word_bits: int) -> Recovery:
    """Find the state of a bare pair from nothing but its words, uint64 (steps, 2)."""
    both = words.astype(np.int64).T.copy()
    trees = [walk(both[lane], both[1 - lane], word_bits) for lane in (0, 1)]
    pair: list[Lane] = []
    n_tried = 0
    for lane in (0, 1):
        found = None
        for low in trees[lane].leaves:
            # What A's search tells of B, B's tells of A: low bits from the one, middle bits from the other.
            for middle in trees[1 - lane].leaves:
                found, tried = _complete(both[lane], both[1 - lane], low, middle, word_bits)
                n_tried += tried
                if found is not None:
                    break
            if found is not None:
                break
        if found is None:
            return Recovery(None, sum(tree.n_nodes for tree in trees), n_tried)
        pair.append(found)
    return Recovery((pair[0], pair[1]), sum(tree.n_nodes for tree in trees), n_tried)


def predict(pair: tuple[Lane, Lane], n_known: int, n_steps: int, word_bits: int) -> npt.NDArray[np.uint64]:
    """Return the words that follow the known ones, uint64 (n_steps, 2)."""
    mask, shift = (1 << word_bits) - 1, word_bits // 4
    state = [lane.state for lane in pair]
    rows = []
    for step in range(n_known - 1, n_known + n_steps):
        weyl = [(lane.weyl + step * lane.increment) & mask for lane in pair]
        product = [x * (mask - x) for x in state]
        rows.append([(p >> shift) & mask ^ w for p, w in zip(product, weyl, strict=True)])
        state = [(product[1 - k] >> (word_bits - 2)) + weyl[k] & mask for k in (0, 1)]
    return np.array(rows[1:], np.uint64)


def _complete(words: Ints, partner_words: Ints, low: Half, middle: Half, word_bits: int) -> tuple[Lane | None, int]:
    r = word_bits // 4
    steps = np.arange(len(low.line))
    top = partner_words[:-1] >> (word_bits - 2 - r)
    state_low = ((top ^ low.line) + low.weyl_low + steps * low.increment_low) & ((1 << r) - 1)
    answer = np.zeros(4, np.int64)
    _try_all(word_bits, words, low.weyl_low, low.increment_low, state_low, middle.line, answer)
    if not answer[0]:
        return None, int(answer[3])
    weyl, increment = int(answer[1]), int(answer[2])
    last = len(words) - 1
    seen = int(words[last]) ^ (weyl + last * increment) & ((1 << word_bits) - 1)
    return Lane(weyl, increment, int(_solve(word_bits, seen, state_low[last - 1]))), int(answer[3])


@numba.njit(cache=True)
def _solve(bits: int, seen: int, low: int) -> int:
    """x from its lowest r bits and from (p >> r) mod 2^w: bit k of p changes with bit k of x, whatever is below."""
    r, all_ones = bits // 4, (1 << bits) - 1
    x = low
    for k in range(r, bits):
        if ((x * (all_ones - x)) >> k ^ seen >> (k - r)) & 1:
            x |= 1 << k
    return x


@numba.njit(cache=True)
def _fits(bits: int, words: Ints, weyl: int, increment: int, state_low: Ints) -> bool:
    """Whether every word gives an x whose product has the word's top bits too."""
    r, all_ones = bits // 4, (1 << bits) - 1
    for t in range(1, len(words)):
        seen = words[t] ^ (weyl + t * increment) & all_ones
        x = _solve(bits, seen, state_low[t - 1])
        if (x * (all_ones - x)) >> r & all_ones != seen:
            return False
    return True


@numba.njit(cache=True)
def _try_all(bits: int, words: Ints, low: int, step_low: int, state_low: Ints, line: Ints, answer: Any) -> None:
    """Try every Weyl sequence with these low bits whose middle bits are `line`; the two top bits are free."""
    r = bits // 4
    unit = 1 << (bits - 2 - r)
    slope_low, slope_high = -float(1 << r), float(2 << r)
    for t in range(1, len(line)):
        for q in range(t):
            slope_low = max(slope_low, (line[t] - line[q] - 1) / (t - q))
            slope_high = min(slope_high, (line[t] - line[q] + 1) / (t - q))
    step = np.int64(np.floor(slope_low * unit)) - 1
    step += (step_low - step) % (1 << r)
    while step <= slope_high * unit + 1:
        start, end = line[0] * unit, (line[0] + 1) * unit
        for t in range(1, len(line)):
            start = max(start, line[t] * unit - t * step)
            end = min(end, (line[t] + 1) * unit - t * step)
        start += (low - start) % (1 << r)
        for weyl in range(start, end, 1 << r):
            for tops in range(16):
                answer[3] += 1
                whole = (weyl % (1 << (bits - 2))) | (tops & 3) << (bits - 2)
                whole_step = (step % (1 << (bits - 2))) | (tops >> 2) << (bits - 2)
                if _fits(bits, words, whole, whole_step, state_low):
                    answer[0], answer[1], answer[2] = 1, whole, whole_step
                    return
        step += 1 << r
