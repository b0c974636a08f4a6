"""Weights of the coupling network that do not come from the cipher's key schedule: the controls, and keyed banks."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Protocol

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher import constant as const

_Int = npt.NDArray[np.int64]

#: What the key decides for one filter of the cipher: nine taps and a bias of w bits; of two odd weights w - 1 bits
#: each, less the bit that the second takes from the first.
PRODUCT_BITS_PER_WORD_BIT = const.TAPS + 1 + 2
PRODUCT_BITS_FIXED = 3


@dataclass(frozen=True, slots=True)
class Network:
    """Filters in the order of rounds and filters.

    Parameters
    ----------
    kernels
        uint16 (filters, 10): nine taps in reading order, then the bias.
    mixes
        uint16 (filters, 2): output weights for positive and for negative values, odd and equal modulo 4.
    """

    kernels: npt.NDArray[np.uint16]
    mixes: npt.NDArray[np.uint16]


class Source(Protocol):
    """Where weights come from."""

    def __call__(self, rng: np.random.Generator, count: int, word_bits: int) -> Network:
        """Draw `count` filters for frames of 8- or 16-bit words; `rng` is seeded by key and tweak."""
        ...

    def key_bits(self, word_bits: int) -> float:
        """Return the binary logarithm of how many filters there are to draw from."""
        ...


@dataclass(frozen=True, slots=True)
class Uniform:
    """As the key schedule draws them; with `odd_taps` every tap carries every bit of its sample."""

    odd_taps: bool = False

    def __call__(self, rng: np.random.Generator, count: int, word_bits: int) -> Network:
        kernels, above = _words(rng, (count, const.TAPS + 1)), _words(rng, (count,)) | 1
        if self.odd_taps:
            kernels[:, : const.TAPS] |= 1
        below = _words(rng, (count,)) & ~3 | above & 3
        return _network(kernels, np.stack([above, below], axis=1))

    def key_bits(self, word_bits: int) -> float:
        return PRODUCT_BITS_PER_WORD_BIT * word_bits - PRODUCT_BITS_FIXED - const.TAPS * self.odd_taps


@dataclass(frozen=True, slots=True)
class Small:
    """Taps -3 to 3 without 0, output weights 1 or -3 and -1 or 3, and a uniform bias."""

    def __call__(self, rng: np.random.Generator, count: int, word_bits: int) -> Network:
        taps = rng.choice(np.array([-3, -2, -1, 1, 2, 3]), (count, const.TAPS))
        pairs = np.array([(a, b) for a in (-3, -1, 1, 3) for b in (-3, -1, 1, 3) if (a - b) % 4 == 0])
        return _network(np.hstack([taps, _words(rng, (count, 1))]), pairs[rng.integers(len(pairs), size=count)])

    def key_bits(self, word_bits: int) -> float:
        return word_bits + const.TAPS * log2(6) + log2(8)


@dataclass(frozen=True, slots=True)
class Identity:
    """No key at all: every filter gives back its centre sample, so that a network of two adds twice the source."""

    def __call__(self, rng: np.random.Generator, count: int, word_bits: int) -> Network:
        kernels = np.zeros((count, const.TAPS + 1), np.int64)
        kernels[:, const.TAPS // 2] = 1
        return _network(kernels, np.tile(np.array([1, -1]), (count, 1)))

    def key_bits(self, word_bits: int) -> float:
        return 0.0


@dataclass(frozen=True)
class Keyed:
    """Filters that the key selects from banks and disguises: a sign, a symmetry of the square, a bias, a multiplier.

    Parameters
    ----------
    banks
        For each word size int64 (filters, 11): nine odd taps and two odd output weights.
    multiply
        Whether both output weights are multiplied by one odd number.
    """

    banks: dict[int, _Int]
    multiply: bool = True

    def __call__(self, rng: np.random.Generator, count: int, word_bits: int) -> Network:
        chosen = self.banks[word_bits][rng.integers(len(self.banks[word_bits]), size=count)]
        taps, mixes = chosen[:, : const.TAPS], chosen[:, const.TAPS :]
        symmetry = _symmetries()[rng.integers(8, size=count)]
        signs = rng.choice(np.array([-1, 1]), (count, 2))
        taps = np.take_along_axis(taps, symmetry, axis=1) * signs[:, :1]
        mixes = mixes * signs[:, 1:]
        if self.multiply:
            mixes = mixes * (_words(rng, (count, 1)) | 1)
        return _network(np.hstack([taps, _words(rng, (count, 1))]), mixes)

    def key_bits(self, word_bits: int) -> float:
        choices = log2(len(self.banks[word_bits])) + log2(8) + 1 + word_bits
        # The multiplier's odd numbers contain the sign.
        return choices + (word_bits - 1 if self.multiply else 1)


def _symmetries() -> _Int:
    """Index lists (8, 9) of the rotations and reflections of a 3x3 kernel."""
    square = np.arange(const.TAPS).reshape(3, 3)
    turned = [np.rot90(square, turns) for turns in range(4)]
    return np.array([grid.reshape(-1) for turn in turned for grid in (turn, turn.T)])


def _words(rng: np.random.Generator, shape: tuple[int, ...]) -> _Int:
    return rng.integers(1 << 16, size=shape)


def _network(kernels: _Int, mixes: _Int) -> Network:
    return Network((kernels & 0xFFFF).astype(np.uint16), (mixes & 0xFFFF).astype(np.uint16))
