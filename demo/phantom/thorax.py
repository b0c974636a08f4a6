"""A chest in Hounsfield units as a function of the level: the CT sections and the chest radiograph are cut from it.

Coordinates in mm: x to the patient's left, y to the back, z to the feet; the lungs begin at z = -20 and end near 190.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from demo.phantom.field import Field, capsule, cover, ellipse, paint, ramp, soft_min
from demo.phantom.vessel import Segments, grow

AIR = -1000.0
FAT = -95.0
MUSCLE = 55.0


# Directions in which the vessels leave the hilum of the left lung (x, y, z).
_LOBES = (
    (0.5, 0.2, -1.0),
    (0.9, -0.5, -0.7),
    (1.0, -0.7, -0.15),
    (1.0, 0.6, -0.3),
    (1.0, 0.1, 0.2),
    (0.8, 0.6, 0.6),
    (0.7, 0.2, 1.0),
    (0.4, -0.6, 0.9),
)


@dataclass(frozen=True)
class Section:
    """One level: the field of HU and the mask of the lungs (both (rows, columns))."""

    hu: Field
    lung: Field


@cache
def vessels() -> Segments:
    """The pulmonary vessels of both lungs, arteries and veins alike."""
    rng = np.random.default_rng(7)
    trees = []
    for side in (-1, 1):
        for towards in _LOBES:
            root = (side * 34.0, 6.0, 92.0 + 8 * towards[2])
            trees.append(grow(rng, root, (side * towards[0], towards[1], towards[2])))
    return np.concatenate(trees)


def section(x: Field, y: Field, z: float, edge_mm: float) -> Section:
    """The chest at level ``z``; ``edge_mm`` is the softness of outlines (the pixel size)."""
    hu = np.full(x.shape, AIR, np.float32)
    # Breathing room for symmetry: a real chest is never an ellipse.
    x = x + 2.5 * np.sin(y / 31 + z / 60) + 1.2 * np.sin(y / 13 - z / 40)
    y = y + 2.0 * np.sin(x / 37 + z / 90) + 0.9 * np.sin(x / 11 + z / 23)
    cage = _wall(hu, x, y, z, edge_mm)
    lung = cover(_lung(x, y, z, cage), edge_mm)
    paint(hu, cover(cage - 3, edge_mm), FAT + 25)
    _below_diaphragm(hu, x, y, z, cage, edge_mm)
    paint(hu, lung, -865 + 45 * cover(y - 20, 160))
    _heart(hu, x, y, z, edge_mm)
    _great_vessels(hu, x, y, z, edge_mm)
    _airway(hu, x, y, z, edge_mm)
    _ribs(hu, x, y, z, cage, edge_mm)
    _spine(hu, x, y, z, edge_mm)
    _shoulder_girdle(hu, x, y, z, edge_mm)
    return Section(hu, lung)


def _wall(hu: Field, x: Field, y: Field, z: float, edge: float) -> Field:
    """Skin, fat and muscle; returns the depth inside the rib cage."""
    broad = 62 + 103 * ramp(z, -75, 15)
    deep = 62 + 48 * ramp(z, -60, 60)
    around = np.arctan2(y, x)
    # A rounded box looks more like a chest than an ellipse does; its back is flatter than its front.
    bend = 1 + (0.075 + 0.03 * cover(y, 120)) * np.sin(2 * np.arctan2(y / deep, x / broad)) ** 2
    body = ellipse(x / bend, y / bend, broad, deep)
    paint(hu, cover(body, edge), 30.0)
    paint(hu, cover(body - 2.2, edge), FAT)
    fat = 11 + 5 * cover(y, 120) + 3.0 * np.sin(around * 3 + z / 70)
    muscle = body - fat
    paint(hu, cover(muscle, edge), MUSCLE)
    seams = np.abs(np.sin(np.arctan2(y - 20, x) * 5 + muscle / 7 + z / 50)) * 9
    paint(hu, cover(muscle - 2, edge) * cover(1.1 - seams, 2 * edge) * 0.8, FAT)
    size = 0.42 + 0.58 * float(np.sqrt(max(1 - (max(118 - z, 0) / 138) ** 2, 0)))
    if z < -22:
        return np.full(x.shape, -60, np.float32)
    return ellipse(x / bend, (y + 2) / bend, 137 * size, 88 * size**0.6)


def _dome(x: Field, y: Field, z: float) -> Field:
    """Depth in mm below the diaphragm."""
    right = 158 + ((x + 66) / 11.5) ** 2 + ((y + 6) / 9.5) ** 2
    left = 172 + ((x - 70) / 10.5) ** 2 + ((y + 2) / 9.5) ** 2
    below: Field = np.maximum(z - right, z - left) * 0.55
    return below


def _lung(x: Field, y: Field, z: float, cage: Field) -> Field:
    middle = 17 + 14 * np.exp(-(((y - 4) / 24) ** 2)) * ramp(z, 20, 80) + 9 * np.exp(-(((y - 62) / 22) ** 2))
    side = np.abs(x - 3) - middle
    apex = (z + 20 - ((np.abs(x) - 46) / 9) ** 2 - ((y - 5) / 13) ** 2) * 0.6
    depths = [cage - 7.5, side, -_dome(x, y, z), apex]
    if 70 < z < 200:
        depths.append(-_heart_outline(x, y, z) - 2)
    return soft_min(*depths, width=3.2)


def _heart_outline(x: Field, y: Field, z: float) -> Field:
    level = (z - 135) / 62
    if abs(level) >= 1:
        return np.full(x.shape, -40, np.float32)
    size = float(np.sqrt(1 - level**2))
    lean = 26 + 0.22 * (z - 135)
    return ellipse(x - lean, y + 24, 60 * size, 44 * size, 0.38)


def _heart(hu: Field, x: Field, y: Field, z: float, edge: float) -> None:
    outline = _heart_outline(x, y, z)
    paint(hu, cover(outline + 1.5, edge), FAT)
    paint(hu, cover(outline - 2, edge), 118.0)
    # Left ventricle, right ventricle, left atrium, right atrium: centre x, y, z, half axes, contrast in HU.
    for cx, cy, cz, a, b, c, value in (
        (46, -20, 148, 27, 17, 36, 285.0),
        (18, -42, 142, 30, 13, 34, 245.0),
        (16, 6, 115, 27, 14, 24, 290.0),
        (-14, -18, 122, 19, 20, 33, 235.0),
    ):
        level = (z - cz) / c
        if abs(level) < 1:
            size = float(np.sqrt(1 - level**2))
            chamber = ellipse(x - cx, y - cy, a * size, b * size, 0.42)
            rough = 1.3 * np.sin(x / 3.1 + z) * np.sin(y / 2.7)
            paint(hu, cover(soft_min(chamber + rough, outline - 5, width=1.5), edge), value)


def _great_vessels(hu: Field, x: Field, y: Field, z: float, edge: float) -> None:
    blood = 300.0
    if 40 < z < 108:
        paint(hu, cover(17 * ramp(z, 38, 52) - np.hypot(x + 6, y + 26 - (108 - z) * 0.1), edge), blood)
    if z > 42:
        paint(hu, cover(12.5 * ramp(z, 40, 52) - np.hypot(x - 24 + (z - 52) * 0.035, y - 40), edge), blood)
    if 38 < z <= 62:
        arch = float(np.sqrt(max(1 - ((z - 52) / 14) ** 2, 0)))
        paint(hu, cover(capsule(x, y, (-6, -20), (23, 36), 14.5 * arch + 0.1), edge), blood)
    if z <= 44:
        for cx, cy in ((-12, -18), (4, -12), (18, 0)):
            paint(hu, cover(5.2 - np.hypot(x - cx * (1 - z / 300), y - cy), edge), blood)
    if z < 112:
        paint(hu, cover(ellipse(x + 29, y + 20, 9.5, 8), edge), 420.0)
    if 72 < z < 106:
        paint(hu, cover(ellipse(x - 20, y + 36, 15, 14), edge), 330.0)
    if 78 < z < 98:
        half = 8.5 * float(np.sqrt(1 - ((z - 88) / 10) ** 2)) + 0.5
        paint(hu, cover(capsule(x, y, (18, -28), (-38, 2), half), edge), 325.0)
        paint(hu, cover(capsule(x, y, (20, -28), (44, 8), half), edge), 325.0)
    paint(hu, cover(ellipse(x - 8, y - 30, 9, 6.5), edge), 42.0)


def _airway(hu: Field, x: Field, y: Field, z: float, edge: float) -> None:
    if z < 78:
        tubes = [(0.0, 8.0, 9.0)]
    elif z < 116:
        apart = (z - 78) * 0.95
        tubes = [(-apart - 2, 9.0, 7.2), (apart + 3, 11.0, 6.2)]
    else:
        return
    for cx, cy, radius in tubes:
        tube = np.hypot(x - cx, y - cy)
        paint(hu, cover(radius + 1.6 - tube, edge), 30.0)
        paint(hu, cover(radius - tube, edge), AIR)


def _below_diaphragm(hu: Field, x: Field, y: Field, z: float, cage: Field, edge: float) -> None:
    below = soft_min(_dome(x, y, z), cage - 8, width=3.0)
    paint(hu, cover(below, edge), MUSCLE)
    # A sloping fissure divides the liver from the stomach and the spleen.
    across = x + 0.25 * y - 26
    paint(hu, cover(soft_min(below - 2, -across, width=3.0), edge), 112.0)
    spleen = soft_min(below - 3, across - 12, y - 6 - 0.1 * x, width=3.0)
    paint(hu, cover(spleen, edge), 126.0)
    stomach = soft_min(below - 3, across - 8, -y - 4, width=4.0)
    paint(hu, cover(stomach, edge), 60.0)
    paint(hu, cover(stomach - 4, edge), 22.0)
    paint(hu, cover(soft_min(stomach - 4, -y - 40, width=1.0), edge), -950.0)


def _ribs(hu: Field, x: Field, y: Field, z: float, cage: Field, edge: float) -> None:
    """Twelve pairs of sloping hoops: what a plane cuts of them are the long ovals of an axial section."""
    if z < -15:
        return
    # 0 at the spine, 1 at the sternum
    front = np.arccos(np.clip(y / np.hypot(x, y + 1e-3), -1, 1)) / np.pi
    spacing = 25.0
    phase = z - 82 * front * (1.1 - 0.45 * front) + 3 * np.sin(front * 9)
    height = (phase % spacing) - spacing / 2
    shell = ellipse(height, cage - 3.5, 6.4, 4.0)
    allowed = cover((0.93 - front) * 100, 4) * cover((phase + 22) * 1.0, 4)
    cartilage = cover((front - 0.76) * 100, 8)
    bone = cover(shell, edge) * allowed
    paint(hu, bone, 780.0 - 640 * cartilage)
    paint(hu, cover(shell - 1.7, edge) * allowed, 330.0 - 200 * cartilage)
    if 28 < z < 165:
        plate = ellipse(x, y + 83 * (0.42 + 0.58 * ramp(z, -20, 118)) ** 0.6, 17, 5.5)
        paint(hu, cover(plate, edge), 560.0)
        paint(hu, cover(plate - 1.6, edge), 210.0)


def _spine(hu: Field, x: Field, y: Field, z: float, edge: float) -> None:
    level = (z % 25) - 12.5
    disc = ramp(abs(level), 9.0, 10.5)
    body = ellipse(x, y - 60, 18.5 - 1.5 * float(np.cos(level / 5)), 15.5)
    arch = ellipse(x, y - 84, 13.5, 11)
    for side in (-1, 1):
        process = capsule(x, y, (side * 9, 79), (side * 30, 88), 4.3)
        paint(hu, cover(process, edge) * (1 - 0.85 * disc), 480.0)
        paint(hu, cover(process - 1.4, edge) * (1 - 0.85 * disc), 240.0)
    paint(hu, cover(arch, edge), 560.0)
    paint(hu, cover(capsule(x, y, (0, 92), (0, 103), 3.4), edge), 500.0)
    paint(hu, cover(body, edge), 680.0 - 560 * disc)
    trabeculae = 18 * np.sin(x * 1.7) * np.sin(y * 1.9 + z)
    paint(hu, cover(body - 1.7, edge), 230.0 - 130 * disc + trabeculae * (1 - disc))
    canal = ellipse(x, y - 81, 9.5, 8.2)
    paint(hu, cover(canal, edge), 8.0)
    paint(hu, cover(ellipse(x, y - 81, 5.5, 4.6), edge), 42.0)


def _shoulder_girdle(hu: Field, x: Field, y: Field, z: float, edge: float) -> None:
    if -25 < z < 105:
        for side in (-1, 1):
            out = 112 - 0.10 * z
            width = (33 - 0.20 * z) * (0.25 + 0.75 * ramp(z, -25, 5))
            blade = ellipse(x - side * out, y - 56 - 0.06 * z, width, 3.4, side * -0.62)
            paint(hu, cover(blade, edge), 620.0)
            paint(hu, cover(blade - 1.3, edge), 320.0)
    if -36 < z < 22:
        # The clavicles run outwards and upwards: the plane cuts a short oval that moves outwards with z.
        for side in (-1, 1):
            out = 18 + (20 - z) * 1.9
            bone = ellipse(x - side * out, y + 62 - 0.5 * (20 - z), 17, 5.5, side * 0.3)
            whole = ramp(z, -36, -30) * ramp(-z, -22, -15)
            paint(hu, cover(bone, edge) * whole, 640.0)
            paint(hu, cover(bone - 1.8, edge) * whole, 260.0)
