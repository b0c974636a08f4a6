"""Random excursions and their variant, sections 2.14 and 2.15 of SP 800-22."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.kernel import FAR, NEAR, VISIT_CLASSES, excursions
from iomt_crypt.analysis.randomness.result import Bits, Result, check_bits, chi_square_result
from iomt_crypt.analysis.randomness.special import erfc


def cycles_minimum(n_bits: int) -> int:
    """Return how many cycles the walk must have at least: 500, and 0.005 * sqrt(n) (section 2.14.4)."""
    return max(500, ceil(0.005 * sqrt(n_bits)))


def n_cycles(bits: Bits) -> int:
    """Return J, the number of cycles of the walk."""
    return excursions(bits)[0]


def random_excursions(bits: Bits, *, n_minimum: int = 1_000_000, n_cycles_minimum: int | None = None) -> list[Result]:
    """Random excursions test, section 2.14: how often do the cycles of the walk visit a state?

    Parameters
    ----------
    bits
        uint8 (n,), 0 or 1.
    n_minimum
        The publication's smallest n.
    n_cycles_minimum
        The publication's smallest number of cycles, `cycles_minimum`, if None; a smaller one is for worked examples.

    Returns
    -------
    list of Result
        Eight rows, states -4 to -1 and +1 to +4; the statistic is chi-square.

    Raises
    ------
    ValueError
        The sequence is too short, or its walk has too few cycles, which happens to four in ten sequences of 10^6 bits.
    """
    bits = check_bits(bits, "random excursions", n_minimum)
    _, classes, _ = _walk("random excursions", bits, n_cycles_minimum)
    return [
        chi_square_result(
            "random excursions", f"state {state:+d}", classes[state + NEAR], visit_probabilities(state), bits.size
        )
        for state in range(-NEAR, NEAR + 1)
        if state
    ]


def random_excursions_variant(
    bits: Bits, *, n_minimum: int = 1_000_000, n_cycles_minimum: int | None = None
) -> list[Result]:
    """Random excursions variant test, section 2.15: how often is each state visited in all?

    18 rows, states -9 to -1 and +1 to +9; the statistic is the number of visits. Arguments and errors are those of
    `random_excursions`.
    """
    bits = check_bits(bits, "random excursions variant", n_minimum)
    cycles, _, visits = _walk("random excursions variant", bits, n_cycles_minimum)
    rows = []
    for state in range(-FAR, FAR + 1):
        if state:
            found = int(visits[state + FAR])
            p_value = erfc(abs(found - cycles) / sqrt(2 * cycles * (4 * abs(state) - 2)))
            rows.append(Result("random excursions variant", f"state {state:+d}", float(found), p_value, bits.size))
    return rows


def visit_probabilities(state: int) -> npt.NDArray[np.float64]:
    """Return the probabilities of 0, 1, 2, 3, 4, and 5 or more visits of the state within a cycle (section 3.14)."""
    never = 1 - 1 / (2 * abs(state))
    some = [never ** (visits - 1) / (4 * state**2) for visits in range(1, VISIT_CLASSES - 1)]
    return np.array([never, *some, never ** (VISIT_CLASSES - 2) / (2 * abs(state))])


def _walk(
    test: str, bits: Bits, n_cycles_minimum: int | None
) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    cycles, classes, visits = excursions(bits)
    minimum = cycles_minimum(bits.size) if n_cycles_minimum is None else n_cycles_minimum
    if cycles < minimum:
        raise ValueError(f"{test}: needs at least {minimum} cycles of the walk, got {cycles}")
    return cycles, classes, visits
