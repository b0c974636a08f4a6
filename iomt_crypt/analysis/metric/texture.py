"""Texture of a grey-level co-occurrence matrix: contrast, homogeneity, energy.

R. M. Haralick, K. Shanmugam, I. Dinstein: Textural Features for Image Classification. IEEE Transactions on Systems, Man
and Cybernetics 3, 1973. As in most papers on image encryption: 8 grey levels (the top 3 bits of the cell), neighbour on
the right. The pairs do not share samples here, so that they are independent and the ranges are exact enough to be kept.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.metric.law import chi_square_quantile
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, check_alpha, check_image

LEVELS = 8
_REFERENCE = "Haralick et al. 1973"
_DISTANCE = np.abs(np.subtract.outer(np.arange(LEVELS), np.arange(LEVELS))).astype(np.float64)


def co_occurrence(plane: Samples) -> npt.NDArray[np.int64]:
    """Count the grey levels of samples 2k and 2k + 1 of each row.

    Parameters
    ----------
    plane
        uint8 or uint16 (rows, columns), two columns or more.

    Returns
    -------
    ndarray
        int64 (8, 8), not made symmetric.

    Raises
    ------
    ValueError
        The plane is not two-dimensional, or has no two columns.
    """
    shift = check_image(plane) - (LEVELS.bit_length() - 1)
    if plane.ndim != 2 or plane.shape[1] < 2:
        raise ValueError(f"the plane must have two dimensions and two columns or more, got {plane.shape}")
    n_columns = plane.shape[1] // 2 * 2
    level = (plane[:, :n_columns] >> shift).astype(np.int64)
    pairs = (LEVELS * level[:, 0::2] + level[:, 1::2]).reshape(-1)
    return np.bincount(pairs, minlength=LEVELS * LEVELS).reshape(LEVELS, LEVELS)


def texture(plane: Samples, *, alpha: float = 0.05) -> list[Measurement]:
    """Measure contrast, homogeneity and energy of a plane, against those of uniform noise.

    Contrast is the mean of (i - j)^2, homogeneity that of 1 / (1 + |i - j|), energy the sum of squared shares.
    """
    check_alpha(alpha)
    counts = co_occurrence(plane)
    n_pairs, n_cells = int(counts.sum()), counts.size
    note = f"{n_pairs} pairs, {LEVELS} levels"
    share = counts / n_pairs
    # n (K sum(p^2) - 1) is Pearson's statistic of the K cells.
    low, high = (chi_square_quantile(q, n_cells - 1) for q in (alpha / 2, 1 - alpha / 2))
    lower, ideal, upper = ((1 + x / n_pairs) / n_cells for x in (low, n_cells - 1, high))
    return [
        _mean("GLCM contrast", _DISTANCE**2, share, n_pairs, alpha),
        _mean("GLCM homogeneity", 1 / (1 + _DISTANCE), share, n_pairs, alpha),
        Measurement("GLCM energy", float((share**2).sum()), ideal, lower, upper, alpha, "", _REFERENCE, note),
    ]


def _mean(
    name: str, weight: npt.NDArray[np.float64], share: npt.NDArray[np.float64], n_pairs: int, alpha: float
) -> Measurement:
    ideal = float(weight.mean())
    reach = NormalDist().inv_cdf(1 - alpha / 2) * sqrt(float(weight.var()) / n_pairs)
    note = f"{n_pairs} pairs, {LEVELS} levels"
    value = float((weight * share).sum())
    return Measurement(name, value, ideal, ideal - reach, ideal + reach, alpha, "", _REFERENCE, note)
