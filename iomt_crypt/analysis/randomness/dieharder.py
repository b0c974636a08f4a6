"""R. G. Brown's dieharder 3.31, as Debian packages it: the diehard, STS and RGB tests on a stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from iomt_crypt.analysis.randomness.program import run_program

Assessment = Literal["PASSED", "WEAK", "FAILED"]

_ASSESSMENTS: Final[dict[str, Assessment]] = {"PASSED": "PASSED", "WEAK": "WEAK", "FAILED": "FAILED"}
_FIELDS: Final = ("test_name", "ntuple", "tsamples", "psamples", "pvalues", "assessment")
#: Generator 200 of dieharder reads 32-bit words from standard input.
_FROM_STANDARD_INPUT: Final = "200"


@dataclass(frozen=True, slots=True)
class DieharderRow:
    """One P-value of dieharder.

    Parameters
    ----------
    test
        Its name of the test, such as "diehard_birthdays".
    ntuple
        Its parameter n: the length of a tuple, or a lag; 0 for tests without one.
    t_samples, p_samples
        Samples of a single test, and how many single tests the P-value sums up (Kolmogorov-Smirnov).
    p_value
        0 to 1.
    assessment
        dieharder's own: WEAK below 0.005 or above 0.995 (1 in 100 ideal results), FAILED below or above 10^-6.
    """

    test: str
    ntuple: int
    t_samples: int
    p_samples: int
    p_value: float
    assessment: Assessment

    def to_dict(self) -> dict[str, Any]:
        """Return plain types only, for JSON."""
        return asdict(self)


def run_dieharder(
    stream: Iterable[bytes],
    test: int,
    *,
    ntuple: int | None = None,
    p_samples: int | None = None,
    t_samples: int | None = None,
    timeout_s: float = 600.0,
) -> list[DieharderRow]:
    """Run one test of dieharder on a stream.

    Parameters
    ----------
    stream
        Pieces of bytes, read as little-endian 32-bit words; as many as the test asks for.
    test
        dieharder's number of the test (`dieharder -l`).
    ntuple, p_samples, t_samples
        Its options -n, -p and -t; None for its defaults.
    timeout_s
        How long it may work after the last byte it has read, in seconds.

    Raises
    ------
    ConfigurationError
        dieharder is not installed or fails.
    ValueError
        Its output is not what dieharder writes; so when the stream is too short for the test.
    """
    options = ["-g", _FROM_STANDARD_INPUT, "-d", str(test), "-c", ","]
    for flag, value in (("-n", ntuple), ("-p", p_samples), ("-t", t_samples)):
        if value is not None:
            options += [flag, str(value)]
    for field in _FIELDS:
        options += ["-D", field]
    return parse_dieharder(run_program("dieharder", options, stream, timeout_s=timeout_s))


def parse_dieharder(text: str) -> list[DieharderRow]:
    """Read rows of comma-separated test name, ntuple, tsamples, psamples, P-value and assessment.

    Raises
    ------
    ValueError
        A line has another form, or there is no row.
    """
    rows = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_FIELDS) or cells[-1] not in _ASSESSMENTS:
            raise ValueError(f"dieharder: unexpected line {line[:80]!r}")
        p_value = float(cells[4])
        if not 0 <= p_value <= 1:
            raise ValueError(f"dieharder: P-value {cells[4]} of {cells[0]} is not within 0 and 1")
        row = DieharderRow(cells[0], int(cells[1]), int(cells[2]), int(cells[3]), p_value, _ASSESSMENTS[cells[5]])
        rows.append(row)
    if not rows:
        raise ValueError("dieharder: no result; is the stream long enough for the test?")
    return rows
