"""Compressed streams of frames, as a gateway that forgets to encrypt would pass them through."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from pydicom.pixels.encoders.base import RLELosslessEncoder

from iomt_crypt.checks.cell import Frame

CODECS = ("JPEG", "JPEG2000", "RLE", "deflate")
_LARGEST_SIDE = 1 << 14
_ITEM = b"\xfe\xff\x00\xe0"


def compress(frame: Frame, rng: np.random.Generator) -> bytes:
    """The stream of one frame by one of `CODECS`, chosen at random: what a fragment holds (PS3.5 A.4).

    JPEG takes the 8 bits from the largest value down; JPEG 2000 is lossless or not; frames that are no image for a
    codec are deflated.
    """
    codec = CODECS[int(rng.integers(len(CODECS)))]
    if codec == "deflate" or max(frame.shape) > _LARGEST_SIDE:
        deflate = zlib.compressobj(int(rng.integers(1, 10)), zlib.DEFLATED, -15)
        return deflate.compress(np.ascontiguousarray(frame).tobytes()) + deflate.flush()
    if codec == "RLE":
        return _run_length(frame)
    buffer = io.BytesIO()
    if codec == "JPEG":
        shift = max(0, int(frame.max()).bit_length() - 8)
        image = Image.fromarray((frame >> shift).astype(np.uint8))
        image.save(buffer, codec, quality=int(rng.integers(50, 98)))
    else:
        lossy = {"irreversible": True, "quality_mode": "rates", "quality_layers": [int(rng.integers(4, 20))]}
        Image.fromarray(frame).save(buffer, codec, no_jp2=True, **(lossy if rng.integers(2) else {}))
    return buffer.getvalue()


def encapsulate(stream: bytes) -> bytes:
    """One fragment behind an empty offset table, as in the value of the element (PS3.5 A.4)."""
    padded = stream + bytes(len(stream) % 2)
    return _ITEM + struct.pack("<L", 0) + _ITEM + struct.pack("<L", len(padded)) + padded


def _run_length(frame: Frame) -> bytes:
    bits = 8 * frame.dtype.itemsize
    return RLELosslessEncoder.encode(
        frame.astype(frame.dtype.newbyteorder("<")).tobytes(),
        rows=frame.shape[0],
        columns=frame.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
