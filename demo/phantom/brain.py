"""Axial T1-weighted sections of a head: scalp, skull, folded cortex, deep grey matter and ventricles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.phantom.field import Field, blur, capsule, cover, ellipse, grain, grid, paint, soft_min

MR_SIZE = 256
MR_SPACING_MM = 0.9


@dataclass(frozen=True)
class Sulcus:
    """One furrow: where it opens (radians around the head), how deep it goes, how it swings, how far its end forks."""

    turn: float
    bottom_mm: float
    swing: float
    phase: float
    branch_mm: float


# Signal of each tissue, 12-bit units.
_FAT, _BONE, _MARROW, _FLUID, _GREY, _WHITE, _DEEP = 2500.0, 110.0, 900.0, 330.0, 1150.0, 1800.0, 1380.0


def brain_sections(seed: int, n_slices: int) -> list[NDArray[np.uint16]]:
    """Sections from the basal ganglia upwards.

    Returns
    -------
    list
        ``n_slices`` arrays (256, 256) of uint16, 0..4095.
    """
    rng = np.random.default_rng(seed)
    x, y = grid(MR_SIZE, MR_SIZE, MR_SPACING_MM)
    folds = _folds(rng)
    sections = []
    for index in range(n_slices):
        level = index / max(n_slices - 1, 1)
        image = _anatomy(x, y, level, folds)
        texture = 1 + 0.02 * grain(rng, image.shape[:2], 1.2)
        bias = 1 + 0.16 * np.exp(-(((x - 60) / 70) ** 2 + ((y + 70) / 80) ** 2)) - 0.10 * np.exp(-(x**2 + y**2) / 3200)
        signal = blur((image * texture * bias).astype(np.float32), 0.65)
        real = signal + 34 * rng.standard_normal(image.shape, dtype=np.float32)
        imaginary = 34 * rng.standard_normal(image.shape, dtype=np.float32)
        sections.append(np.clip(np.rint(np.hypot(real, imaginary)), 0, 4095).astype(np.uint16))  # Rician noise
    return sections


def _folds(rng: np.random.Generator) -> list[Sulcus]:
    """Furrows all around the brain, deep and shallow ones in turn."""
    count = 44
    folds = []
    for index in range(count):
        folds.append(
            Sulcus(
                turn=float(2 * np.pi * (index + rng.uniform(-0.22, 0.22)) / count),
                bottom_mm=float(rng.uniform(17, 25) if index % 2 else rng.uniform(8, 14)),
                swing=float(rng.uniform(0.03, 0.07) * rng.choice((-1, 1))),
                phase=float(rng.uniform(0, 2 * np.pi)),
                branch_mm=float(rng.uniform(0, 5)),
            )
        )
    return folds


def _anatomy(x: Field, y: Field, level: float, folds: list[Sulcus]) -> Field:
    image = np.zeros(x.shape, np.float32)
    a, b = 74 - 7 * level, 94 - 7 * level
    # Heads are egg-shaped: broader behind.
    x = x / (1 + 0.0008 * y) + 0.8 * np.sin(y / 19)
    head = ellipse(x, y - 2, a + 4, b + 5)
    paint(image, cover(head, 1.2), 1250.0)
    paint(image, cover(head - 1.8, 1.2), _FAT)
    paint(image, cover(head - 5.5 - 1.2 * np.sin(np.arctan2(y, x) * 4), 1.2), _BONE)
    paint(image, cover(head - 7.8, 1.0) * cover(10.4 - head, 1.0), _MARROW)
    paint(image, cover(head - 13.5, 1.2), _FLUID)
    depth = ellipse(x, y - 2, a - 11, b - 10)
    _cortex(image, x, y, depth, level, folds)
    _deep_nuclei(image, x, y, level)
    _ventricles(image, x, y, level)
    return image


def _cortex(image: Field, x: Field, y: Field, depth: Field, level: float, folds: list[Sulcus]) -> None:
    """Grey ribbon along the surface and down both banks of every furrow; white matter in between."""
    turn = np.arctan2(x, -y)
    radius = np.hypot(x, y)
    near = depth + 0.5
    for fold in folds:
        middle = fold.turn + 0.35 * level + fold.swing * np.sin(depth / 4.5 + fold.phase + 2 * level)
        across = np.abs((turn - middle + np.pi) % (2 * np.pi) - np.pi) * radius
        furrow = np.hypot(across, np.maximum(depth - fold.bottom_mm, 0))
        branch = np.hypot(np.maximum(across - fold.branch_mm, 0), depth - fold.bottom_mm)
        near = np.minimum(near, np.minimum(furrow, branch + 0.3))
    fissure_end = 42 - 45 * level
    near = np.minimum(near, np.hypot(x, np.maximum(fissure_end - np.abs(y), 0)) - 0.2)
    if level < 0.75:
        for side in (-1, 1):
            # The Sylvian fissure, opening on the insula.
            near = np.minimum(near, -capsule(x, y, (side * 41, -18), (side * 39, 10), 1.0))
            near = np.minimum(near, -capsule(x, y, (side * 40, -12), (side * 68, -22), 0.7))
    brain = cover(depth, 1.0)
    paint(image, brain * cover(near - 0.5, 1.0), _GREY)
    paint(image, brain * cover(near - 3.4, 1.6), _WHITE)


def _deep_nuclei(image: Field, x: Field, y: Field, level: float) -> None:
    if level > 0.75:
        return
    size = 1 - 0.45 * level
    for side in (-1, 1):
        u = x * side
        island = soft_min(ellipse(u - 18, y + 4, 18 * size, 30 * size), u - 3, width=2.0)
        paint(image, cover(island, 2.0), _WHITE)
        thalamus = ellipse(u - 11, y - 10, 9 * size, 15 * size, -0.35)
        lentiform = ellipse(u - 27, y + 6, 7.5 * size, 18 * size, -0.28)
        caudate = ellipse(u - 13, y + 24, 5.5 * size, 10 * size, -0.25)
        for nucleus, signal in ((thalamus, _DEEP), (lentiform, 1270.0), (caudate, 1210.0)):
            paint(image, cover(nucleus, 1.8), signal)


def _ventricles(image: Field, x: Field, y: Field, level: float) -> None:
    wide = 1 - 0.25 * level
    for side in (-1, 1):
        u = x * side
        if level < 0.75:
            front = capsule(u, y, (3.5, -16), (12 * wide, -33), 4.2 * wide)
            back = capsule(u, y, (15, 27), (22 * wide, 46), 4.6 * wide)
            body = capsule(u, y, (4, -14), (5, -2 - 20 * level), 2.0)
            paths = [front, back, body]
        else:
            paths = [capsule(u, y, (7, -24), (12, 26), 3.6)]
        for path in paths:
            paint(image, cover(path, 1.2), _FLUID)
    if level < 0.4:
        paint(image, cover(ellipse(x, y - 8, 1.6, 11), 1.0), _FLUID)
    genu = ellipse(x, y + 40 - 4 * level, 15, 4.5)
    splenium = ellipse(x, y - 34, 14, 6)
    if level < 0.75:
        paint(image, cover(genu, 1.5), _WHITE + 80)
        paint(image, cover(splenium, 1.5), _WHITE + 80)
