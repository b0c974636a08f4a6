"""Lanes of any word size, bare as they were up to decision 6 and veiled as they are since decision 8.

A lane of w bits is that of docs/SPEC.md section 6 with w for 32 and w / 4 for 8: p = x (2^w - 1 - x), a word is
(p >> w/4) ^ W, a veil p >> 3w/4, the next state of the partner (p >> (w - 2)) + W. With 32 bits and 128 lanes the
stream is the cipher's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Lanes:
    """Seeds of lanes.

    Parameters
    ----------
    word_bits
        4 to 32, a multiple of 4.
    state, weyl, increment
        uint64 (lanes), below 2^word_bits; increments odd. The number of lanes is a multiple of 8.
    """

    word_bits: int
    state: Words
    weyl: Words
    increment: Words

    @classmethod
    def random(cls, word_bits: int, n_lanes: int, rng: np.random.Generator) -> Lanes:
        """Draw uniform seeds."""
        state, weyl, increment = rng.integers(0, 1 << word_bits, (3, n_lanes), dtype=np.uint64)
        return cls(word_bits, state, weyl, increment | np.uint64(1))


@dataclass(frozen=True, slots=True)
class Trace:
    """What lanes did, all uint64 (steps, lanes).

    Parameters
    ----------
    words
        Words before the veil.
    veils
        What covers the words of the lanes a quarter further on.
    weyl
        Weyl words as they entered the words.
    state
        x before each step, and after the last one: one row more.
    """

    words: Words
    veils: Words
    weyl: Words
    state: Words

    @property
    def veiled(self) -> Words:
        """The key stream since decision 8: one step less, because the first gives only veils."""
        n_lanes = self.words.shape[1]
        veils = self.veils.reshape(-1)[n_lanes - n_lanes // 4 :]
        words = self.words.reshape(-1)[n_lanes:]
        return (words ^ veils[: words.size]).reshape(-1, n_lanes)


def run_lanes(lanes: Lanes, n_steps: int) -> Trace:
    """Take steps and write down everything."""
    bits = lanes.word_bits
    mask, partner = np.uint64((1 << bits) - 1), np.arange(lanes.state.size) ^ 1
    state, weyl = lanes.state, lanes.weyl
    rows: dict[str, list[Any]] = {"words": [], "veils": [], "weyl": [], "state": [state]}
    for _ in range(n_steps):
        weyl = (weyl + lanes.increment) & mask
        product = state * (mask - state)
        rows["words"].append((product >> np.uint64(bits // 4)) & mask ^ weyl)
        rows["veils"].append((product >> np.uint64(3 * bits // 4)) & mask)
        rows["weyl"].append(weyl)
        state = ((product >> np.uint64(bits - 2))[partner] + weyl) & mask
        rows["state"].append(state)
    return Trace(**{name: np.array(values) for name, values in rows.items()})


def first_word_counts(word_bits: int) -> npt.NDArray[np.int64]:
    """Count the first word that is used, over all Weyl words and increments, for each state that the partner hands on.

    All equal, so that uniform seeds give uniform words, whatever the other lanes do: up to 512 bytes a key stream is
    as good as its seeds.

    Returns
    -------
    ndarray
        int64 (2^word_bits handed over, 2^word_bits words).
    """
    values = np.arange(1 << word_bits)
    mask = values.size - 1
    weyl, increment = (part.reshape(-1) for part in np.meshgrid(values, values[1::2]))
    after_one = weyl + increment & mask
    counts = []
    for handed in values:
        state = handed + after_one & mask
        words = (state * (mask - state) >> word_bits // 4 ^ after_one + increment) & mask
        counts.append(np.bincount(words, minlength=values.size))
    return np.array(counts)


def middle_bit_counts(word_bits: int) -> npt.NDArray[np.int64]:
    """Count the values of bits 1 to word_bits - 1 of p over all x: 2 each, as x and its complement have the same p."""
    x = np.arange(1 << word_bits)
    product = x * (x.size - 1 - x)
    return np.bincount((product >> 1) & (x.size // 2 - 1), minlength=x.size // 2)
