"""Intervals and tests over keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% confidence interval."""

    value: float
    low: float
    high: float


def mean_interval(values: _Values) -> Interval:
    """Return the mean of one value for each key, with Student's interval; float64 (keys,), 2 or more."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / sqrt(values.size)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, values.size - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def share_interval(share: float, n_trials: int) -> Interval:
    """Return a share with the interval of E. B. Wilson, JASA 22, 1927, which holds its level near 0 and 1 too."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    scale = 1 + z * z / n_trials
    centre = (share + z * z / (2 * n_trials)) / scale
    reach = z / scale * sqrt(share * (1 - share) / n_trials + z * z / (4 * n_trials**2))
    # At a share of 0 or 1 the interval ends there, which the formula misses by rounding.
    return Interval(share, min(share, centre - reach), max(share, centre + reach))


def difference_interval(first: _Values, second: _Values) -> Interval:
    """Return mean(first) - mean(second) with Welch's interval; one value for each key."""
    parts = [float(values.var(ddof=1)) / values.size for values in (first, second)]
    difference, total = float(first.mean() - second.mean()), sum(parts)
    if total == 0:
        return Interval(difference, difference, difference)
    freedom = total**2 / sum(part**2 / (v.size - 1) for part, v in zip(parts, (first, second), strict=True))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(total)
    return Interval(difference, difference - reach, difference + reach)


def distinct_probability(first: _Values, second: _Values) -> float:
    """Return the two-sided P-value of Mann and Whitney's test; 1 if all values of both are one."""
    if np.ptp(np.concatenate([first, second])) == 0:
        return 1.0
    return float(stats.mannwhitneyu(first, second, alternative="two-sided").pvalue)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return P-values adjusted for their number: S. Holm, Scandinavian Journal of Statistics 6, 1979."""
    order = np.argsort(probabilities, kind="stable")
    adjusted, largest = [0.0] * len(probabilities), 0.0
    for rank, index in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[index]))
        adjusted[index] = largest
    return adjusted
