"""Distinguishers of one, two and three rounds, and the same tests on four.

S stays, T becomes (T + cnn(S)) ^ stream(S). With S repeated, flips of the top bits of T pass unchanged, because
addition and exclusive or agree on them, and lowest bits add up without carries: two frames with equal S show it.

- One round leaves L as it is.
- Two rounds, two chosen plain frames: equal L, R with all top bits flipped; so differs the right cipher half.
- Three rounds, three queries, one of them a decryption (for that reason M. Luby, C. Rackoff, SIAM J. Comput. 17, 1988
  need a fourth round): E(L, R) = (S, T), E(L, R') = (S', T'), D(S', T' with all top bits flipped) = (L'', R''), where
  R' is R with all top bits flipped. Then R after round 0 is that of the first query, and L'' ^ L agrees with S' ^ S
  in its lowest bits, up to the repositioning: as many bits are set in both.
- Three rounds with a repositioning across the halves, two chosen plain frames: what of R comes into L is equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from benchmarks.cryptanalysis.reduced import Order, Reduced
from iomt_crypt.cipher.constant import Samples


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often a test says "this is the cipher", over keys; `expected` is what a random permutation gives."""

    name: str
    n_rounds: int
    order: Order
    n_queries: int
    hits: int
    n_keys: int
    expected: float


_Test = Callable[[Reduced, np.random.Generator], bool]


def outcomes(n_samples: int, word_bits: int, n_keys: int, seed: int = 1) -> list[Outcome]:
    """Run every test on the number of rounds it breaks and on all four."""
    half = n_samples // 2
    one_value = 2.0 ** (-word_bits * half)
    # two binomial counts of `half` fair bits are equal
    same_count = 1 / sqrt(np.pi * half)
    plan: list[tuple[str, _Test, int, float, list[tuple[int, Order]]]] = [
        ("left half stays", _left_stays, 1, one_value, [(1, "none"), (2, "within")]),
        ("top bits, chosen plain", _top_bits, 2, one_value, [(2, "within"), (3, "within"), (4, "within")]),
        ("low bits, plain and cipher", _low_bits, 3, same_count, [(3, "within"), (4, "within")]),
        ("equal samples of L", _equal_left, 2, 0.0, [(3, "across"), (3, "within"), (4, "within")]),
    ]
    found = []
    for name, test, n_queries, expected, cases in plan:
        for n_rounds, order in cases:
            rng = np.random.default_rng([seed, n_rounds])
            ciphers = (
                Reduced.of(rng.bytes(32), n_samples, word_bits, n_rounds=n_rounds, order=order) for _ in range(n_keys)
            )
            hits = sum(test(cipher, rng) for cipher in ciphers)
            found.append(Outcome(name, n_rounds, order, n_queries, hits, n_keys, expected))
    return found


def _halves(cipher: Reduced, rng: np.random.Generator) -> tuple[Samples, Samples]:
    geometry = cipher.geometry
    dtype = np.uint8 if geometry.word_bits == 8 else np.uint16
    frame: Samples = rng.integers(0, 1 << geometry.word_bits, geometry.n_samples).astype(dtype)
    return frame[: geometry.n_left], frame[geometry.n_left :]


def _flipped(half: Samples, word_bits: int) -> Samples:
    return half ^ half.dtype.type(1 << (word_bits - 1))


def _left_stays(cipher: Reduced, rng: np.random.Generator) -> bool:
    left, right = _halves(cipher, rng)
    return np.array_equal(cipher.encrypt(left, right)[0], left)


def _top_bits(cipher: Reduced, rng: np.random.Generator) -> bool:
    left, right = _halves(cipher, rng)
    bits = cipher.geometry.word_bits
    first, second = (cipher.encrypt(left, half)[1] for half in (right, _flipped(right, bits)))
    return np.array_equal(_flipped(first, bits), second)


def _low_bits(cipher: Reduced, rng: np.random.Generator) -> bool:
    left, right = _halves(cipher, rng)
    bits = cipher.geometry.word_bits
    first, _ = cipher.encrypt(left, right)
    second, other = cipher.encrypt(left, _flipped(right, bits))
    back, _ = cipher.decrypt(second, _flipped(other, bits))
    return int(((back ^ left) & 1).sum()) == int(((second ^ first) & 1).sum())


def _equal_left(cipher: Reduced, rng: np.random.Generator) -> bool:
    """A quarter of the samples of L is equal; by chance that is hopeless."""
    left, right = _halves(cipher, rng)
    changed = right.copy()
    changed[0] ^= 1
    first, second = cipher.encrypt(left, right)[0], cipher.encrypt(left, changed)[0]
    return 4 * int(np.count_nonzero(first == second)) >= left.size
