"""Two-dimensional scalar fields: grids in millimetres, soft shapes, band-limited noise.

Shapes are *depths*: millimetres to the outline, positive inside. ``cover`` turns a depth into an anti-aliased mask and
``paint`` blends a value through a mask, so that pictures are built up layer by layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# In practice float32 throughout; numpy's stubs widen too eagerly to say so.
Field = NDArray[np.floating[Any]]


def grid(rows: int, columns: int, spacing_mm: float) -> tuple[Field, Field]:
    """Pixel centres in mm, origin in the middle: ``(x, y)``, x to the right, y down, each (rows, columns)."""
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * spacing_mm
    y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * spacing_mm
    return np.broadcast_to(x, (rows, columns)), np.broadcast_to(y[:, None], (rows, columns))


def ellipse(x: Field, y: Field, a: float, b: float, turn: float = 0.0) -> Field:
    """Depth in mm inside an ellipse at the origin with half axes ``a`` and ``b``, turned by ``turn`` radians."""
    if turn:
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        x, y = x * cos + y * sin, y * cos - x * sin
    u, v = x / a, y / b
    k0 = np.sqrt(u * u + v * v) + np.float32(1e-4)  # the offset settles 0 / 0 in the middle
    k1 = np.sqrt((u / a) ** 2 + (v / b) ** 2) + np.float32(1e-6)
    depth: Field = np.minimum(k0 * (1 - k0) / k1, min(a, b))
    return depth


def capsule(x: Field, y: Field, start: tuple[float, float], end: tuple[float, float], radius: float) -> Field:
    """Depth in mm inside a line of the given radius from ``start`` to ``end``."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy)
    along = np.clip(along, 0, 1)
    depth: Field = radius - np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    return depth


def soft_min(*depths: Field, width: float) -> Field:
    """Depth inside the intersection of shapes, corners rounded over about ``width`` mm."""
    total = np.zeros(np.broadcast_shapes(*(d.shape for d in depths)), np.float32)
    for depth in depths:
        total += np.exp(np.clip(-depth / width, -60, 60))
    rounded: Field = -width * np.log(total)
    return rounded


def cover(depth: Field, width: float) -> Field:
    """Mask in 0..1: one where the depth is over ``width / 2``, zero where it is under ``-width / 2``."""
    mask: Field = np.clip(depth / np.float32(width) + np.float32(0.5), 0, 1)
    return mask


def paint(image: Field, mask: Field, value: float | Field) -> None:
    """Blend ``value`` into ``image`` in place."""
    image += mask * (value - image)


def blur(image: Field, sigma_px: float | tuple[float, float]) -> Field:
    """Gaussian blur, edges wrapped (the fields here end in flat margins)."""
    sigma_y, sigma_x = (sigma_px, sigma_px) if isinstance(sigma_px, int | float) else sigma_px
    fy = np.fft.fftfreq(image.shape[0])[:, None]
    fx = np.fft.rfftfreq(image.shape[1])[None, :]
    gain = np.exp(-2 * np.pi**2 * ((fy * sigma_y) ** 2 + (fx * sigma_x) ** 2))
    return np.fft.irfft2(np.fft.rfft2(image) * gain, s=image.shape).astype(np.float32)


def grain(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Field:
    """Gaussian noise with grains of about ``sigma_px``, mean 0, standard deviation 1."""
    field = rng.standard_normal(shape, dtype=np.float32)
    if sigma_px > 0:
        field = blur(field, sigma_px)
    levelled: Field = (field - field.mean()) / field.std()
    return levelled


def ramp(value: float, low: float, high: float) -> float:
    """Smooth step: 0 below ``low``, 1 above ``high``."""
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)
