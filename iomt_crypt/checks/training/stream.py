"""Compressed streams of frames, as a gateway that forgets to encrypt would pass them through."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

from iomt_crypt.checks.cell import Frame

CODECS = ("JPEG", "JPEG2000", "PNG", "deflate")


def compress(frame: Frame, rng: np.random.Generator) -> bytes:
    """The stream of one frame by a codec that is chosen at random.

    JPEG takes the 8 bits from the largest value down; JPEG 2000 is lossless or not.
    """
    codec = CODECS[int(rng.integers(len(CODECS)))]
    if codec == "deflate" or max(frame.shape) > 1 << 15:
        return zlib.compress(np.ascontiguousarray(frame).tobytes(), int(rng.integers(1, 10)))
    buffer = io.BytesIO()
    if codec == "JPEG":
        shift = max(0, int(frame.max()).bit_length() - 8)
        image = Image.fromarray((frame >> shift).astype(np.uint8))
        image.save(buffer, codec, quality=int(rng.integers(50, 98)))
    elif codec == "JPEG2000":
        lossy = {"irreversible": True, "quality_mode": "rates", "quality_layers": [int(rng.integers(4, 20))]}
        Image.fromarray(frame).save(buffer, codec, **(lossy if rng.integers(2) else {}))
    else:
        Image.fromarray(frame).save(buffer, codec)
    return buffer.getvalue()
