"""Decoded grey samples to 8 bits, for a look. Runs inside Orthanc: standard library only."""

from __future__ import annotations

from array import array

_SAMPLED = 16


def to_grey8(buffer: bytes, *, width: int, height: int, pitch: int, kind: str) -> bytes:
    """Rows of samples in the machine's byte order, ``pitch`` bytes apart, to ``width`` x ``height`` bytes.

    ``kind`` is the type code of the samples in `array.array`: ``"H"``, ``"h"``, ``"I"`` or ``"f"``.
    The window spans the 1st to the 99th percentile of the samples. It is a preview, not for diagnosis.
    """
    samples: array[int] | array[float] = array(kind)
    for row in range(height):
        samples.frombytes(buffer[row * pitch : row * pitch + samples.itemsize * width])
    ordered = sorted(samples[::_SAMPLED])
    low, high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
    span = high - low or 1
    levels = {value: max(0, min(255, int((value - low) * 255 / span))) for value in set(samples)}
    return bytes(map(levels.__getitem__, samples))
