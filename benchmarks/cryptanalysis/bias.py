"""Key streams of special seeds: which of them can be told from random bits, and how likely such seeds are.

Seeds come from SHAKE-256, so that a class of 2^-k of all seeds is met with that probability. The tests look where the
structure of the lanes would show: bytes, single bits, differences of a lane with itself some steps later, with its
partner and with the lane whose veil it wears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.cryptanalysis.lane import Lanes, Words, run_lanes
from iomt_crypt.cipher.constant import LANES

_Change = Callable[[Lanes], Lanes]


@dataclass(frozen=True, slots=True)
class Deviation:
    """Largest deviations of one stream, in standard deviations of what uniform bits give.

    Parameters
    ----------
    name, log2_share
        Seeds, and what share of all seeds they are: log2 for the 128 lanes together, or for the lanes concerned.
    bytes_
        Of the chi-squared statistic of bytes.
    bits
        Of the ones among one bit of all words; maximum of 32.
    steps
        Of the bits in which words of a lane agree with those 1, 2, 3, 4, 64 and 128 steps later; maximum of all bits.
    lanes
        Of the bits in which words agree with those of the lane 1 (partner), 32 (veil), 64 and 96 further on, same step.
    """

    name: str
    log2_share: float
    bytes_: float
    bits: float
    steps: float
    lanes: float


def _all_equal(words: Words) -> Words:
    return np.full_like(words, words[0])


def _pairs_equal(words: Words) -> Words:
    return words[np.arange(words.size) & ~1]


def _constant(value: int) -> Callable[[Words], Words]:
    return lambda words: np.full_like(words, np.uint64(value))


_N: Final = LANES
#: Name, log2 of the share of such seeds, how to make them.
CLASSES: Final[tuple[tuple[str, float, _Change], ...]] = (
    ("uniform", 0, lambda lanes: lanes),
    ("all c = 1", -31 * _N, lambda s: replace(s, increment=_constant(1)(s.increment))),
    ("all c = 2^31 + 1", -31 * _N, lambda s: replace(s, increment=_constant((1 << 31) + 1)(s.increment))),
    ("all c below 256", -24 * _N, lambda s: replace(s, increment=s.increment & np.uint64(255))),
    ("all c = 1 and W = 0", -63 * _N, lambda s: replace(s, increment=_constant(1)(s.weyl), weyl=_constant(0)(s.weyl))),
    ("all x = 0", -32 * _N, lambda s: replace(s, state=_constant(0)(s.state))),
    ("partners have equal c and W", -63 * _N / 2,
     lambda s: replace(s, increment=_pairs_equal(s.increment), weyl=_pairs_equal(s.weyl))),
    ("partners have equal seeds", -95 * _N / 2,
     lambda s: replace(s, state=_pairs_equal(s.state), weyl=_pairs_equal(s.weyl), increment=_pairs_equal(s.increment))),
    ("all lanes have equal seeds", -95 * (_N - 1),
     lambda s: replace(s, state=_all_equal(s.state), weyl=_all_equal(s.weyl), increment=_all_equal(s.increment))),
)  # fmt: skip


def deviations(n_steps: int, seed: int = 1) -> list[Deviation]:
    """Run a stream of n_steps steps for each class of seeds."""
    found = []
    for name, share, change in CLASSES:
        lanes = change(Lanes.random(32, LANES, np.random.default_rng(seed)))
        stream = run_lanes(lanes, n_steps + 1).veiled.astype(np.uint32)
        found.append(_measure(name, share, stream))
    return found


@dataclass(frozen=True, slots=True)
class Slow:
    """Lanes whose Weyl words hardly move: all increments below 2^bits.

    Parameters
    ----------
    resting
        Share of steps in which x moves by less than 2^20.
    bare, veiled
        Agreement of words with those 1, 2 and 4 steps later, in standard deviations of uniform bits, largest of all
        bits (96 counts: 3.5 is nothing); before and after the veil.
    log2_share
        log2 of the probability that the four increments of a lane, its partner and the two lanes of its veil are so
        small.
    """

    bits: int
    resting: float
    bare: float
    veiled: float
    log2_share: float


def slow_weyl(bits: int, n_steps: int = 1024, seed: int = 3) -> Slow:
    """Look for the attracting orbits that the map has while W stands almost still.

    x -> 4 x (1 - x) + W modulo 1 has a maximum, at which its slope is 0; wherever that point comes near itself, orbits
    attract each other (W between 0.4375 and 0.6875 gives an attracting fixed point). A moving W drives
    the orbit on: averaged over all W the Lyapunov exponent is ln 4 - 1 > 0.
    """
    lanes = Lanes.random(32, LANES, np.random.default_rng(seed))
    small = lanes.increment & np.uint64((1 << bits) - 1) | np.uint64(1)
    trace = run_lanes(replace(lanes, increment=small), n_steps + 1)
    moved = np.abs(np.diff(trace.state.astype(np.int64), axis=0))
    agreements = []
    for words in (trace.words.astype(np.uint32), trace.veiled.astype(np.uint32)):
        agreements.append(max(_worst_bit(words[lag:] ^ words[:-lag]) for lag in (1, 2, 4)))
    resting = float((moved < 1 << 20).mean())
    return Slow(bits, resting, *agreements, 4.0 * (bits - 32))


def _measure(name: str, share: float, stream: npt.NDArray[np.uint32]) -> Deviation:
    counts = np.bincount(stream.view(np.uint8).reshape(-1), minlength=256)
    expected = counts.sum() / 256
    chi = float(((counts - expected) ** 2 / expected).sum())
    steps = [_worst_bit(stream[lag:] ^ stream[:-lag]) for lag in (1, 2, 3, 4, 64, 128) if lag < len(stream)]
    lanes = [_worst_bit(stream[:, ::2] ^ stream[:, 1::2]), _worst_bit(stream[:, :64] ^ stream[:, 64:])]
    lanes += [_worst_bit(stream ^ np.roll(stream, -lag, axis=1)) for lag in (32, 96)]
    return Deviation(name, share, (chi - 255) / sqrt(510), _worst_bit(stream), max(steps), max(lanes))


def _worst_bit(words: npt.NDArray[np.uint32]) -> float:
    """Largest deviation of the share of ones over the 32 bits, in standard deviations of independent bits."""
    n = words.size
    ones = np.array([np.count_nonzero(words >> np.uint32(bit) & 1) for bit in range(32)])
    return float(np.abs(ones - n / 2).max() / sqrt(n / 4))
