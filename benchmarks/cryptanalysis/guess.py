"""Guess and determine over whole words: how many words of a generator must be guessed until the rest follows.

Every relation of the lanes joins three words, any two of which give the third (or a short list): a known output joins
two states and a Weyl word (bare: one state and one Weyl word), a step joins x, the partner's x before and W, a Weyl
sequence joins two of its words and the increment. All sets of guesses up to a size are tried; a set counts if it
determines everything, or if it makes a relation redundant, so that wrong guesses show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class System:
    """Relations between words.

    Parameters
    ----------
    names
        What each word is.
    relations
        int64 (relations, 3): words of which any two give the third.
    n_counted
        The first relations, all but those of Weyl sequences.
    sequences
        int64 (lanes, steps + 1): words of each Weyl sequence, the increment last.
    """

    names: tuple[str, ...]
    relations: npt.NDArray[np.int64]
    n_counted: int
    sequences: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """All sets of `size` guesses: how far the best goes, how many determine everything, how many could be checked."""

    size: int
    n_words: int
    most_determined: int
    n_complete: int
    n_checkable: int


def bare_pair(n_steps: int) -> System:
    """Two lanes up to decision 6."""
    return _system(2, n_steps, lambda lane, step: (None, step))


def group_of_four(n_steps: int) -> System:
    """Lanes l, l ^ 1, l ^ 64, l ^ 65, each output under the next state of l ^ 64: what decision 8 did not choose."""
    return _system(4, n_steps, lambda lane, step: (lane ^ 3, step))


def veiled_ring(n_steps: int) -> System:
    """Eight lanes, l and l ^ 1 with those 32, 64 and 96 further on: decision 8."""
    return _system(8, n_steps, lambda lane, step: (lane - 2, step) if lane >= 2 else (lane + 6, step - 1))


def verdicts(system: System, largest: int) -> Iterator[Verdict]:
    """Try all sets of guesses of 1 to `largest` words."""
    for size in range(1, largest + 1):
        most, complete, checkable = _scan(len(system.names), system.relations, system.n_counted, system.sequences, size)
        yield Verdict(size, len(system.names), int(most), int(complete), int(checkable))


def _system(n_lanes: int, n_steps: int, cover: Any) -> System:
    names = [f"x{lane}({t})" for t in range(n_steps + 1) for lane in range(n_lanes)]
    names += [f"W{lane}({t})" for t in range(n_steps) for lane in range(n_lanes)]
    names += [f"c{lane}" for lane in range(n_lanes)]
    index = {name: k for k, name in enumerate(names)}
    relations = []
    for t in range(n_steps):
        for lane in range(n_lanes):
            other, when = cover(lane, t)
            known = [index[f"x{lane}({t})"], index[f"W{lane}({t})"]]
            # Two words stand for three by naming one twice.
            if other is None:
                relations.append([*known, known[0]])
            elif when >= 0:
                relations.append([*known, index[f"x{other}({when})"]])
            relations.append([index[f"x{lane}({t + 1})"], index[f"x{lane ^ 1}({t})"], index[f"W{lane}({t})"]])
    n_counted = len(relations)
    sequences = [[index[f"W{lane}({t})"] for t in range(n_steps)] + [index[f"c{lane}"]] for lane in range(n_lanes)]
    for words in sequences:
        relations += [[words[s], words[t], words[-1]] for t in range(n_steps) for s in range(t)]
    return System(tuple(names), np.array(relations), n_counted, np.array(sequences))


@numba.njit(cache=True)
def _close(known: Any, relations: Any) -> None:
    """Mark everything that follows."""
    changed = True
    while changed:
        changed = False
        for k in range(len(relations)):
            a, b, c = relations[k]
            # a == c: a relation of two words
            if a == c:
                if known[a] != known[b]:
                    known[a] = known[b] = 1
                    changed = True
            elif known[a] + known[b] + known[c] == 2:
                known[a] = known[b] = known[c] = 1
                changed = True


@numba.njit(cache=True)
def _spare(known: Any, relations: Any, n_counted: int, sequences: Any, size: int) -> int:
    """Relations among known words beyond those that were needed to determine them."""
    held = 0
    for k in range(n_counted):
        held += known[relations[k, 0]] & known[relations[k, 1]] & known[relations[k, 2]]
    n_known = 0
    for k in range(len(known)):
        n_known += known[k]
    for lane in range(len(sequences)):
        seen = 0
        for word in sequences[lane]:
            seen += known[word]
        held += max(0, seen - 2)
    return held - (n_known - size)


@numba.njit(cache=True)
def _scan(n_words: int, relations: Any, n_counted: int, sequences: Any, size: int) -> tuple[int, int, int]:
    """Go through all sets of guesses none of which follows from the others."""
    chosen = np.arange(size)
    known, without = np.zeros(n_words, np.uint8), np.zeros(n_words, np.uint8)
    most = complete = checkable = 0
    while True:
        known[:] = 0
        known[chosen] = 1
        _close(known, relations)
        n_known = 0
        for k in range(n_words):
            n_known += known[k]
        most = max(most, n_known)
        complete += n_known == n_words
        if _spare(known, relations, n_counted, sequences, size) > 0:
            idle = False
            for k in range(size):
                without[:] = 0
                without[chosen] = 1
                without[chosen[k]] = 0
                _close(without, relations)
                idle |= without[chosen[k]] == 1
            checkable += not idle
        place = size - 1
        while place >= 0 and chosen[place] == n_words - size + place:
            place -= 1
        if place < 0:
            return most, complete, checkable
        chosen[place] += 1
        for k in range(place + 1, size):
            chosen[k] = chosen[k - 1] + 1
