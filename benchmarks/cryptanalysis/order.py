"""The repositioning: bias of its draws, and whether halves, draws and geometry are what the specification says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np

from iomt_crypt import cipher
from iomt_crypt.cipher.reference import move_order
from iomt_crypt.cipher.schedule import Geometry, make_schedule


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Orders of one half of few parts over many keys.

    Parameters
    ----------
    n_orders
        Orders there are.
    n_seen
        Orders that came.
    chi_squared
        Of their counts; n_orders - 1 expected, standard deviation sqrt(2 (n_orders - 1)).
    """

    n_parts: int
    n_keys: int
    n_orders: int
    n_seen: int
    chi_squared: float


def draw_distance(n_parts: int) -> float:
    """Bound the statistical distance of an order of so many parts from a uniform one.

    floor(d k / 2^32) of a uniform d takes each of k values floor(2^32 / k) or one more times; the distances of all
    steps add up at most.
    """
    whole = 1 << 32
    return sum((whole % k) * (k - whole % k) / (k * whole) for k in range(2, n_parts + 1))


def shuffle(half: int, n_keys: int) -> Shuffle:
    """Count the orders of the left half of a frame of 2 * half samples."""
    geometry = Geometry.of(2 * half, 0, 8)
    counts = Counter(
        tuple(move_order(geometry, make_schedule(number.to_bytes(32, "little"), b"", geometry))[:half].tolist())
        for number in range(n_keys)
    )
    expected = n_keys / factorial(half)
    total = sum((counts[order] - expected) ** 2 / expected for order in permutations(range(half)))
    return Shuffle(half, n_keys, factorial(half), len(counts), total)


def same_cipher(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes of one size give the same cipher frame."""
    frame = np.random.default_rng(1).integers(0, 256, first).astype(np.uint8)
    key = bytes(range(32))
    return np.array_equal(
        cipher.encrypt(frame, key).reshape(-1), cipher.encrypt(frame.reshape(second), key).reshape(-1)
    )
