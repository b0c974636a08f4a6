"""The three special functions of the tests, typed; everything else here goes without scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special  # type: ignore[import-untyped,unused-ignore]


def igamc(a: float, x: float) -> float:
    """Upper incomplete gamma function, regularised: P-value of a chi-square of 2x with 2a degrees of freedom."""
    return float(special.gammaincc(a, x))


def erfc(x: float) -> float:
    """Complementary error function: two-sided P-value of a standard normal z = x * sqrt(2)."""
    return float(special.erfc(x))


def normal_cdf(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Distribution function of the standard normal."""
    values: npt.NDArray[np.float64] = special.ndtr(x)
    return values


def poisson_p_value(found: int, expected: float) -> float:
    """Two-sided P-value of a Poisson count: twice the smaller tail, at most 1."""
    below, above = special.pdtr(found, expected), special.pdtrc(found - 1, expected) if found else 1.0
    return float(min(1.0, 2 * min(below, above)))
