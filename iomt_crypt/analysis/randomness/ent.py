"""J. Walker's `ent` (fourmilab.ch/random), as Debian packages it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import pi, sqrt
from typing import Any, Final

from iomt_crypt.analysis.randomness.program import run_program
from iomt_crypt.analysis.randomness.special import erfc, igamc

_HEADER: Final = ["0", "File-bytes", "Entropy", "Chi-square", "Mean", "Monte-Carlo-Pi", "Serial-Correlation"]
#: ent takes six bytes for a point of its Monte Carlo value.
_POINT_BYTES: Final = 6


@dataclass(frozen=True, slots=True)
class EntReport:
    """What ent says about a stream of bytes.

    Parameters
    ----------
    n_bytes
        Length of the stream.
    entropy
        Shannon entropy of the bytes' frequencies, in bits for each byte.
    chi_square
        Of the 256 frequencies, 255 degrees of freedom.
    mean
        Of the bytes; 127.5 is expected.
    monte_carlo_pi
        Four times the share of points that fall into the circle.
    serial_correlation
        Of each byte with the next one (the last with the first).
    """

    n_bytes: int
    entropy: float
    chi_square: float
    mean: float
    monte_carlo_pi: float
    serial_correlation: float

    @property
    def p_values(self) -> dict[str, float]:
        """P-values under the hypothesis of independent uniform bytes; ent itself gives only that of chi-square."""
        n_points = self.n_bytes // _POINT_BYTES
        deviations = {
            "mean": (self.mean - 127.5) / sqrt((256**2 - 1) / 12 / self.n_bytes),
            "Monte Carlo pi": (self.monte_carlo_pi - pi) / (4 * sqrt(pi / 4 * (1 - pi / 4) / n_points)),
            "serial correlation": self.serial_correlation * sqrt(self.n_bytes),
        }
        return {
            "chi-square": igamc(255 / 2, self.chi_square / 2),
            **{name: erfc(abs(deviation) / sqrt(2)) for name, deviation in deviations.items()},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain types only, P-values included, for JSON."""
        return {**asdict(self), "p_values": self.p_values}


def run_ent(stream: Iterable[bytes], *, timeout_s: float = 60.0) -> EntReport:
    """Run ent on the bytes of a stream, 6 or more.

    Raises
    ------
    ConfigurationError
        ent is not installed or fails.
    ValueError
        Its output is not what ent 1.2 writes, or the stream is shorter than one point.
    """
    return parse_ent(run_program("ent", ["-t"], stream, timeout_s=timeout_s))


def parse_ent(text: str) -> EntReport:
    """Read the terse output of ent (`ent -t`): a header line and one line of values.

    Raises
    ------
    ValueError
        The text has another form, or fewer than 6 bytes were counted.
    """
    rows = list(csv.reader(text.splitlines()))
    if len(rows) != 2 or rows[0] != _HEADER or len(rows[1]) != len(_HEADER) or rows[1][0] != "1":
        raise ValueError(f"ent: unexpected output {text[:80]!r}")
    n_bytes = int(rows[1][1])
    if n_bytes < _POINT_BYTES:
        raise ValueError(f"ent: needs at least {_POINT_BYTES} bytes, got {n_bytes}")
    entropy, chi_square, mean, monte_carlo_pi, serial_correlation = (float(value) for value in rows[1][2:])
    return EntReport(n_bytes, entropy, chi_square, mean, monte_carlo_pi, serial_correlation)
