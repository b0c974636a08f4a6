"""A branching tree of vessels in three dimensions, painted into axial sections or projected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.phantom.field import Field, cover

# One row a segment: x0 y0 z0 x1 y1 z1 radius, mm.
Segments = NDArray[np.float64]


def _turned(rng: np.random.Generator, direction: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    turned = direction + rng.normal(0, spread, 3)
    return turned / np.linalg.norm(turned)


def grow(rng: np.random.Generator, root: tuple[float, float, float], towards: tuple[float, float, float]) -> Segments:
    """One tree: from ``root`` in the direction ``towards``, halving until a twig is under 0.7 mm."""
    rows: list[list[float]] = []
    first = np.asarray(towards, np.float64)
    tips = [(np.asarray(root, np.float64), first / np.linalg.norm(first), 4.8, 25.0)]
    while tips:
        point, direction, radius, length = tips.pop()
        if radius < 0.7:
            continue
        end = point + direction * length
        rows.append([*point, *end, radius])
        for share in (rng.uniform(0.8, 0.92), rng.uniform(0.62, 0.8)):
            tips.append((end, _turned(rng, direction, 0.42), radius * share, length * rng.uniform(0.74, 0.95)))
    return np.asarray(rows)


def section(image: Field, segments: Segments, z: float, spacing_mm: float, inside: Field, value: float) -> None:
    """Paint what the plane ``z`` cuts of the tree, where ``inside`` (a mask) allows, in place."""
    rows, columns = image.shape
    low = np.minimum(segments[:, 2], segments[:, 5]) - segments[:, 6]
    high = np.maximum(segments[:, 2], segments[:, 5]) + segments[:, 6]
    for x0, y0, z0, x1, y1, z1, radius in segments[(low < z) & (z < high)]:
        reach = radius + spacing_mm
        left, right = _span(x0, x1, reach, columns, spacing_mm)
        top, bottom = _span(y0, y1, reach, rows, spacing_mm)
        if left >= right or top >= bottom:
            continue
        px = (np.arange(left, right) - (columns - 1) / 2) * spacing_mm
        py = ((np.arange(top, bottom) - (rows - 1) / 2) * spacing_mm)[:, None]
        step = np.asarray([x1 - x0, y1 - y0, z1 - z0])
        along = ((px - x0) * step[0] + (py - y0) * step[1] + (z - z0) * step[2]) / float(step @ step)
        along = np.clip(along, 0, 1)
        distance = np.sqrt(
            (px - x0 - along * step[0]) ** 2 + (py - y0 - along * step[1]) ** 2 + (z - z0 - along * step[2]) ** 2
        )
        mask = cover((radius - distance).astype(np.float32), spacing_mm) * inside[top:bottom, left:right]
        patch = image[top:bottom, left:right]
        patch += mask * np.maximum(np.float32(value) - patch, 0)


def shadow(image: Field, segments: Segments, spacing_mm: float, top_z: float) -> None:
    """Add the thickness (mm) of every segment seen from the front to ``image`` (rows are z, columns x), in place."""
    rows, columns = image.shape
    for x0, _, z0, x1, _, z1, radius in segments:
        reach = radius + spacing_mm
        left, right = _span(x0, x1, reach, columns, spacing_mm)
        top = max(int((min(z0, z1) - reach - top_z) / spacing_mm), 0)
        bottom = min(int((max(z0, z1) + reach - top_z) / spacing_mm) + 1, rows)
        if left >= right or top >= bottom:
            continue
        px = (np.arange(left, right) - (columns - 1) / 2) * spacing_mm
        pz = (np.arange(top, bottom) * spacing_mm + top_z)[:, None]
        dx, dz = x1 - x0, z1 - z0
        along = np.clip(((px - x0) * dx + (pz - z0) * dz) / (dx * dx + dz * dz + 1e-6), 0, 1)
        squared = radius**2 - (px - x0 - along * dx) ** 2 - (pz - z0 - along * dz) ** 2
        patch = image[top:bottom, left:right]
        np.maximum(patch, (2 * np.sqrt(np.maximum(squared, 0))).astype(np.float32), out=patch)


def _span(start: float, end: float, reach: float, count: int, spacing_mm: float) -> tuple[int, int]:
    middle = (count - 1) / 2
    first = int(np.floor((min(start, end) - reach) / spacing_mm + middle))
    last = int(np.ceil((max(start, end) + reach) / spacing_mm + middle)) + 1
    return max(first, 0), min(last, count)
