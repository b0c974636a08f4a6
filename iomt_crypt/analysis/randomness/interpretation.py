"""What the P-values of many sequences say together: section 4.2 of SP 800-22."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import comb, sqrt
from typing import Any, Final

import numpy as np

from iomt_crypt.analysis.randomness.result import Result
from iomt_crypt.analysis.randomness.special import igamc

ALPHA: Final = 0.01
_BINS: Final = 10
_UNIFORMITY_MINIMUM: Final = 0.0001
#: "To provide statistically meaningful results, at least 55 sequences must be processed" (4.2.2).
_SEQUENCES_MINIMUM: Final = 55


@dataclass(frozen=True, slots=True)
class Interpretation:
    """One row of the table: how many sequences passed a test, and whether their P-values are uniform.

    Parameters
    ----------
    row
        Name of the row, as in `Result.row`.
    n_sequences
        Number of P-values, m.
    n_passed
        How many of them are not below alpha.
    proportion
        n_passed / n_sequences.
    minimum, maximum
        The range that is accepted for the proportion: 1 - alpha -+ 3 sqrt(alpha (1 - alpha) / m) (4.2.1). The upper end
        is given as it is computed, above 1 if m is small.
    histogram
        P-values in ten equal parts of 0 to 1.
    uniformity
        P_T of section 4.2.2; None for fewer than the 55 sequences that it asks for.
    """

    row: str
    n_sequences: int
    n_passed: int
    proportion: float
    minimum: float
    maximum: float
    histogram: tuple[int, ...]
    uniformity: float | None

    @property
    def proportion_passed(self) -> bool:
        """Whether the proportion is within its range."""
        return self.minimum <= self.proportion <= self.maximum

    @property
    def uniformity_passed(self) -> bool:
        """Whether P_T is 0.0001 or more, or was not to be computed."""
        return self.uniformity is None or self.uniformity >= _UNIFORMITY_MINIMUM

    @property
    def passed(self) -> bool:
        """Whether both criteria are met."""
        return self.proportion_passed and self.uniformity_passed

    def to_dict(self) -> dict[str, Any]:
        """Return plain types only, verdict included, for JSON."""
        return {**asdict(self), "histogram": list(self.histogram), "passed": self.passed}


def interpret(p_values: Sequence[float], *, row: str = "", alpha: float = ALPHA) -> Interpretation:
    """Judge the P-values that one test gave for many independent sequences.

    Parameters
    ----------
    p_values
        One or more, each 0 to 1.
    row
        Name for the result.
    alpha
        Level of significance of the single test.

    Raises
    ------
    ValueError
        There is no P-value, or one is outside 0 to 1 or not a number; alpha is not inside 0 to 1.
    """
    values = np.asarray(p_values, np.float64)
    if values.size == 0 or not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(f"{row or 'p_values'}: needs one P-value or more, each 0 to 1, got {values.size}")
    minimum, maximum = proportion_range(values.size, alpha=alpha)
    n_passed = int(np.count_nonzero(values >= alpha))
    histogram = np.bincount(np.minimum((values * _BINS).astype(np.int64), _BINS - 1), minlength=_BINS)
    uniformity = None
    if values.size >= _SEQUENCES_MINIMUM:
        expected = values.size / _BINS
        uniformity = igamc((_BINS - 1) / 2, float(((histogram - expected) ** 2).sum()) / expected / 2)
    return Interpretation(
        row=row,
        n_sequences=values.size,
        n_passed=n_passed,
        proportion=n_passed / values.size,
        minimum=minimum,
        maximum=maximum,
        histogram=tuple(int(count) for count in histogram),
        uniformity=uniformity,
    )


def interpret_all(sequences: Iterable[Iterable[Result]], *, alpha: float = ALPHA) -> list[Interpretation]:
    """Judge the results of many sequences row by row.

    Parameters
    ----------
    sequences
        What `run_all` returned for each. A row is judged over the sequences that have it; the excursion tests leave
        sequences out.
    alpha
        Level of significance of the single test.
    """
    rows: dict[str, list[float]] = {}
    for results in sequences:
        for result in results:
            rows.setdefault(result.row, []).append(result.p_value)
    return [interpret(values, row=row, alpha=alpha) for row, values in rows.items()]


def proportion_range(n_sequences: int, *, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the lowest and highest accepted proportion of sequences that pass (4.2.1)."""
    if n_sequences < 1 or not 0 < alpha < 1:
        raise ValueError(f"n_sequences must be 1 or more and alpha inside (0, 1), got {n_sequences} and {alpha}")
    reach = 3 * sqrt(alpha * (1 - alpha) / n_sequences)
    return 1 - alpha - reach, 1 - alpha + reach


def false_alarm_probability(n_sequences: int, *, alpha: float = ALPHA) -> float:
    """Return the probability that ideal sequences fall outside the range of the proportion.

    Three standard deviations sound like 0.0027, but the number of failing sequences is small and its distribution
    skew: 0.0184 for 100 sequences.
    """
    minimum, maximum = proportion_range(n_sequences, alpha=alpha)
    inside = sum(
        comb(n_sequences, failed) * alpha**failed * (1 - alpha) ** (n_sequences - failed)
        for failed in range(n_sequences + 1)
        if minimum <= (n_sequences - failed) / n_sequences <= maximum
    )
    return max(0.0, 1 - inside)
