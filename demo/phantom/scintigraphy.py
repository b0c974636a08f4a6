"""Bone scintigraphy of the trunk from all sides: counts of a gamma camera turning around a glowing skeleton."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.phantom.field import blur

NM_SIZE = 128
NM_SPACING_MM = 3.9

# A cloud of sources: one row a point, x y z (mm) and activity.
Points = NDArray[np.float64]
Place = tuple[float, float, float]


def projections(seed: int, n_views: int) -> NDArray[np.uint16]:
    """A full turn around the patient, from the front to the left.

    Returns
    -------
    ndarray
        (n_views, 128, 128) of uint16: Poisson counts.
    """
    rng = np.random.default_rng(seed)
    points = _skeleton(rng)
    views = np.empty((n_views, NM_SIZE, NM_SIZE), np.uint16)
    half = NM_SIZE * NM_SPACING_MM / 2
    for index in range(n_views):
        turn = 2 * np.pi * index / n_views
        across = points[:, 0] * np.cos(turn) + points[:, 1] * np.sin(turn)
        distance = points[:, 1] * np.cos(turn) - points[:, 0] * np.sin(turn)
        # Photons from the far side are weakened by the body in between.
        reaching = points[:, 3] * np.exp(-0.0085 * (distance + 110))
        counts, _, _ = np.histogram2d(
            points[:, 2], across, bins=NM_SIZE, range=((-half, half), (-half, half)), weights=reaching
        )
        expected = np.maximum(blur(counts.astype(np.float32), 1.05), 0) * 200 + 1.0
        views[index] = rng.poisson(expected).astype(np.uint16)
    return views


def _cloud(rng: np.random.Generator, centre: Place, size: Place, n: int, hot: float) -> Points:
    spot = rng.normal(0, 1, (n, 3))
    spot *= np.minimum(1, 1.8 / np.linalg.norm(spot, axis=1))[:, None]
    return np.column_stack([spot * size + centre, np.full(n, hot)])


def _skeleton(rng: np.random.Generator) -> Points:
    parts = [_spine(rng), _ribs(rng), _pelvis(rng)]
    for side in (-1, 1):
        parts.append(_cloud(rng, (side * 62, 45, 55), (13, 9, 24), 900, 1.3))  # kidneys
        parts.append(_cloud(rng, (side * 155, 10, -205), (14, 14, 14), 700, 1.2))  # shoulder joints
        parts.append(_line(rng, (side * 157, 10, -195), (side * 182, 15, 20), 9, 700, 0.5))  # upper arms
        parts.append(_line(rng, (side * 12, -75, -190), (side * 140, 0, -215), 6, 350, 0.8))  # clavicles
        parts.append(_cloud(rng, (side * 100, 72, -150), (26, 5, 40), 500, 0.5))  # shoulder blades
    parts.append(_line(rng, (0, -92, -190), (0, -100, -60), 9, 600, 1.0))  # breast bone
    parts.append(_cloud(rng, (0, -45, 205), (17, 15, 13), 900, 2.2))  # bladder
    parts.append(_cloud(rng, (0, 0, 0), (85, 55, 150), 9000, 0.12))  # soft tissue
    parts.append(_cloud(rng, (-78, 38, -62), (7, 7, 6), 260, 3.0))  # one hot lesion in a rib
    return np.concatenate(parts)


def _line(
    rng: np.random.Generator,
    start: Place,
    end: Place,
    thick: float,
    n: int,
    hot: float,
) -> Points:
    along = rng.uniform(0, 1, (n, 1))
    centre = np.asarray(start) + along * (np.asarray(end) - np.asarray(start))
    return np.column_stack([centre + rng.normal(0, thick / 2, (n, 3)), np.full(n, hot)])


def _spine(rng: np.random.Generator) -> Points:
    bones = []
    for level in range(20):
        z = -235 + level * (19 + 0.35 * level)
        bend = 50 + 14 * np.sin(z / 75)
        bones.append(_cloud(rng, (0, bend, z), (13 + level * 0.35, 11, 6.5), 260, 1.5))
        bones.append(_cloud(rng, (0, bend + 26, z + 6), (5, 9, 5), 70, 1.3))
    return np.concatenate(bones)


def _ribs(rng: np.random.Generator) -> Points:
    hoops = []
    for rib in range(11):
        size = min(1.0, 0.55 + 0.09 * rib)
        for side in (-1, 1):
            reach = 0.93 if rib < 8 else 0.75 - 0.08 * (rib - 8)
            turn = rng.uniform(0.06, reach, 420) * np.pi
            x = side * 132 * size * np.sin(turn)
            y = 62 * np.cos(turn) * (0.7 + 0.3 * size) - 12
            z = -215 + rib * 21 + 62 * turn / np.pi
            place = np.column_stack([x, y, z]) + rng.normal(0, 3.0, (420, 3))
            hoops.append(np.column_stack([place, np.full(420, 0.62)]))
    return np.concatenate(hoops)


def _pelvis(rng: np.random.Generator) -> Points:
    bones = [_cloud(rng, (0, 60, 172), (26, 9, 22), 800, 1.5)]
    for side in (-1, 1):
        turn = rng.uniform(0, 1, 1300)
        x = side * (38 + 78 * np.sin(turn * 1.7))
        y = 58 - 100 * turn
        z = 150 - 32 * np.sin(turn * 3.0) + 18 * turn
        wing = np.column_stack([x, y, z]) + rng.normal(0, (6, 6, 11), (1300, 3))
        bones.append(np.column_stack([wing, np.full(1300, 1.0)]))
        bones.append(_cloud(rng, (side * 88, 0, 215), (15, 15, 15), 650, 1.2))
        bones.append(_line(rng, (side * 92, 0, 220), (side * 112, 5, 255), 14, 350, 0.8))
        bones.append(_line(rng, (side * 80, -20, 205), (side * 10, -50, 222), 9, 320, 0.8))
    return np.concatenate(bones)
