"""Unrelated random images: what the variants are compared with, measured by the same code."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher.constant import Samples


class Ideal:
    """Gives every image another random image, and the same one again for the same image. It cannot be inverted."""

    def __init__(self, key: bytes, samples: Samples) -> None:
        """Take a key; `samples` is what ciphers take their geometry from."""
        self._key = key

    def encrypt(self, samples: Samples) -> Samples:
        """Return the random image of `samples`."""
        return self._image(b"encrypt", samples)

    def decrypt(self, samples: Samples) -> Samples:
        """Return another one, unrelated to `encrypt`."""
        return self._image(b"decrypt", samples)

    def reach(self, start: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Everything."""
        return np.ones_like(start)

    def _image(self, label: bytes, samples: Samples) -> Samples:
        digest = hashlib.shake_256(label + self._key + samples.tobytes()).digest(16)
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
        return np.frombuffer(rng.bytes(samples.nbytes), samples.dtype).reshape(samples.shape).copy()
