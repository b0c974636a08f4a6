"""Trying keys: what one costs, whether a small space falls, and what that means for the whole key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2
from time import perf_counter
from typing import Final

import numpy as np

from iomt_crypt.analysis.attack.material import windows
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge

#: A key of more bits than this cannot be searched by anybody (NIST SP 800-131A demands 112 bits of strength).
WITHIN_REACH_BITS: Final = 80
_SECONDS_PER_YEAR: Final = 365.25 * 86400

#: Transforms an image under the candidate key of this number.
Under = Callable[[int, Image], Image]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search of candidate keys with one known image.

    Parameters
    ----------
    attack
        What decrypting the target with the found key gives; nothing is claimed if none was found.
    n_candidates
        Size of the space that was searched.
    n_tried
        Candidates that were tried, up to and with the right one.
    found
        Number of the right candidate; None if there is none.
    seconds_per_key
        Mean cost of a candidate, on one core, of this code.
    key_bits
        Size of the whole key of the cipher as it is used, in bits.
    """

    attack: AttackResult
    n_candidates: int
    n_tried: int
    found: int | None
    seconds_per_key: float
    key_bits: float

    @property
    def years_for_key(self) -> float:
        """Years that half of the whole key space takes at the measured cost, on one core."""
        return 2 ** (self.key_bits - 1) * self.seconds_per_key / _SECONDS_PER_YEAR

    @property
    def within_reach(self) -> bool:
        """Whether the whole key, not only the space that was searched, can be found by trying."""
        return self.key_bits <= WITHIN_REACH_BITS


def search_keys(
    oracle: Oracle,
    images: Sequence[Image],
    *,
    encrypt_under: Under,
    decrypt_under: Under,
    n_candidates: int,
    key_bits: float,
    side: int = 64,
) -> SearchResult:
    """Try candidate keys until one encrypts a known image of 64 samples as the oracle does; then decrypt the target.

    Parameters
    ----------
    oracle
        Encrypts under the right key.
    images
        uint8 (rows, columns), `side` or more in both; the target is from the last one.
    encrypt_under, decrypt_under
        Encrypt and decrypt an image under candidate number 0 to `n_candidates` - 1.
    n_candidates
        Candidates to try, 1 or more.
    key_bits
        Bits of the whole key.
    side
        Rows and columns of the target.
    """
    start = perf_counter()
    (target,) = windows(images, side, 1)
    (known,) = windows(images[:1], 8, 1)
    wanted = oracle(known)
    found = None
    n_tried = 0
    for n_tried in range(1, n_candidates + 1):
        if np.array_equal(encrypt_under(n_tried - 1, known), wanted):
            found = n_tried - 1
            break
    seconds = perf_counter() - start
    sealed = oracle(target)
    nothing = found is None
    guess = np.zeros_like(target) if found is None else decrypt_under(found, sealed)
    what = f"key {'not ' * nothing}found among 2^{log2(n_candidates):.1f}"
    result = judge(
        "search of keys", "known plaintext", what, guess, target,
        n_images=1, seconds=seconds, claimed=np.full(target.shape, not nothing),
    )  # fmt: skip
    return SearchResult(result, n_candidates, n_tried, found, seconds / n_tried, key_bits)
