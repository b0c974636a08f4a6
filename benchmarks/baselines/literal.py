"""The scheme that this project started from, taken literally: parts change places, then a logistic key stream.

Research code, and broken in many ways (docs/ATTACKS.md). What the text says: an image is divided into parts, the parts
are repositioned, and the sequence of a one-dimensional logistic map x -> r x (1 - x), scaled by the largest pixel
value, is combined with the pixels bit by bit. What it leaves open, and what is done here:

- The key gives x, r and nothing else. The first 64 values of the sequence, sorted, are the order of 8 x 8 parts; the
  following ones, times 255 and rounded, are the key stream, combined by exclusive or. 1000 values come before both.
- Arithmetic is float32, or float64 on request; r lies in [3.9, 4). Some of these r have a stable cycle of a few values
  (near 3.906 one of 5): weak keys, as in every scheme that takes r from a key.
- Rows and columns that do not divide by 8 are left over at the lower and right edge and stay where they are.

Departures: the network stages before and after are left out. The first is a fixed transform without a key, which an
attacker undoes; the second is probabilistic and thereby not exactly invertible, `deepedn` stands for that kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, cast

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.baselines.scheme import Image

PARTS_PER_SIDE: Final = 8
N_TRANSIENT: Final = 1000
LOWEST_R: Final = 3.9

_Float = npt.NDArray[np.floating[Any]]
_jit = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.njit(cache=True))


class Literal:
    """See `benchmarks.baselines.scheme.Scheme`.

    Parameters
    ----------
    dtype
        numpy.float32 or numpy.float64: in which the map is computed.
    """

    source = "the scheme's description; network stages left out, order of parts and parameters chosen by us"
    lossless = True
    uses_nonce = False

    def __init__(self, dtype: type[np.floating[Any]] = np.float32) -> None:
        self.dtype = dtype
        self.name = "literal" if dtype == np.float32 else "literal, float64"

    def parameters(self, key: bytes) -> tuple[float, float]:
        """Return x in (0, 1) and r in [3.9, 4), each from 8 bytes of SHA-256 of the key."""
        words = np.frombuffer(hashlib.sha256(b"literal" + key).digest(), "<u8")
        x, r = (int(word >> np.uint64(11)) / 2**53 for word in words[:2])
        return max(x, 2.0**-20), LOWEST_R + (4 - LOWEST_R) * r

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Reposition the parts, then combine with the key stream; the nonce is not used."""
        return self.encrypt_with(image, *self.parameters(key))

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`."""
        return self.decrypt_with(image, *self.parameters(key))

    def encrypt_with(self, image: Image, x: float, r: float) -> Image:
        """Encrypt under the map's start value and parameter instead of a key."""
        order, stream = self._sequence(image.size, x, r)
        return _reposition(image, order) ^ stream.reshape(image.shape)

    def decrypt_with(self, image: Image, x: float, r: float) -> Image:
        """Undo `encrypt_with`."""
        order, stream = self._sequence(image.size, x, r)
        return _reposition(image ^ stream.reshape(image.shape), np.argsort(order))

    def _sequence(self, n_samples: int, x: float, r: float) -> tuple[npt.NDArray[np.intp], Image]:
        n_parts = PARTS_PER_SIDE**2
        values = np.empty(n_parts + n_samples, self.dtype)
        logistic(self.dtype(x), self.dtype(r), N_TRANSIENT, values)
        return np.argsort(values[:n_parts], kind="stable"), np.rint(values[n_parts:] * 255).astype(np.uint8)


@_jit
def logistic(x: Any, r: Any, n_skipped: int, out: _Float) -> None:
    """Fill `out` with the orbit of x -> r x (1 - x), without its first `n_skipped` values, in the dtype of x and r."""
    one = r / r
    for _ in range(n_skipped):
        x = r * x * (one - x)
    for i in range(out.size):
        x = r * x * (one - x)
        out[i] = x


def _reposition(image: Image, order: npt.NDArray[np.intp]) -> Image:
    """Part k of the result is part order[k] of the image, parts counted in reading order."""
    rows, columns = (side // PARTS_PER_SIDE for side in image.shape)
    moved = image.copy()
    area = moved[: rows * PARTS_PER_SIDE, : columns * PARTS_PER_SIDE]
    parts = area.reshape(PARTS_PER_SIDE, rows, PARTS_PER_SIDE, columns).swapaxes(1, 2)
    chosen = parts.reshape(PARTS_PER_SIDE**2, rows, columns)[order].reshape(parts.shape)
    area[:] = chosen.swapaxes(1, 2).reshape(area.shape)
    return moved
