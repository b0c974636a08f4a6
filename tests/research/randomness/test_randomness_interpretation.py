"""Section 4.2 of SP 800-22 on cases worked by hand."""

import json
from math import sqrt

import numpy as np
import pytest

from iomt_crypt.analysis.randomness import Result, interpret, interpret_all
from iomt_crypt.analysis.randomness.interpretation import false_alarm_probability, proportion_range


def test_proportion():
    # 4.2.1: m = 1000, alpha = 0.01, 996 sequences pass: 0.996 is within 0.99 -+ 0.0094392
    found = interpret([0.5] * 996 + [0.001] * 4)
    assert (found.n_sequences, found.n_passed, found.proportion) == (1000, 996, 0.996)
    assert found.minimum == pytest.approx(0.99 - 0.00943928)
    assert found.maximum == pytest.approx(0.99 + 0.00943928)
    assert found.proportion_passed
    assert not found.uniformity_passed
    assert not found.passed


@pytest.mark.parametrize(("n_failed", "passed"), [(0, True), (3, True), (4, False)])
def test_proportion_of_a_hundred(n_failed, passed):
    # the limit is 0.96015
    values = np.linspace(0.0105, 0.9995, 100)
    values[:n_failed] = 0.009
    assert interpret(values).proportion_passed is passed


def test_too_many_passing():
    # 1 is above 0.99 + 3 sqrt(0.0099 / m) from m = 892 on
    assert interpret([0.5] * 891).proportion_passed
    assert not interpret([0.5] * 892).proportion_passed


def test_uniformity():
    even = [(k + 0.5) / 10 for k in range(10)]
    found = interpret(even * 10)
    assert found.histogram == (10,) * 10
    assert found.uniformity == 1.0
    # one tenth twice as full, another empty: chi-square = 2 * 100 / 10 = 20, igamc(9/2, 10) = 0.017912
    found = interpret(even[1:] * 10 + [0.95] * 10)
    assert found.histogram == (0, *[10] * 8, 20)
    assert found.uniformity == pytest.approx(0.017912, abs=1e-6)
    assert found.uniformity_passed
    assert not interpret([0.55] * 60).uniformity_passed


def test_ends_of_the_tenths():
    assert interpret([0.0, 0.1, 0.9999, 1.0] * 20).histogram == (20, 20, 0, 0, 0, 0, 0, 0, 0, 40)


def test_few_sequences_have_no_uniformity():
    found = interpret([0.3] * 54)
    assert found.uniformity is None
    assert found.uniformity_passed
    assert interpret([0.3] * 55).uniformity is not None


@pytest.mark.parametrize("values", [[], [0.5, 1.5], [-0.1], [float("nan")]])
def test_what_is_no_p_value(values):
    with pytest.raises(ValueError, match="P-value"):
        interpret(values)


@pytest.mark.parametrize(("n", "alpha"), [(0, 0.01), (5, 0.0), (5, 1.0)])
def test_ranges_refuse_nonsense(n, alpha):
    with pytest.raises(ValueError, match="must be 1 or more and alpha inside"):
        proportion_range(n, alpha=alpha)


def test_alpha():
    low, high = proportion_range(400, alpha=0.05)
    assert (low, high) == pytest.approx((0.95 - 3 * sqrt(0.05 * 0.95 / 400), 0.95 + 3 * sqrt(0.05 * 0.95 / 400)))
    assert interpret([0.02] * 5 + [0.5] * 95, alpha=0.05).n_passed == 95


def test_false_alarms():
    # 100 sequences: four or more of them fail
    at_most_three = sum(c * 0.01**k * 0.99 ** (100 - k) for k, c in enumerate((1, 100, 4950, 161700)))
    assert false_alarm_probability(100) == pytest.approx(1 - at_most_three)
    # the simulation agrees, 0.0184 with a deviation of 0.0004
    failed = np.random.default_rng(3).binomial(100, 0.01, 100_000)
    assert (failed >= 4).mean() == pytest.approx(false_alarm_probability(100), abs=0.002)


def test_rows():
    def sequence(*values):
        return [Result("a", variant, 0.0, value, 10) for variant, value in zip("xy", values, strict=False)]

    # the second sequence has no row y
    found = interpret_all([sequence(0.1, 0.001), sequence(0.2), sequence(0.3, 0.4)])
    assert [(row.row, row.n_sequences, row.n_passed) for row in found] == [("a, x", 3, 3), ("a, y", 2, 1)]
    assert interpret_all([]) == []


def test_json():
    found = json.loads(json.dumps(interpret([0.5, 0.001], row="runs").to_dict()))
    assert (found["row"], found["n_sequences"], found["n_passed"]) == ("runs", 2, 1)
    assert found["uniformity"] is None
    assert found["histogram"] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert found["passed"] is False
