"""Square pieces of a frame, as the network sees them.

A frame is looked at as a raster of 16-bit words, whatever its cells are: 8-bit cells are taken two at a time, in the
order of the row. A word is two channels, its low and its high byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd

import numpy as np
import numpy.typing as npt

from iomt_crypt.checks.cell import Frame

#: Sides of the pieces in words, the largest that the frame fills is taken.
SIDES = (64, 32, 16, 8)
#: Smaller pieces are laid side by side until they are as large as this.
SMALLEST_SEEN = 32
#: Pieces of one frame, unless more are needed to see every row and column.
N_PATCHES = 12
MAXIMUM_PATCHES = 64
_GOLDEN = 0.6180339887498949
# What fills frames smaller than the smallest piece: noise, which looks neither plain nor like anything that repeats.
# So of less than 64 words hardly anything can be said.
_FILL = np.random.Generator(np.random.Philox(key=0x1A)).integers(0, 1 << 16, SIDES[-1] ** 2, np.uint16)

Words = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Patches:
    """Pieces of one frame.

    Parameters
    ----------
    words
        uint16 (n, side, side).
    side
        One of `SIDES`.
    n_distinct
        The words that were looked at, in pieces: at most n, less where pieces overlap.
    """

    words: Words
    side: int
    n_distinct: float


def cut(frame: Frame) -> Patches:
    """Pieces spread over the whole frame, the same at every call.

    Up to 4096 x 4096 words each row and each column is in one of them at least; large frames get more pieces.

    Parameters
    ----------
    frame
        uint8 or uint16, (rows, columns), not empty. Not changed.

    Raises
    ------
    ValueError
        Another shape or type, or no cells.
    """
    raster = word_raster(frame)
    side = next((s for s in SIDES if min(raster.shape) >= s), 0)
    if raster.size >= 4 * side * side and side < SIDES[1]:
        raster, side = _folded(raster)
    corners = _corners(raster.shape[0], raster.shape[1], side)
    words = np.stack([raster[y : y + side, x : x + side] for y, x in corners])
    return Patches(words, side, min(float(len(corners)), raster.size / side**2))


def word_raster(frame: Frame) -> Words:
    """The frame as 16-bit words; of rows with an odd number of bytes the last one is left out."""
    if frame.ndim != 2 or frame.dtype not in (np.uint8, np.uint16) or not frame.size:
        raise ValueError(f"a frame is a non-empty uint8 or uint16 (rows, columns), not {frame.dtype} {frame.shape}")
    if frame.dtype == np.uint16:
        return frame
    if frame.shape[1] == 1:
        frame = frame.reshape(1, -1)
    even = frame[:, : frame.shape[1] // 2 * 2]
    if not even.size:
        even = np.concatenate([frame, frame], axis=1)  # one byte
    return np.ascontiguousarray(even).view("<u2").astype(np.uint16, copy=False)


def tiled(words: Words) -> Words:
    """Pieces (n, side, side) as the network looks at them: those smaller than `SMALLEST_SEEN` repeated down and across.

    The means of the features stay those of one piece, which is measured against noise that is repeated in the same way.
    """
    times = max(1, SMALLEST_SEEN // words.shape[1])
    return np.tile(words, (1, times, times)) if times > 1 else words


def _folded(raster: Words) -> tuple[Words, int]:
    """A narrow or tiny raster as one that holds a piece: its words in order, in rows of one side."""
    flat = raster.reshape(-1)
    side = next((s for s in SIDES if flat.size >= s * s), SIDES[-1])
    if flat.size < side * side:
        return np.concatenate([flat, _FILL[flat.size :]]).reshape(side, side), side
    n_rows = flat.size // side
    return flat[: n_rows * side].reshape(n_rows, side), side


def _corners(rows: int, columns: int, side: int) -> list[tuple[int, int]]:
    """Upper left corners: the whole raster if few pieces are enough, else one piece for each step down and across."""
    down, across = ceil(rows / side), ceil(columns / side)
    if down * across <= N_PATCHES:
        return [(y, x) for y in _steps(rows - side, down) for x in _steps(columns - side, across)]
    n = min(max(N_PATCHES, down, across), MAXIMUM_PATCHES)
    stride = next(s for s in range(round(n * _GOLDEN), n + 1) if gcd(s, n) == 1)
    ys, xs = _steps(rows - side, n), _steps(columns - side, n)
    return [(ys[i], xs[i * stride % n]) for i in range(n)]


def _steps(last: int, n: int) -> list[int]:
    """n places from 0 to last, evenly."""
    return [i * last // (n - 1) for i in range(n)] if n > 1 else [last // 2]
