"""What a report says, before it becomes HTML, PDF or JSON."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any

from iomt_crypt.analysis.metric import Measurement

#: Probability under which the number of figures outside their ranges no longer passes for chance.
UNLIKELY = 0.001


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of the cipher image, and the same figure of the input where there is one.

    ``counted``: whether it has a part in the verdict; figures that restate another one have not.
    """

    measurement: Measurement
    plain: float | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """Something that holds or does not, whatever chance does."""

    name: str
    passed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text; the first column names the rows. ``verdicts``: one for each row, None for none."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    verdicts: tuple[bool | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A picture or figure: PNG for the PDF, SVG for the page where it has one, with a caption and words for it."""

    png: bytes
    caption: str
    alt: str
    svg: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Parameters
    ----------
    key
        Its name in the JSON document, and its anchor on the page.
    text
        Paragraphs.
    exhibits
        Rows of exhibits.
    list_checks
        Show the checks as a table; False where another table shows them.
    data
        What else is in the JSON document.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    checks: tuple[Check, ...] = ()
    table: Table | None = None
    exhibits: tuple[tuple[Exhibit, ...], ...] = ()
    list_checks: bool = True
    data: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is in it as plain types, without texts and pictures."""
        found: dict[str, Any] = {"key": self.key, "title": self.title}
        if self.rows:
            found["figures"] = [_row_dict(row) for row in self.rows]
        if self.checks:
            found["checks"] = [{"name": c.name, "passed": c.passed, "note": c.note} for c in self.checks]
        if self.data is not None:
            found["data"] = self.data
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the cipher image looks like an ideal cipher's.

    Parameters
    ----------
    n_figures, n_outside
        Figures with a range, and those outside of it.
    expected_outside
        Mean number outside, for an ideal cipher.
    probability
        That as many or more are outside by chance, were the figures independent.
    n_checks, n_failed
        Checks, and those that failed.
    """

    n_figures: int
    n_outside: int
    expected_outside: float
    probability: float
    n_checks: int
    n_failed: int

    @property
    def passed(self) -> bool:
        """No check failed, and chance explains the figures outside of their ranges."""
        return self.n_failed == 0 and self.probability >= UNLIKELY

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain types."""
        names = ("passed", "n_figures", "n_outside", "expected_outside", "probability", "n_checks", "n_failed")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. ``facts`` are names and texts of the input and the settings, for the head of the report."""

    name: str
    software: str
    created: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    settings: dict[str, Any]
    source: dict[str, Any]
    sections: tuple[Section, ...]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document: plain types, undefined figures as null."""
        return {
            "format": "iomt-crypt report 1",
            "software": self.software,
            "created": self.created,
            "input": self.source,
            "settings": self.settings,
            "verdict": self.verdict.to_dict(),
            "sections": [section.to_dict() for section in self.sections],
        }


def finite(value: float | None) -> float | None:
    """Return the value, or None where JSON has no number for it."""
    return value if value is not None and isfinite(value) else None


def number_text(value: float | None, measurement: Measurement, *, unit: bool = False) -> str:
    """Return a value with as many digits as its range has, a dash where it is not defined."""
    if value is None or value != value:
        return "–"  # noqa: RUF001 - the dash of tables
    if not isfinite(value):
        return "∞"
    text = f"{value:,.{_decimals(measurement)}f}" if abs(value) >= 1e5 else f"{value:.{_decimals(measurement)}f}"
    return f"{text} {measurement.unit}" if unit and measurement.unit else text


def range_text(measurement: Measurement) -> str:
    """Return the allowed range in words."""
    lower, upper = (number_text(bound, measurement) for bound in (measurement.lower, measurement.upper))
    if measurement.lower is None and measurement.upper is None:
        return "–"  # noqa: RUF001 - the dash of tables
    if measurement.lower is None:
        return f"at most {upper}"
    return f"at least {lower}" if measurement.upper is None else f"{lower} to {upper}"


def _decimals(measurement: Measurement) -> int:
    """Three significant digits of the width of the range, or four of the value without one."""
    bounds = [b for b in (measurement.lower, measurement.ideal, measurement.upper) if b is not None and isfinite(b)]
    width = max(bounds) - min(bounds) if len(bounds) > 1 else 0.0
    if width > 0:
        return max(0, min(9, 2 - floor(log10(width))))
    size = abs(measurement.value)
    return max(0, min(9, 3 - floor(log10(size)))) if isfinite(size) and size > 0 else 2


def _row_dict(row: Row) -> dict[str, Any]:
    m = row.measurement
    numbers = {"value": m.value, "ideal": m.ideal, "lower": m.lower, "upper": m.upper, "input": row.plain}
    return {
        "name": m.name,
        **{name: finite(value) for name, value in numbers.items()},
        "unit": m.unit,
        "alpha": m.alpha,
        "passed": m.passed,
        "counted": row.counted,
        "reference": m.reference,
        "note": m.note,
    }
