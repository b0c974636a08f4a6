"""State recovery of a bare pair of lanes, as it was up to decision 6: about 2^w, not 2^(2w).

Lanes A and B of w bits, r = w / 4. Three facts:
(1) the lowest r + 2 bits of p >> (w - 2), the partner's next state, are the top bits of the word (p >> r) ^ W;
(2) the lowest k bits of p depend on the lowest k bits of x alone;
(3) the lowest k bits of a Weyl sequence depend on its own lowest k bits alone, and the r bits from bit w - 2 - r on are
a line that a few leading bits tell well.

So guess the lowest r bits of A's Weyl word and increment (2r - 1 bits), then walk down the tree of all lines modulo 2^r
that the middle bits of B's Weyl word can take. They give the lowest r + 1 bits of A's state after every step (bit r up
to two unknown bits that the first two steps show), hence bit r of p, hence bit 0 of A's next word: one check for each
step. Then the same with A and B exchanged. Each half of the answer holds the low bits of one and the middle bits of the
other, and the few bits that are left are tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.cryptanalysis.lane import Words

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Half:
    """One leaf of the tree.

    Parameters
    ----------
    weyl_low, increment_low
        Lowest r bits of A's Weyl word at the first step and of its increment.
    line
        Middle bits of B's Weyl word at each step, not reduced modulo 2^r; int64 (steps - 1).
    """

    weyl_low: int
    increment_low: int
    line: Ints


@dataclass(frozen=True, slots=True)
class Tree:
    """A walk: its leaves and how many nodes it took, over all and over the part that was walked."""

    leaves: tuple[Half, ...]
    n_nodes: int
    share: float


def walk(words: Ints, partner_words: Ints, word_bits: int, *, around: int | None = None, n_roots: int = 0) -> Tree:
    """Search for the low bits of one lane and the middle bits of its partner.

    Parameters
    ----------
    words, partner_words
        int64 (steps): known words of A and of B.
    around, n_roots
        Walk only the n_roots of the 2^(2r - 1) subtrees around this root (`root_of`). None: the whole tree.
    """
    n_all = 1 << (word_bits // 2 - 1)
    first, last = 0, n_all
    if around is not None:
        first = min(max(0, around - n_roots // 2), n_all - n_roots)
        last = first + n_roots
    leaves = np.zeros((4096, len(words) + 1), np.int64)
    n_nodes, n_leaves = _walk(word_bits, words, partner_words, first, last, leaves)
    if n_leaves > len(leaves):
        raise ValueError(f"{n_leaves} leaves, room for {len(leaves)}: give more words than {len(words)}")
    halves = tuple(Half(int(leaf[0]), int(leaf[1]), leaf[2:].copy()) for leaf in leaves[:n_leaves])
    return Tree(halves, int(n_nodes), (last - first) / n_all)


def root_of(weyl: int, increment: int, word_bits: int) -> int:
    """Return the subtree that holds these low bits."""
    low = (1 << word_bits // 4) - 1
    return (weyl & low) | ((increment & low) >> 1) << word_bits // 4


def agreement(words: Words, weyl: Words, word_bits: int) -> float:
    """Return how often the check of the search holds for the true Weyl words: 1 if words are bare, 1/2 if it is blind.

    Parameters
    ----------
    words, weyl
        uint64 (steps, lanes): known words, and the Weyl words in them.
    """
    r = np.uint64(word_bits // 4)
    field, all_ones = np.uint64((1 << (word_bits // 4 + 1)) - 1), np.uint64((1 << word_bits) - 1)
    partner = np.arange(words.shape[1]) ^ 1
    top = (words ^ weyl)[:-1, partner] >> np.uint64(word_bits - 2 - word_bits // 4)
    x = (top + weyl[:-1]) & field
    return float(((x * (all_ones - x) >> r ^ words[1:] ^ weyl[1:]) & np.uint64(1) == 0).mean())


@numba.njit(cache=True)
def _checks(bits: int, words: Ints, partner_words: Ints, weyl: int, increment: int, table: Any) -> None:
    """table[t, u]: bit r of p at step t + 1, exclusive or what A's word shows of it, if B's middle bits are u at t."""
    r = bits // 4
    field, all_ones = (1 << (r + 1)) - 1, (1 << bits) - 1
    for t in range(len(words) - 1):
        low = weyl + t * increment
        shown = (words[t + 1] ^ (weyl + (t + 1) * increment)) & 1
        top = partner_words[t] >> (bits - 2 - r)
        for u in range(1 << r):
            x = ((top ^ u) + low) & field
            table[t, u] = ((x * (all_ones - x)) >> r & 1) ^ shown


@numba.njit(cache=True)
def _narrow(line: Ints, t: int, value: int, low: float, high: float) -> tuple[float, float]:
    """Slopes that a line through [line[q], line[q] + 1) for all q < t and [value, value + 1) at t can have."""
    for q in range(t):
        low = max(low, (value - line[q] - 1) / (t - q))
        high = min(high, (value - line[q] + 1) / (t - q))
    return low, high


@numba.njit(cache=True)
def _walk(bits: int, words: Ints, partner_words: Ints, first: int, last: int, leaves: Ints) -> tuple[int, int]:
    """Depth first over lines; a leaf is a line that passes every check."""
    r = bits // 4
    size, low_mask, steps = 1 << r, (1 << r) - 1, len(words) - 1
    table = np.zeros((steps, size), np.uint8)
    line, upto = np.zeros(steps, np.int64), np.zeros(steps, np.int64)
    now = np.zeros(steps, np.int64)
    low, high = np.zeros(steps), np.zeros(steps)
    n_nodes = n_leaves = 0
    for root in range(first, last):
        weyl, increment = root & low_mask, root >> r << 1 | 1
        _checks(bits, words, partner_words, weyl, increment, table)
        for branch in range(size * size):
            line[0], slope = branch & low_mask, branch >> r
            line[1] = line[0] + slope
            # bit r of x is unknown up to a constant and a constant for each step: the first two checks tell them
            constant = table[0, line[0]]
            each = table[1, line[1] & low_mask] ^ (line[1] >> r & 1) ^ constant
            low[1], high[1] = slope - 1.0, slope + 1.0
            t, now[2], upto[2] = 2, line[1] + slope - 1, line[1] + slope + 1
            while t >= 2:
                if now[t] > upto[t]:
                    t -= 1
                    continue
                value = now[t]
                now[t] += 1
                n_nodes += 1
                if table[t, value & low_mask] ^ (value >> r & 1) ^ constant ^ (each & t & 1):
                    continue
                low[t], high[t] = _narrow(line, t, value, low[t - 1], high[t - 1])
                if low[t] >= high[t] - 1e-12:
                    continue
                line[t] = value
                if t < steps - 1:
                    now[t + 1] = np.int64(np.floor(value + low[t]))
                    upto[t + 1] = np.int64(np.floor(value + 1 + high[t]))
                    t += 1
                    continue
                if n_leaves < len(leaves):
                    leaves[n_leaves, 0], leaves[n_leaves, 1] = weyl, increment
                    leaves[n_leaves, 2:] = line
                n_leaves += 1
    return n_nodes, n_leaves
