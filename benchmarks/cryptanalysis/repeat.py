"""Two frames that differ in one sample, under one key and tweak: do the cipher frames have anything in common?

Equal cipher samples are counted over many pairs, in all, by place, and as prefixes and runs; an ideal cipher has each
sample equal with probability 2^-w. The same in the other direction: cipher frames that differ in one sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from iomt_crypt import cipher


@dataclass(frozen=True, slots=True)
class Common:
    """Equal samples of pairs of frames.

    Parameters
    ----------
    decrypting
        Whether cipher frames were changed and plain ones compared.
    n_equal, expected
        Equal samples over all pairs, and what an ideal cipher gives.
    deviation
        Their difference in standard deviations.
    busiest_place, expected_busiest
        Equal samples at the place that has most, and what that is by chance (Monte Carlo of as many Poisson counts).
    longest_run
        Longest run of equal samples of a pair.
    """

    n_samples: int
    word_bits: int
    decrypting: bool
    n_trials: int
    n_equal: int
    expected: float
    deviation: float
    busiest_place: int
    expected_busiest: float
    longest_run: int


def common(n_samples: int, word_bits: int, n_trials: int, *, decrypting: bool, seed: int = 1) -> Common:
    """Change one bit of one sample in each of n_trials frames; a new key for every 16, half of the changes top bits."""
    rng = np.random.default_rng([seed, n_samples, word_bits])
    dtype = np.dtype(np.uint8 if word_bits == 8 else np.uint16)
    transform = cipher.decrypt if decrypting else cipher.encrypt
    at_place = np.zeros(n_samples, np.int64)
    longest = 0
    key = bytes(32)
    for trial in range(n_trials):
        if trial % 16 == 0:
            key = rng.bytes(32)
        frame = rng.integers(0, 1 << word_bits, n_samples).astype(dtype)
        first = transform(frame, key)
        bit = word_bits - 1 if trial % 2 else rng.integers(word_bits)
        frame[rng.integers(n_samples)] ^= dtype.type(1 << int(bit))
        equal = first == transform(frame, key)
        at_place += equal
        longest = max(longest, _longest_run(equal))
    total, expected = int(at_place.sum()), n_trials * n_samples / (1 << word_bits)
    busiest = rng.poisson(expected / n_samples, (200, n_samples)).max(axis=1).mean()
    return Common(
        n_samples, word_bits, decrypting, n_trials, total, expected, (total - expected) / sqrt(expected),
        int(at_place.max()), float(busiest), longest,
    )  # fmt: skip


def _longest_run(equal: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """Length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
