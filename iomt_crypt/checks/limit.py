"""Limits that counts over noise keep, at any size: Chernoff bounds, so a false alarm is at most as likely as asked for.

H. Chernoff: A measure of asymptotic efficiency for tests of a hypothesis based on the sum of observations. Annals of
Mathematical Statistics 23, 1952. An asymptotic law (chi-square, normal) is wrong where these limits lie, at 10^-11 and
in small frames; a bound costs a little power and never the level. Nothing but numpy is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import floor, inf, lgamma, log, sqrt

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=512)
def square_limits(n_words: int, n_values: int, level: float) -> tuple[float, float]:
    """Return bounds of the sum of squared counts of ``n_words`` uniform words over ``n_values`` values.

    Each is passed with probability ``level`` at most. n words, k values, S the sum of (c - n/k)^2: since the counts are
    multinomial, the expectation of e^(t S) is n! / k^n times the coefficient of z^n in f(z)^k, with f(z) the sum of
    z^c e^(t (c - n/k)^2) / c!, and so at most n! f(z)^k / (k z)^n, here with z = n/k. Counts so high that they hardly
    occur are left out of f, and their probability is added.
    """
    rate = n_words / n_values
    highest = min(n_words, binomial_limit(n_words, 1 / n_values, level / 2 / n_values))
    counts = np.arange(highest + 1, dtype=np.float64)
    terms = counts * log(rate) - _log_factorials(highest)
    squares = (counts - rate) ** 2
    base = lgamma(n_words + 1) - n_words * log(n_words) - log(level / 2)
    scale = 1 / (rate * sqrt(2 * n_values))  # S has a deviation of about 1 / scale

    def bound(t: float) -> float:
        return (base + n_values * _log_sum(terms + t * squares)) / t

    flat = n_words * rate
    return flat - _minimum(lambda t: -bound(-t), scale), flat + _minimum(bound, scale)


@lru_cache(maxsize=512)
def product_limit(n_pairs: int, n_values: int, level: float) -> float:
    """Return the bound of |sum of x y| over ``n_pairs`` neighbours, x and y uniform on n values about 0.

    Words stand in several pairs, as chains: the largest eigenvalue of the kernel e^(t x y) bounds each link of them.
    Values are taken to be continuous on [-n/2, n/2], which is no less spread than they are.
    """
    if n_pairs < 1:
        return inf
    nodes, weights = np.polynomial.legendre.leggauss(32)
    root = np.sqrt(weights / 2)

    def bound(t: float) -> float:
        kernel = root[:, None] * np.exp(t * np.multiply.outer(nodes, nodes)) * root
        return (n_pairs * log(float(np.linalg.eigvalsh(kernel)[-1])) - log(level / 2)) / t

    return _minimum(bound, 3 / sqrt(n_pairs)) * (n_values / 2) ** 2


@lru_cache(maxsize=4096)
def binomial_limit(n: int, probability: float, level: float) -> int:
    """Return the largest count of successes of n that is not an alarm: more have probability ``level`` at most."""
    low, high = floor(n * probability), n
    while low < high:
        middle = (low + high) // 2
        if n * _divergence((middle + 1) / n, probability) >= -log(level):
            high = middle
        else:
            low = middle + 1
    return low


@lru_cache(maxsize=4096)
def binomial_floor(n: int, probability: float, level: float) -> int:
    """Return the smallest count of successes of n that is not an alarm: fewer have probability ``level`` at most."""
    return n - binomial_limit(n, 1 - probability, level)


def _divergence(share: float, probability: float) -> float:
    """Kullback-Leibler divergence of two coins; 0 below ``probability``."""
    if share <= probability:
        return 0.0
    rest = (1 - share) * log((1 - share) / (1 - probability)) if share < 1 else 0.0
    return share * log(share / probability) + rest


def _log_factorials(highest: int) -> _Floats:
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, highest + 1, dtype=np.float64)))))


def _log_sum(exponents: _Floats) -> float:
    top = float(exponents.max())
    return top + log(float(np.exp(exponents - top).sum()))


def _minimum(bound: Callable[[float], float], scale: float) -> float:
    """Smallest value over t > 0; any t gives a valid bound, so that the search need not be exact."""
    return min(bound(scale * step) for step in np.geomspace(0.1, 60.0, 49).tolist())
