"""Frames of a few samples are small block ciphers: what repeated use of one key and tweak shows.

n = 1 is an exclusive or with a constant. From n = 2 on every round is an even permutation of the frames (for each
source the target is added to and exclusive-ored with constants, and the sources with an odd sum come in even numbers),
which the whole code book but two shows. And the birthday: two frames with equal L whose R differ in the top bits agree
after round 1 in L with probability 2^-(w m), m the samples of a half; then the difference passes to the cipher frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from benchmarks.cryptanalysis.reduced import Reduced
from iomt_crypt import cipher
from iomt_crypt.cipher.constant import ROUNDS


@dataclass(frozen=True, slots=True)
class Birthday:
    """Pairs of frames of two 8-bit samples, equal in L, top bit flipped in R.

    Parameters
    ----------
    n_pairs
        Pairs asked for, over all keys.
    n_passed
        Pairs whose right cipher samples differ in the top bit alone.
    error
        Standard error of n_passed, from its spread over the keys: much above a Poisson count's, because equal sums of
        addition and exclusive or come in clusters.
    expected_random, expected_cipher
        Counts that a random function and four rounds give: 2^-8 and 2^-8 more.
    """

    n_pairs: int
    n_passed: int
    error: float
    expected_random: float
    expected_cipher: float


@dataclass(frozen=True, slots=True)
class Swapped:
    """Keys under which an order across the halves, as up to decision 8, lets rounds 1 and 2 have one source."""

    n_samples: int
    n_keys: int
    n_swapped: int
    expected: float


def constants_of_one(word_bits: int, key: bytes) -> set[int]:
    """Return plain ^ cipher over all frames of one sample."""
    dtype = np.uint8 if word_bits == 8 else np.uint16
    values = range(1 << word_bits)
    return {int(cipher.encrypt(np.array([value], dtype), key)[0]) ^ value for value in values}


def code_book(key: bytes) -> npt.NDArray[np.int64]:
    """All frames of two 8-bit samples, as L + 256 R: where each of 65536 goes.

    Put together from tables of the rounds, because 65536 calls take a minute; a test compares it with the cipher.
    """
    rounds = Reduced.of(key, 2, 8)
    samples = np.arange(256, dtype=np.uint8)
    left, right = (half.reshape(-1) for half in np.meshgrid(samples, samples))
    for index in range(ROUNDS):
        source, target = (left, right) if index % 2 == 0 else (right, left)
        added = np.array([rounds.network(samples[k : k + 1], 1, index)[0] for k in range(256)])
        stream = np.array([rounds.stream(samples[k : k + 1], samples[:1], index)[0] for k in range(256)])
        target[:] = (target + added[source]) ^ stream[source]
    return left.astype(np.int64) + 256 * right.astype(np.int64)


def is_even(permutation: npt.NDArray[np.int64]) -> bool:
    """Whether a permutation has an even number of exchanges."""
    seen = np.zeros(permutation.size, np.bool_)
    n_cycles = 0
    for start in range(permutation.size):
        n_cycles += not seen[start]
        place = start
        while not seen[place]:
            seen[place] = True
            place = permutation[place]
    return (permutation.size - n_cycles) % 2 == 0


def birthday(n_keys: int, seed: int = 1) -> Birthday:
    """Look at all 2^15 pairs under each of 2 or more keys."""
    rng = np.random.default_rng(seed)
    rights = (code_book(rng.bytes(32)).reshape(256, 256) >> 8 for _ in range(n_keys))
    passed = np.array([int((right[:128] ^ right[128:] == 128).sum()) for right in rights])
    n_pairs = n_keys << 15
    error = float(passed.std(ddof=1)) * sqrt(n_keys)
    return Birthday(n_pairs, int(passed.sum()), error, n_pairs / 256, n_pairs / 128)


def swapped(n_samples: int, n_keys: int, seed: int = 1) -> Swapped:
    """Count the keys whose order across the halves exchanges them whole."""
    rng = np.random.default_rng([seed, n_samples])
    half = n_samples // 2
    positions = (Reduced.of(rng.bytes(32), n_samples, 8, order="across").positions() for _ in range(n_keys))
    count = sum(bool((place[:half] >= half).all()) for place in positions)
    ways = np.prod([(half + k) / k for k in range(1, half + 1)])
    return Swapped(n_samples, n_keys, count, n_keys / float(ways))
