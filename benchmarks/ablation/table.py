"""From results to rows: which figures stand in which column, and what can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.ablation import statistic
from benchmarks.ablation.attack import Outcome
from benchmarks.ablation.measurement import METRICS, N_CIPHER, N_PLAIN
from benchmarks.ablation.statistic import Interval
from benchmarks.ablation.study import Result

LEVEL = 0.05
#: What stands in a cell that has no figure.
NOTHING = "-"
#: Share of right samples up to which an attack that gained something has found traces only.
TRACES = 0.01
N_EDGES = 4
#: Trials of one key and image behind a share; the other metrics are means over keys.
TRIALS = {
    "plain": N_PLAIN,
    "plain_edge": N_EDGES,
    "cipher": N_CIPHER,
    "cipher_edge": N_EDGES,
    "flat": 1,
    "uncorrelated": 1,
    "key_change": 1,
}
ATTACKS = {
    "chosen_plaintext": "cipher image of zeros as key",
    "codebook": "codebook",
    "two_rounds": "two-round codebook",
    "three_queries": "three queries",
}
IMAGES, ZEROS = 0, 1


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is aligned to the left."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def pooled(result: Result, name: str, n_pictures: Sequence[int], group: int | None = None) -> npt.NDArray[np.float64]:
    """Return a metric for each key (keys,): the mean over all images, or over those of a group."""
    values = result.values[:, :, METRICS.index(name)]
    if group is not None:
        return values[:, group]
    there = [index for index, count in enumerate(n_pictures) if count]
    return np.average(values[:, there], axis=1, weights=[n_pictures[index] for index in there])


def estimate(result: Result, name: str, n_pictures: Sequence[int], group: int | None = None) -> Interval:
    """Return a metric with its interval: Wilson's for shares of trials, Student's over keys for means."""
    values = pooled(result, name, n_pictures, group)
    if name in TRIALS:
        count = sum(n_pictures) if group is None else n_pictures[group]
        return statistic.share_interval(float(values.mean()), values.size * count * TRIALS[name])
    return statistic.mean_interval(values)


def percent(interval: Interval, digits: int = 1) -> str:
    """Format a share: value and the interval's ends."""
    value, low, high = (100 * part for part in (interval.value, interval.low, interval.high))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def plain_number(interval: Interval, digits: int) -> str:
    """Format a mean and half the width of its interval."""
    value = interval.value if abs(interval.value) >= 0.5 * 10**-digits else 0.0
    return f"{value:.{digits}f} ± {(interval.high - interval.low) / 2:.{digits}f}"


def succeeded(outcomes: list[list[Outcome]]) -> str:
    """Name the attacks that gained something, with what they got right of what they wanted; `NOTHING` for none.

    "Traces": the image found is correlated with the true one, but next to no sample is right.
    """
    found = []
    for position, name in enumerate(ATTACKS):
        of_keys = [outcome[position] for outcome in outcomes]
        n_gained = sum(outcome.gained for outcome in of_keys)
        if n_gained:
            share = float(np.mean([outcome.share for outcome in of_keys]))
            keys = "" if n_gained == len(of_keys) else f", {n_gained} of {len(of_keys)} keys"
            found.append(f"{ATTACKS[name]} ({f'{100 * share:.0f}%' if share > TRACES else 'traces'}{keys})")
    return ", ".join(found) or NOTHING


def differences(
    results: Mapping[str, Result],
    reference: str,
    names: Sequence[str],
    n_pictures: Sequence[int],
    group: int | None = None,
) -> dict[str, dict[str, float]]:
    """Test every metric of every named variant against the reference's.

    Returns
    -------
    dict
        For each variant the metrics with P-values of Mann and Whitney's test over keys, adjusted by Holm for all tests
        of the call.
    """
    cases = [(name, metric) for name in names if name != reference for metric in METRICS]
    raw = [
        statistic.distinct_probability(
            pooled(results[name], metric, n_pictures, group), pooled(results[reference], metric, n_pictures, group)
        )
        for name, metric in cases
    ]
    found: dict[str, dict[str, float]] = {name: {} for name in names if name != reference}
    for (name, metric), value in zip(cases, statistic.holm(raw), strict=True):
        found[name][metric] = value
    return found
