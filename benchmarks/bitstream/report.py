"""Writes docs/RANDOMNESS.md from what the stages measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import expm1, log1p
from pathlib import Path
from typing import Any, Final

from iomt_crypt.analysis.randomness.interpretation import false_alarm_probability

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "RANDOMNESS.md"
#: Below this chance a group of structural tests, or ent, fails; as P_T in the publication.
SMALLEST_CHANCE: Final = 0.0001

Row = dict[str, Any]

HEAD: Final = """# Randomness of the key stream and of cipher images

Written by `make randomness`; the numbers are those of its last run. What it runs is in `benchmarks/randomness.py` and
`benchmarks/bitstream/`, the tests are in `iomt_crypt/analysis/randomness/`. Keys and frames follow from fixed labels,
so that a run can be repeated to the bit (the operating system's generator excepted); no key was chosen, and every
result is shown.

**What this shows and what not.** A cipher whose output fails a test of randomness is broken as a generator. One that
passes is not therefore secure: a counter encrypted with a fixed AES key passes everything here. The lanes of the key
stream as they were before their words were veiled (decision 0008) are among the sources below: a search of 2^38 steps
found their state. Security rests on the authenticated AES-256-GCM layer of suite `hybrid-1`; see SPEC.md, ATTACKS.md.
"""

NIST: Final = """## NIST SP 800-22 Rev. 1a

All 15 tests, 188 P-values for a sequence; {n} sequences of 10^6 bits from each source. The implementation is our own,
checked against the worked examples and appendix B of the publication. Where it departs: the probabilities of the
overlapping template test (Hamano and Kaneko), of the longest run and of the linear complexity test are exact; the
variance of the spectral test is n * 0.95 * 0.05 / 4.

A row passes (section 4.2) if the proportion of sequences with P >= 0.01 is within 0.99 -+ 3 sqrt(0.01 * 0.99 / m), m
the number of sequences (the excursion tests apply to about 60 of 100), and if their P-values are
uniform, P_T >= 0.0001.

**False alarms.** Three deviations would be 0.0027 for a normal distribution. The number of failing sequences among 100
is small and its distribution skew: an ideal generator falls outside with probability {alarm:.4f} in each row, which
makes about {expected:.1f} of 188 rows for *every* source; none at all would be the exception. (The rows depend on each
other, so that the number varies more than a count of independent events.) Section 4.2 demands more experiments then:
every test with a row outside was run again on {again} fresh sequences, where a false alarm has the probability
{alarm_again:.4f}. Both results are shown.
"""

STRUCTURE: Final = """## Structural tests

Tests that look where this generator could be weak: words in the order of the stream, of a lane, of a coupled pair along
the way of its states, and of the lanes that veil each other; single bits; periods of the Weyl words. {keys} keys,
{size:.0f} MiB of key stream each, {total:.0f} GiB in all. A group fails if a smallest P-value like its own would come
from fewer than one in 10 000 groups of ideal P-values.

"""

ENT: Final = """## ent

ent 1.2 on the beginning of each stream. It prints the P-value of chi-square only; the others follow from the same
figures. A stream fails if a P-value is below 0.0001 / 4.

"""

DIEHARDER: Final = """## dieharder

dieharder 3.31.1 with its default numbers of samples, each test on a stretch of its own of the stream. It calls a
P-value WEAK below 0.005 or above 0.995, which happens to one in 100 ideal ones, and FAILED below or above 10^-6. Tests
with a weak result were run again on fresh data.

"""


MISSING: Final = """## {name}

Not run yet for this version; `python -m benchmarks.randomness {name}` runs it and adds it here.
"""


def write(found: dict[str, Any]) -> None:
    """Write the document from the results of the stages; one that was not run is named as such."""
    sections: dict[str, Callable[[Any], list[str]]] = {
        "sp800-22": _sp800_22,
        "structure": _structure,
        "ent": lambda rows: [ENT + _ent(rows)],
        "dieharder": _dieharder,
    }
    parts = [HEAD]
    for name, section in sections.items():
        parts += section(found[name]) if name in found else [MISSING.format(name=name)]
    DOCUMENT.write_text("\n".join(part.rstrip() + "\n" for part in parts))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Make a table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _sp800_22(sources: dict[str, Any]) -> list[str]:
    largest = max(row["n_sequences"] for row in sources["one key"]["first"])
    again = [row["n_sequences"] for source in sources.values() for row in source["second"]]
    alarm = false_alarm_probability(largest)
    text = NIST.format(
        n=largest,
        alarm=alarm,
        expected=_expected(sources["AES-256-CTR"]["first"]),
        again=max(again, default=0),
        alarm_again=false_alarm_probability(max(again, default=1000)),
    )
    summary = table(
        ["source", "rows", "outside, expected", "outside, first experiment", "outside again, second", "verdict"],
        (
            [
                source["title"],
                len(source["first"]),
                f"{_expected(source['first']):.1f}",
                _outside(source["first"]),
                "" if source["kind"] == "poor" else _outside(source["second"]),
                _verdict(source),
            ]
            for source in sources.values()
        ),
    )
    ours = [row for source in sources.values() if source["kind"] == "ours" for row in source["first"]]
    summary += (
        f"\nAll of ours together: {_outside(ours)} of {len(ours)} rows outside in the first experiment, "
        f"{_expected(ours):.0f} expected of an ideal generator.\n"
    )
    parts = [text + "\n" + summary, "### Rows outside the range\n\n" + _again(sources)]
    for source in sources.values():
        parts.append(f"### {source['title'][0].upper()}{source['title'][1:]}\n\n" + _by_test(source["first"]))
    return parts


def _expected(rows: list[Row]) -> float:
    return sum(false_alarm_probability(row["n_sequences"]) + 0.0001 for row in rows)


def _outside(rows: list[Row]) -> int:
    return sum(not row["passed"] for row in rows)


def _verdict(source: dict[str, Any]) -> str:
    failing = _outside(source["second"])
    if source["kind"] == "poor":
        return "fails, as it must" if _outside(source["first"]) > len(source["first"]) / 2 else "PASSES, and must not"
    return "met" if not failing else f"NOT MET in {failing} rows"


def _again(sources: dict[str, Any]) -> str:
    rows = []
    for source in sources.values():
        second = {row["row"]: row for row in source["second"]}
        if source["kind"] != "poor":
            for row in source["first"]:
                if not row["passed"]:
                    rows.append([source["title"], row["row"], *_both(row), *_both(second[row["row"]])])
    head = ["source", "row", "passed", "P_T", "passed, second experiment", "P_T", "range", "verdict"]
    return table(head, ([*row[:4], *row[6:]] for row in rows))


def _both(row: Row) -> list[str]:
    uniformity = "" if row["uniformity"] is None else f"{row['uniformity']:.4f}"
    interval = f"{row['minimum']:.4f} to {row['maximum']:.4f}"
    share = f"{row['n_passed']}/{row['n_sequences']}"
    return [share, uniformity, interval, "within" if row["passed"] else "OUTSIDE"]


def _by_test(rows: list[Row]) -> str:
    tests: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        tests[row["row"].split(",")[0]].append(row)
    return table(
        ["test", "rows", "sequences", "proportion", "range from", "P_T", "rows outside"],
        (
            [
                test,
                len(group),
                group[0]["n_sequences"],
                _span([row["proportion"] for row in group], 3),
                f"{group[0]['minimum']:.4f}",
                _span([row["uniformity"] for row in group if row["uniformity"] is not None], 4),
                _outside(group) or "",
            ]
            for test, group in tests.items()
        ),
    )


def _span(values: list[float], digits: int) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.{digits}f}" if low == high else f"{low:.{digits}f} to {high:.{digits}f}"


def _structure(found: dict[str, Any]) -> list[str]:
    streams = {name: _groups(keys) for name, keys in found["streams"].items()}
    n_keys = len(found["streams"]["key stream"])
    text = STRUCTURE.format(keys=n_keys, size=found["bytes"] / 2**20, total=n_keys * found["bytes"] / 2**30)
    ours, aes, bare = streams["key stream"], streams["AES-256-CTR"], streams["lanes without veil"]
    head = ["tests", "P-values", "smallest", "chance of one so small", "", "AES-256-CTR", "lanes without veil"]
    rows = []
    for group, values in ours.items():
        chance = _chance(values)
        verdict = "pass" if chance >= SMALLEST_CHANCE else "FAIL"
        rows.append(
            [group, len(values), f"{min(values):.2g}", f"{chance:.2g}", verdict, *_small(aes[group], bare[group])]
        )
    seen = [group for group, values in bare.items() if _chance(values) < SMALLEST_CHANCE]
    after = (
        f"\nThe last two columns are the smallest P-values of {len(found['streams']['AES-256-CTR'])} streams of the "
        f"control and of {len(found['streams']['lanes without veil'])} of the lanes as they were before decision 0008, "
        f"which fail: {', '.join(seen) or 'nothing'}.\n"
    )
    return [text + table(head, rows) + after]


def _small(*groups: list[float]) -> list[str]:
    return [f"{min(values):.2g}" + ("" if _chance(values) >= SMALLEST_CHANCE else " FAIL") for values in groups]


def _chance(values: list[float]) -> float:
    """Probability that the smallest of so many independent P-values is as small as this."""
    smallest = min(values)
    return 1.0 if smallest >= 1 else -expm1(len(values) * log1p(-smallest))


def _groups(keys: list[list[Row]]) -> dict[str, list[float]]:
    """P-values of all keys; the eight tables of bytes of an order are one group, and so are the correlations."""
    groups: dict[str, list[float]] = defaultdict(list)
    for rows in keys:
        for row in rows:
            test = row["test"].split(" (")[0]
            variant = row["variant"].split(",")[0] if test != "birthday spacings" else row["variant"]
            groups[f"{test}: {variant}"].append(row["p_value"])
    return dict(groups)


def _ent(found: dict[str, Any]) -> str:
    names = {"one key": "key stream", "one pair": "one pair of lanes", "16-bit images": "16-bit cipher images"}
    rows = []
    for name, report in found.items():
        values = report["p_values"]
        verdict = "pass" if min(values.values()) >= SMALLEST_CHANCE / len(values) else "FAIL"
        rows.append(
            [names.get(name, name), f"{report['n_bytes'] / 2**20:.0f}", f"{report['entropy']:.6f}"]
            + [f"{value:.3g}" for value in values.values()]
            + [verdict]
        )
    head = ["stream", "MiB", "bits for each byte", *(f"P of {name}" for name in next(iter(found.values()))["p_values"])]
    return table([*head, ""], rows)


def _dieharder(found: dict[str, Any]) -> list[str]:
    rows, weak = [], []
    for name, results in found.items():
        counts: dict[str, int] = defaultdict(int)
        for row in results["first"]:
            counts[row["assessment"]] += 1
            if row["assessment"] != "PASSED":
                weak.append([name, *_dieharder_row(row), *_repeated(row, results["second"])])
        rows.append([name, len(results["first"]), counts["PASSED"], counts["WEAK"], counts["FAILED"]])
    text = DIEHARDER + table(["stream", "P-values", "passed", "weak", "failed"], rows)
    if weak:
        text += "\n" + table(["stream", "test", "P", "", "P, again", ""], weak)
    return [text]


def _dieharder_row(row: Row) -> list[str]:
    name = row["test"] + (f", {row['ntuple']}" if row["ntuple"] else "")
    return [name, f"{row['p_value']:.8f}", row["assessment"]]


def _repeated(row: Row, second: list[Row]) -> list[str]:
    same = [other for other in second if (other["test"], other["ntuple"]) == (row["test"], row["ntuple"])]
    return [", ".join(f"{other['p_value']:.8f}" for other in same), ", ".join(other["assessment"] for other in same)]
