"""The cycle of the map: a key stream that repeats is known for ever once it was seen for a while.

An orbit on a computer runs into a cycle, after about sqrt(number of states) steps if the map behaves like a random one.
P. Flajolet, A. M. Odlyzko: Random Mapping Statistics. EUROCRYPT '89. The attack asks for small images only, finds the
cycle in the stream that zeros show, and decrypts an image several times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, cast

import numba
import numpy as np

from iomt_crypt.analysis.attack.material import LAWS, Effort, windows
from iomt_crypt.analysis.attack.permutation import Order, index_images, put_back, read_order
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge

#: Samples at the end of the known stream that must have come before: an accident has probability 2^-512 a place.
_PATTERN = 64
#: Divisions of a side into parts that are looked for.
_GRIDS = (1, 2, 4, 8, 16)

_jit = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.njit(cache=True))


class Rho(NamedTuple):
    """How an orbit ends: steps before the cycle, and steps of the cycle; both -1 if a limit came first."""

    tail: int
    period: int


def repeating_stream(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Decrypt a large image with the key stream of a small one, prolonged by its cycle."""
    start = perf_counter()
    small = (effort.cycle_side, effort.cycle_side)
    side = min(2 * effort.cycle_side, *images[-1].shape)
    (target,) = windows(images[-1:], side, 1)
    stream = oracle(np.zeros(small, np.uint8))
    digits = [oracle(image) for image in index_images(small)]
    candidates = [(law, read_order([law.remove(digit, stream) for digit in digits])) for law in LAWS]
    law, order = max(candidates, key=lambda found: int(np.count_nonzero(found[1] >= 0)))
    period, grown = find_period(stream.reshape(-1)), _grow_order(order, small, target.shape)
    known = np.zeros(target.shape, np.bool_)
    found = np.zeros_like(target)
    if period and grown is not None:
        longer = prolong(stream.reshape(-1), period, target.size).reshape(target.shape)
        found, known = put_back(law.remove(oracle(target), longer), grown, 0)
    what = f"period {period}" if period else f"no period in {stream.size} samples"
    return judge(
        "cycle of the key stream", "chosen plaintext, small images", what, found, target,
        n_images=1 + len(digits), seconds=perf_counter() - start, claimed=known,
    )  # fmt: skip


def find_period(stream: Image) -> int:
    """Return the period with which a stream, uint8 (samples), ends; 0 if its last samples did not come before."""
    data = stream.tobytes()
    if len(data) <= _PATTERN:
        return 0
    # Overlaps are allowed: a period may be shorter than the pattern.
    earlier = data.rfind(data[-_PATTERN:], 0, len(data) - 1)
    return len(data) - _PATTERN - earlier if earlier >= 0 else 0


def prolong(stream: Image, period: int, n_samples: int) -> Image:
    """Repeat the last `period` samples until there are `n_samples`."""
    n_missing = max(0, n_samples - stream.size)
    cycle = np.resize(stream[stream.size - period :], n_missing)
    return np.concatenate([stream, cycle])[:n_samples]


def _grow_order(order: Order, small: tuple[int, int], large: tuple[int, ...]) -> Order | None:
    """Turn an order of parts of a small image into the one of a large image; None if it is no order of parts."""
    for grid in _GRIDS:
        # Parts of one sample would fit every order, and say nothing about a larger image.
        if any(side % grid for side in (*small, *large)) or min(small) <= grid:
            continue
        # What the first sample of each part says about it; then all other samples must agree.
        rows, columns = (side // grid for side in small)
        firsts = order.reshape(small)[::rows, ::columns].reshape(-1)
        parts = firsts // (small[1] * rows) * grid + firsts % small[1] // columns
        if firsts.min() >= 0 and np.array_equal(_order_of_parts(parts, grid, small), order):
            return _order_of_parts(parts, grid, large)
    return None


def _order_of_parts(parts: Order, grid: int, shape: tuple[int, ...]) -> Order:
    """Part k of the moved image is part parts[k] of the image; the same in samples."""
    rows, columns = shape[0] // grid, shape[1] // grid
    places = np.arange(shape[0] * shape[1]).reshape(grid, rows, grid, columns).swapaxes(1, 2)
    moved = places.reshape(grid * grid, rows, columns)[parts].reshape(places.shape)
    return np.ascontiguousarray(moved.swapaxes(1, 2)).reshape(-1)


def logistic_rho(x: float, r: float, *, dtype: type[np.floating[Any]], limit: int) -> Rho:
    """Find the cycle of x -> r x (1 - x) in floating point, by Brent's algorithm.

    R. P. Brent: An improved Monte Carlo factorization algorithm. BIT 20, 1980.

    Parameters
    ----------
    x, r
        Start value in (0, 1) and parameter up to 4.
    dtype
        numpy.float32 or numpy.float64; every operation is rounded to it.
    limit
        Steps after which the search gives up.
    """
    tail, period = _brent_logistic(dtype(x), dtype(r), limit)
    return Rho(int(tail), int(period))


@_jit
def _brent_logistic(start: Any, r: Any, limit: int) -> tuple[int, int]:
    one = r / r
    power, period = 1, 1
    slow, fast = start, r * start * (one - start)
    steps = 1
    while slow != fast:
        if steps >= limit:
            return -1, -1
        if power == period:
            slow, power, period = fast, power * 2, 0
        fast = r * fast * (one - fast)
        period += 1
        steps += 1
    slow, fast, tail = start, start, 0
    for _ in range(period):
        fast = r * fast * (one - fast)
    while slow != fast:
        slow, fast, tail = r * slow * (one - slow), r * fast * (one - fast), tail + 1
    return tail, period
