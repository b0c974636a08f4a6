"""Chest images as a scanner stores them: an axial CT series and a radiograph, cut from one phantom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.phantom.field import Field, blur, capsule, cover, grain, grid, paint
from demo.phantom.thorax import section, vessels
from demo.phantom.vessel import section as vessel_section
from demo.phantom.vessel import shadow

CT_SIZE = 512
CT_SPACING_MM = 0.72
CT_SLICE_STEP_MM = 17.0
CR_SIZE = 1024
CR_SPACING_MM = 0.36
RESCALE_INTERCEPT = -1024


def ct_level(index: int) -> float:
    """Level of slice ``index`` in mm below the top of the lungs."""
    return 26.0 + index * CT_SLICE_STEP_MM


def ct_series(seed: int, n_slices: int) -> tuple[list[NDArray[np.uint16]], list[NDArray[np.bool_]]]:
    """Axial sections and their lung masks.

    Returns
    -------
    slices
        ``n_slices`` arrays (512, 512) of uint16, 0..4095: Hounsfield units minus ``RESCALE_INTERCEPT``.
    lungs
        As many arrays (512, 512) of bool.
    """
    rng = np.random.default_rng(seed)
    tree = vessels()
    x, y = grid(CT_SIZE, CT_SIZE, CT_SPACING_MM)
    slices, lungs = [], []
    for index in range(n_slices):
        level = ct_level(index)
        cut = section(x, y, level, CT_SPACING_MM)
        vessel_section(cut.hu, tree, level, CT_SPACING_MM, cut.lung, 90.0)
        paint(cut.hu, _couch(x, y), -480.0)
        hu = blur(cut.hu, 0.75) + _noise(rng, x, y)
        slices.append(np.clip(np.rint(hu) - RESCALE_INTERCEPT, 0, 4095).astype(np.uint16))
        lungs.append(cut.lung > 0.5)
    return slices, lungs


def _couch(x: Field, y: Field) -> Field:
    depth = 128 - 0.0011 * x * x
    shell = np.minimum(np.abs(y - depth - 1), np.abs(y - depth - 17))
    mask: Field = cover(0.9 - shell, CT_SPACING_MM) * cover(150 - np.abs(x), CT_SPACING_MM)
    return mask


def _noise(rng: np.random.Generator, x: Field, y: Field) -> Field:
    """Filtered back projection noise: grains, no low frequencies, and stronger in the middle of the body."""
    shape = (x.shape[0], x.shape[1])
    grains = grain(rng, shape, 0.8) - 0.6 * grain(rng, shape, 2.4)
    strength: Field = (8 + 9 * np.exp(-((x / 120) ** 2 + (y / 90) ** 2))).astype(np.float32)
    return grains * strength


def radiograph(seed: int) -> NDArray[np.uint16]:
    """A posterior-anterior chest radiograph: (1024, 1024) uint16, 0..4095, high where much dose arrived (dark)."""
    rng = np.random.default_rng(seed)
    top = -78.0
    height_mm = CR_SIZE * CR_SPACING_MM
    columns, n_depths, depth_mm, n_levels = 384, 60, 4.1, 200
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * (height_mm / columns)
    y = ((np.arange(n_depths, dtype=np.float32) - (n_depths - 1) / 2) * depth_mm)[:, None]
    path = np.empty((n_levels, columns), np.float32)
    for row in range(n_levels):
        # Each ray starts at its own depth, or the steps along it would show as beads on the ribs.
        start = rng.uniform(-0.5, 0.5, columns).astype(np.float32) * depth_mm
        ray_x = np.broadcast_to(x, (n_depths, columns))
        hu = section(ray_x, y + start, top + (row + 0.5) * height_mm / n_levels, 2.0).hu
        path[row] = _attenuation(hu).sum(axis=0) * depth_mm / 10
    path = _blur_inside(path, 0.6)
    film = _stretch(path)
    branches = np.zeros_like(film)
    shadow(branches, vessels(), CR_SPACING_MM, top)
    film += blur(branches, 1.3) * 0.022
    # Edge enhancement, as every reader's console applies.
    film += 0.8 * (film - _blur_inside(film, 16.0)) + 0.9 * (film - _blur_inside(film, 3.0))
    film += grain(rng, (CR_SIZE, CR_SIZE), 0.7) * 0.022
    marker = _side_marker()
    value = 3650 - 455 * film
    paint(value, marker, 240.0)
    return np.clip(np.rint(value), 0, 4095).astype(np.uint16)


def _attenuation(hu: Field) -> Field:
    """Linear attenuation in 1/cm at about 70 keV; bone rises faster than its HU."""
    water = np.maximum(1 + hu / 1000, 0) * 0.19
    per_cm: Field = water + np.maximum(hu - 130, 0) * 0.00034
    return per_cm


def _blur_inside(film: Field, sigma_px: float) -> Field:
    """Blur with mirrored borders: the film goes on where it is cut."""
    margin = 64
    return blur(np.pad(film, margin, mode="reflect"), sigma_px)[margin:-margin, margin:-margin]


def _stretch(path: Field) -> Field:
    """Bilinear zoom to the full film."""
    rows = np.linspace(0, path.shape[0] - 1, CR_SIZE)
    columns = np.linspace(0, path.shape[1] - 1, CR_SIZE)
    low = np.minimum(rows.astype(int), path.shape[0] - 2)
    part = (rows - low)[:, None]
    tall = path[low] * (1 - part) + path[low + 1] * part
    left = np.minimum(columns.astype(int), path.shape[1] - 2)
    share = columns - left
    film: Field = (tall[:, left] * (1 - share) + tall[:, left + 1] * share).astype(np.float32)
    return film


def _side_marker() -> Field:
    """The lead letter R in the corner."""
    x, y = grid(CR_SIZE, CR_SIZE, 1.0)
    x, y = x + 452, y + 440
    strokes = [
        capsule(x, y, (-11, -18), (-11, 18), 3.0),
        capsule(x, y, (-11, 1), (11, 18), 3.0),
        capsule(x, y, (-11, -18), (3, -18), 3.0),
        capsule(x, y, (-11, 0), (3, 0), 3.0),
        3.0 - np.abs(np.hypot(np.maximum(x - 3, 0), y + 9) - 9) - 30 * (x < 3),
    ]
    return cover(np.maximum.reduce(strokes).astype(np.float32), 1.0)
