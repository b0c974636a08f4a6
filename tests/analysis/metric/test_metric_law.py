"""Distributions against scipy.stats, which computes them another way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from iomt_crypt.analysis.metric import law

COUNTS = np.arange(0, 400, dtype=np.float64)


@pytest.mark.parametrize(("n", "probability"), [(30, 0.5), (1000, 0.1), (262144, 2**-12), (262144, 2**-16)])
def test_binomial(n, probability):
    weights = law.binomial_weights(COUNTS, n, probability)
    expected = stats.binom.pmf(COUNTS, n, probability)
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6, atol=1e-14)
    for level in (0.001, 0.025, 0.05, 0.5, 0.95, 0.975, 0.999):
        assert law.binomial_quantile(level, n, probability) == stats.binom.ppf(level, n, probability)
    for count in (-1, 0, 3, n // 2, n, n + 1):
        assert law.binomial_probability(count, n, probability) == pytest.approx(stats.binom.cdf(count, n, probability))


def test_poisson():
    np.testing.assert_allclose(
        law.poisson_weights(COUNTS, 60.0), stats.poisson.pmf(COUNTS, 60.0), rtol=1e-7, atol=1e-15
    )
    for mean in (0.01, 0.5, 4.0, 10.0):
        for level in (0.001, 0.025, 0.5, 0.975, 0.999):
            assert law.poisson_quantile(level, mean) == stats.poisson.ppf(level, mean)


def test_chi_square_and_student():
    for freedom in (1, 7, 255, 65535):
        for level in (0.01, 0.5, 0.95):
            assert law.chi_square_quantile(level, freedom) == pytest.approx(stats.chi2.ppf(level, freedom), rel=1e-9)
        assert law.chi_square_tail(1.1 * freedom, freedom) == pytest.approx(stats.chi2.sf(1.1 * freedom, freedom))
    assert law.student_quantile(0.975, 11) == pytest.approx(stats.t.ppf(0.975, 11))


def test_the_published_critical_value_of_chi_square():
    """Of 255 degrees of freedom at 0.05, as papers on image encryption quote it."""
    assert round(law.chi_square_quantile(0.95, 255), 4) == 293.2478
