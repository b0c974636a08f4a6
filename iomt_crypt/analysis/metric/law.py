"""Distributions of the figures: probabilities and quantiles, on the special functions of scipy.

Functions import scipy when they are called, so that NPCR and UACI work where it is not installed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]


def binomial_weights(counts: _Floats, n: int, probability: float) -> _Floats:
    """Probabilities of `counts` successes of n; what lies outside of `counts` must be negligible."""
    from scipy.special import gammaln, xlogy  # type: ignore[import-untyped,unused-ignore]

    there = (counts >= 0) & (counts <= n)
    inner = np.where(there, counts, 0.0)
    log = xlogy(inner, probability) + xlogy(n - inner, 1 - probability) - gammaln(inner + 1) - gammaln(n - inner + 1)
    return _normalised(log, there)


def poisson_weights(counts: _Floats, mean: float) -> _Floats:
    """Probabilities of `counts`, 0 or more; what lies outside of them must be negligible."""
    from scipy.special import gammaln, xlogy

    return _normalised(xlogy(counts, mean) - gammaln(counts + 1), counts >= 0)


def binomial_probability(count: int, n: int, probability: float) -> float:
    """Probability of at most `count` successes of n."""
    from scipy.special import betainc

    if count < 0:
        return 0.0
    return 1.0 if count >= n else float(betainc(n - count, count + 1, 1 - probability))


def binomial_quantile(level: float, n: int, probability: float) -> int:
    """Smallest count with a probability of `level` or more that there are no more successes."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_probability(middle, n, probability) >= level:
            high = middle
        else:
            low = middle
    return high


def poisson_quantile(level: float, mean: float) -> int:
    """Smallest count with a probability of `level` or more that there are no more; for small means."""
    from scipy.special import pdtr

    count = 0
    while float(pdtr(count, mean)) < level:
        count += 1
    return count


def chi_square_quantile(level: float, freedom: int) -> float:
    """Value that a chi-square variable keeps below with probability `level`."""
    return 2 * gamma_quantile(level, freedom / 2)


def chi_square_tail(value: float, freedom: int) -> float:
    """Probability of a larger value."""
    from scipy.special import gammaincc

    return float(gammaincc(freedom / 2, value / 2))


def gamma_quantile(level: float, shape: float) -> float:
    """Quantile of the gamma distribution of scale 1."""
    from scipy.special import gammaincinv

    return float(gammaincinv(shape, level))


def student_quantile(level: float, freedom: int) -> float:
    """Quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, level))


def _normalised(log: _Floats, there: npt.NDArray[np.bool_]) -> _Floats:
    weights = np.where(there, np.exp(log - log[there].max()), 0.0)
    return np.asarray(weights / weights.sum(), np.float64)
