"""Do neighbours resemble each other? Pearson's coefficient of adjacent samples, and of two images."""

from __future__ import annotations

from math import erfc, nan, sqrt
from statistics import NormalDist
from typing import Final, Literal, get_args

import numpy as np

from iomt_crypt.analysis.metric.measurement import Measurement, Samples, check_alpha, check_image

Direction = Literal["horizontal", "vertical", "diagonal"]
DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
#: Rows and columns from a sample to its neighbour.
_STEPS: Final[dict[Direction, tuple[int, int]]] = {"horizontal": (0, 1), "vertical": (1, 0), "diagonal": (1, 1)}
_REFERENCE = "Chen, Mao, Chui 2004"


def adjacent(plane: Samples, direction: Direction) -> tuple[Samples, Samples]:
    """Return all pairs of neighbours, as two arrays of one shape (views); empty where the plane is too narrow.

    Parameters
    ----------
    plane
        uint8 or uint16 (rows, columns).
    direction
        Neighbour on the right, below, or below on the right.

    Raises
    ------
    ValueError
        The plane is not two-dimensional.
    """
    if plane.ndim != 2:
        raise ValueError(f"the plane must have two dimensions, got {plane.ndim}")
    down, right = _STEPS[direction]
    rows, columns = plane.shape
    return plane[: rows - down, : columns - right], plane[down:, right:]


def coefficient(first: Samples, second: Samples) -> float:
    """Return Pearson's correlation coefficient, -1 to 1; NaN where a side is constant, or there are no two samples."""
    if first.size < 2:
        return nan
    x, y = first.astype(np.float64), second.astype(np.float64)
    x -= x.mean()
    y -= y.mean()
    scale = sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / scale if scale > 0 else nan


def adjacent_correlation(plane: Samples, direction: Direction, *, alpha: float = 0.05) -> Measurement:
    """Measure the correlation of all adjacent samples of a plane, not of a random choice of them.

    For independent samples the coefficient is normal about 0 with deviation 1/sqrt(n), n pairs. G. Chen, Y. Mao,
    C. K. Chui: A symmetric image encryption scheme based on 3D chaotic cat maps. Chaos, Solitons & Fractals 21, 2004.
    """
    return _measurement(f"Correlation of neighbours, {direction}", *adjacent(plane, direction), alpha)


def mutual_correlation(first: Samples, second: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure the correlation of two images of one shape, such as plain and cipher image, sample by sample.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"images must have one shape, got {first.shape} and {second.shape}")
    return _measurement("Correlation with the input", first, second, alpha)


def scatter(
    plane: Samples, direction: Direction, *, n_points: int = 2000, rng: np.random.Generator
) -> tuple[Samples, Samples]:
    """Return values of randomly chosen neighbours, for a scatter plot: at most `n_points` pairs, none twice."""
    first, second = (side.reshape(-1) for side in adjacent(plane, direction))
    chosen = rng.choice(first.size, min(n_points, first.size), replace=False)
    return first[chosen], second[chosen]


def _measurement(name: str, first: Samples, second: Samples, alpha: float) -> Measurement:
    check_alpha(alpha)
    check_image(first, 0)
    n_pairs = first.size
    value = coefficient(first, second)
    if n_pairs < 2 or value != value:
        why = "fewer than 2 pairs" if n_pairs < 2 else "one side is constant"
        return Measurement(name, nan, None, None, None, alpha, reference=_REFERENCE, note=f"not defined: {why}")
    reach = NormalDist().inv_cdf(1 - alpha / 2) / sqrt(n_pairs)
    p_value = erfc(abs(value) * sqrt(n_pairs / 2))
    note = f"{n_pairs} pairs; P = {p_value:.4f}; 4/sqrt(n) = {4 / sqrt(n_pairs):.6f}"
    return Measurement(name, value, 0.0, -reach, reach, alpha, reference=_REFERENCE, note=note)
