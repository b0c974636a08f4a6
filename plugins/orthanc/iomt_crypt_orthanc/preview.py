"""Decoded grey samples to 8 bits, for a look. Runs inside Orthanc: standard library only."""

from __future__ import annotations

from array import array

_SAMPLED = 16


def to_grey8(buffer: bytes, *, width: int, height: int, pitch: int, signed: bool) -> bytes:
    """Rows of 16-bit little-endian samples, ``pitch`` bytes apart, to ``width`` x ``height`` bytes.

    The window spans the 1st to the 99th percentile of the samples. It is a preview, not for diagnosis.
    """
    samples = array("h" if signed else "H")
    for row in range(height):
        samples.frombytes(buffer[row * pitch : row * pitch + 2 * width])
    ordered = sorted(samples[::_SAMPLED])
    low, high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
    span = max(1, high - low)
    levels = {value: max(0, min(255, (value - low) * 255 // span)) for value in set(samples)}
    return bytes(map(levels.__getitem__, samples))
