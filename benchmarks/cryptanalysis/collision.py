"""What a collision of the pooled features shows after four rounds, with features of a few bits.

Frames with equal L whose R differ in top bits alone. If two of them collide in round 1, its key stream is the same, but
cnn still differs wherever an odd sum of weights meets the difference, so that L and with it round 2 differ: nothing is
seen. Differences that are equal in all rows (stripes; the half has whole rows) meet the sums of the weights in each
column of a filter. If these three sums are even for both filters of round 1, which is so for one key in 64, stripes of
top bits pass cnn unnoticed. Then L is equal, and the right cipher halves differ in top bits alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np

from benchmarks.cryptanalysis.reduced import Reduced
from iomt_crypt.cipher.constant import FILTERS, TAPS

_N_SAMPLES, _ROW = 64, 8


@dataclass(frozen=True, slots=True)
class Seen:
    """Pairs of cipher frames whose right halves differ in top bits alone.

    Parameters
    ----------
    n_pairs
        Pairs of frames.
    n_seen
        Pairs that show.
    expected_collisions
        Pairs that collide in round 1.
    """

    n_pairs: int
    n_seen: int
    expected_collisions: float


def passes_stripes(key: int) -> bool:
    """Whether the weights of round 1 have even sums in every column of both filters."""
    kernels = _cipher(key).schedule.kernels[1, :, :TAPS].reshape(FILTERS, 3, 3)
    return not (kernels.sum(axis=1) & 1).any()


def striped_key(start: int = 0) -> int:
    """Return the first number from `start` on that is, as 32 bytes, a key that lets stripes pass."""
    return next(number for number in count(start) if passes_stripes(number))


def watch(key: int, feature_bits: int) -> Seen:
    """Encrypt the frames of all 256 stripes of top bits, and look at all pairs."""
    cipher = _cipher(key, feature_bits)
    half = _N_SAMPLES // 2
    left, right = np.random.default_rng(1).integers(0, 256, (2, half)).astype(np.uint8)
    rows = (np.arange(1 << _ROW)[:, np.newaxis] >> np.arange(_ROW) & 1).astype(np.uint8) << np.uint8(7)
    stripes = np.tile(rows, half // _ROW)
    sealed = np.array([cipher.encrypt(left, right ^ stripe)[1] for stripe in stripes])
    seen = 0
    for first in range(len(sealed)):
        difference = sealed[first] ^ sealed[first + 1 :]
        seen += int((difference & 0x7F == 0).all(axis=1).sum())
    n_pairs = len(sealed) * (len(sealed) - 1) // 2
    return Seen(n_pairs, seen, n_pairs / (1 << feature_bits))


def _cipher(key: int, feature_bits: int | None = None) -> Reduced:
    options: dict[str, object] = {"feature_bits": feature_bits}
    return Reduced.of(key.to_bytes(32, "little"), _N_SAMPLES, 8, row_length=_ROW, **options)
