"""All tests of SP 800-22 on one sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from iomt_crypt.analysis.randomness import complexity, excursion, frequency, pattern, template
from iomt_crypt.analysis.randomness.result import Bits, Result, check_bits

_Test = Callable[[Bits], list[Result]]

_SUITE: Final[dict[str, _Test]] = {
    "frequency": frequency.frequency,
    "block frequency": frequency.block_frequency,
    "runs": frequency.runs,
    "longest run": frequency.longest_run,
    "binary matrix rank": complexity.binary_matrix_rank,
    "spectral": complexity.spectral,
    "non-overlapping template": template.non_overlapping_template,
    "overlapping template": template.overlapping_template,
    "universal": pattern.universal,
    "linear complexity": complexity.linear_complexity,
    "serial": pattern.serial,
    "approximate entropy": pattern.approximate_entropy,
    "cumulative sums": frequency.cumulative_sums,
    "random excursions": excursion.random_excursions,
    "random excursions variant": excursion.random_excursions_variant,
}
_ON_CYCLES: Final = ("random excursions", "random excursions variant")

#: Names of the tests in the order of the publication.
TESTS: Final = tuple(_SUITE)


@dataclass(frozen=True, slots=True)
class Applicability:
    """Which tests a sequence is fit for.

    Parameters
    ----------
    tests
        Names of the tests that can be run, in the order of the publication.
    left_out
        For each of the other tests the reason in words.
    """

    tests: tuple[str, ...]
    left_out: dict[str, str]


def applicable(bits: Bits) -> Applicability:
    """Return which tests the sequence is long enough for, and why others are left out.

    Parameters
    ----------
    bits
        uint8 (n,), 0 or 1, n at least 1; see `bits_of`.
    """
    bits = check_bits(bits, "applicable", 1)
    cycles, cycles_minimum = excursion.n_cycles(bits), excursion.cycles_minimum(bits.size)
    tests = []
    left_out = {}
    for name, test in _SUITE.items():
        minimum = (test.__kwdefaults__ or {})["n_minimum"]
        if bits.size < minimum:
            left_out[name] = f"needs at least {minimum} bits, got {bits.size}"
        elif name in _ON_CYCLES and cycles < cycles_minimum:
            left_out[name] = f"needs at least {cycles_minimum} cycles of the walk, got {cycles}"
        else:
            tests.append(name)
    return Applicability(tuple(tests), left_out)


def run_all(bits: Bits, *, tests: Iterable[str] | None = None) -> list[Result]:
    """Run the tests on one sequence.

    Parameters
    ----------
    bits
        uint8 (n,), 0 or 1.
    tests
        Names from `TESTS`. None: those that `applicable` names.

    Returns
    -------
    list of Result
        One for each P-value, 188 if every test is run, in the order of the publication.

    Raises
    ------
    ValueError
        A name is unknown, or the sequence is too short (or has too few cycles) for a test that was asked for by name.
    """
    names = applicable(bits).tests if tests is None else tuple(tests)
    unknown = sorted(set(names) - set(_SUITE))
    if unknown:
        raise ValueError(f"tests must be among {', '.join(TESTS)}, got {', '.join(unknown)}")
    return [result for name in names for result in _SUITE[name](bits)]
