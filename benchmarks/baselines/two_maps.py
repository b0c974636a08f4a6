"""Two chaotic maps: the logistic map makes a key stream, the Henon map an order of all pixels.

Research code. The common shape of image ciphers with two maps; for one of them A. Soleymani, M. J. Nordin, E.
Sundararajan: A Chaotic Cryptosystem for Images Based on Henon and Arnold Cat Map. The Scientific World Journal, 2014,
article 536930. There the cat map permutes and images made by the Henon map are combined by exclusive or.

Departures: sorting a sequence of the Henon map takes the place of the cat map, which needs square images and returns
after a few hundred steps; the logistic map makes the key stream; one pass; parameters by SHA-256 of the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, cast

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.baselines.literal import logistic
from benchmarks.baselines.scheme import Image

N_TRANSIENT: Final = 1000
#: Digits behind the first decimals of x, which the arcsine law of the map does not bend.
SCALE: Final = 1e10
#: Above it the windows of r in which the map has a short stable cycle are narrow; they are there all the same.
LOWEST_R: Final = 3.99

_jit = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.njit(cache=True))


class TwoMaps:
    """See `benchmarks.baselines.scheme.Scheme`."""

    name = "two maps"
    source = (
        "after Soleymani et al. 2014 (Henon and a second map); sorted Henon sequence, logistic key stream, one pass"
    )
    lossless = True
    uses_nonce = False

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Combine with the key stream, then shuffle; the nonce is not used."""
        stream, order = _sequences(image.size, key)
        return (image.reshape(-1) ^ stream)[order].reshape(image.shape)

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`."""
        stream, order = _sequences(image.size, key)
        flat = np.empty(image.size, np.uint8)
        flat[order] = image.reshape(-1)
        return (flat ^ stream).reshape(image.shape)


def _sequences(n_samples: int, key: bytes) -> tuple[Image, npt.NDArray[np.intp]]:
    words = np.frombuffer(hashlib.sha256(b"two maps" + key).digest(), "<u8") >> np.uint64(11)
    share = [float(word) / 2**53 for word in words]
    values = np.empty(n_samples)
    logistic(max(share[0], 2.0**-20), LOWEST_R + (4 - LOWEST_R) * share[1], N_TRANSIENT, values)
    stream = (np.floor(values * SCALE).astype(np.int64) & 255).astype(np.uint8)
    # The square of 0.1 around the origin lies in the basin of the attractor of the classical parameters.
    _henon(0.1 * share[2], 0.1 * share[3], values)
    return stream, np.argsort(values, kind="stable")


@_jit
def _henon(x: float, y: float, out: npt.NDArray[np.float64]) -> None:
    """Fill `out` with x of the map (x, y) -> (1 - 1.4 x^2 + y, 0.3 x)."""
    for _ in range(N_TRANSIENT):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
    for i in range(out.size):
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
        out[i] = x
