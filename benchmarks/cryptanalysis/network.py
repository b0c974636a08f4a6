"""The filters: weights that mix nothing, and what of the network is linear whatever the weights.

The odd output weights make the lowest bit of cnn the lowest bit of h_0 + h_1: linear over GF(2) in the lowest bits of
the nine samples, ten unknown bits. That costs nothing, because a key stream from the same source lies over it; it says
that nothing may rest on the network alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.cryptanalysis.reduced import Reduced
from iomt_crypt.cipher.constant import FILTERS, ROUNDS, TAPS
from iomt_crypt.cipher.schedule import Geometry, make_schedule


@dataclass(frozen=True, slots=True)
class Weak:
    """How often filters are weak.

    Parameters
    ----------
    name
        What is counted.
    n_tried
        Filters or rounds looked at.
    n_found, expected
        Weak ones, and how many uniform weights would give.
    """

    name: str
    n_tried: int
    n_found: int
    expected: float


def weak_filters(n_keys: int, word_bits: int = 8) -> list[Weak]:
    """Look at the filters of many keys."""
    geometry = Geometry.of(64, 0, word_bits)
    schedules = [make_schedule(number.to_bytes(32, "little"), b"", geometry) for number in range(n_keys)]
    dtype = np.uint8 if word_bits == 8 else np.uint16
    kernels = np.array([schedule.kernels for schedule in schedules]).astype(dtype)[..., :TAPS]
    mixes = np.array([schedule.mixes for schedule in schedules]).astype(dtype)
    even = (kernels & 1 == 0).all(axis=-1)
    above, below = mixes[..., 0], mixes[..., 1]
    n_filters, n_rounds = n_keys * ROUNDS * FILTERS, n_keys * ROUNDS
    # V+ is odd; V- is odd and agrees with it in bit 1
    free = 1 << (word_bits - 2)
    return [
        Weak("all weights of a filter even", n_filters, int(even.sum()), n_filters / 2**TAPS),
        Weak("of both filters of a round", n_rounds, int(even.all(axis=-1).sum()), n_rounds / 4**TAPS),
        Weak("a weight is zero", n_filters, int((kernels == 0).any(axis=-1).sum()),
             n_filters * (1 - (1 - 2.0**-word_bits) ** TAPS)),
        Weak("V+ + V- = 0: the filter would be linear", n_filters, int((above + below == 0).sum()), 0.0),
        Weak("V+ = V-: |h| alone comes through", n_filters, int((above == below).sum()), n_filters / free),
        Weak("an output weight is even", n_filters, int((mixes & 1 == 0).any(axis=-1).sum()), 0.0),
    ]  # fmt: skip


def low_bit_rank(key: bytes, n_samples: int = 256, word_bits: int = 16) -> tuple[int, bool]:
    """Fit the lowest bit of cnn by a linear function of the taps' lowest bits.

    Returns
    -------
    tuple
        Number of equations, and whether the fit from the first 40 places holds at all others.
    """
    cipher = Reduced.of(key, n_samples, word_bits)
    rng = np.random.default_rng(1)
    dtype = np.uint8 if word_bits == 8 else np.uint16
    source = rng.integers(0, 1 << word_bits, n_samples // 2).astype(dtype)
    place = np.arange(source.size)
    row = cipher.geometry.row_length
    offsets = [(tap // 3 - 1) * row + tap % 3 - 1 for tap in range(TAPS)]
    matrix = np.array([source[(place + offset) % source.size] & 1 for offset in offsets] + [np.ones(source.size)])
    wanted = cipher.network(source, source.size, 0) & 1
    solution = _solve_bits(matrix.T[:40].astype(np.uint8), wanted[:40].astype(np.uint8))
    return source.size, bool((matrix.T.astype(np.uint8) @ solution & 1 == wanted).all())


def _solve_bits(matrix: npt.NDArray[np.uint8], wanted: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Gaussian elimination over GF(2); free unknowns are 0, contradictions are ignored."""
    rows = np.concatenate([matrix, wanted[:, np.newaxis]], axis=1)
    pivots: list[int] = []
    for column in range(matrix.shape[1]):
        below = np.flatnonzero(rows[len(pivots) :, column])
        if below.size == 0:
            continue
        here = len(pivots)
        rows[[here, here + below[0]]] = rows[[here + below[0], here]]
        others = np.flatnonzero(rows[:, column])
        rows[others[others != here]] ^= rows[here]
        pivots.append(column)
    solution = np.zeros(matrix.shape[1], np.uint8)
    solution[pivots] = rows[: len(pivots), -1]
    return solution
