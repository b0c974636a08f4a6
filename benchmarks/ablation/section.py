"""The tables of docs/ABLATION.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.ablation import statistic, table
from benchmarks.ablation.application import Row
from benchmarks.ablation.cost import multiplications
from benchmarks.ablation.measurement import METRICS
from benchmarks.ablation.statistic import Interval
from benchmarks.ablation.study import FULL, IDEAL, Result
from benchmarks.ablation.table import IMAGES, LEVEL, NOTHING, ZEROS, estimate, percent, plain_number
from benchmarks.ablation.variant import Variant
from benchmarks.ablation.weight import Uniform
from iomt_crypt.cipher import constant as const

#: In words, for the lists of what differs.
WORDS = {
    "plain": "NPCR/UACI of plain images",
    "plain_edge": "NPCR/UACI at the edges",
    "cipher": "NPCR/UACI of cipher images",
    "cipher_edge": "NPCR/UACI of cipher images at the edges",
    "flipped": "flipped bits",
    "reached": "flipped bits within reach",
    "reached_low": "flipped lowest bits within reach",
    "worst_bit": "worst output bit",
    "entropy_deficit": "entropy",
    "flat": "histogram",
    "uncorrelated": "correlation test",
    "correlation": "correlation",
    "key_change": "changed key",
}
#: The network alone with the cipher's weights.
ALONE = "network only, 2 filters"
_Results = Mapping[str, Result]


def diffusion(results: _Results, variants: Sequence[Variant], n_pictures: tuple[int, int]) -> str:
    """What a changed bit of image, cipher image or key changes."""
    head = (
        "variant",
        "plain change passes, %",
        "at the edges, %",
        "cipher change passes, %",
        "at the edges, %",
        "flipped bits, %",
        "worst output bit, off by",
        "key change passes, %",
    )
    rows = []
    for name in (IDEAL, *(variant.name for variant in variants)):
        result = results[name]
        shares = [percent(estimate(result, m, n_pictures)) for m in ("plain", "plain_edge", "cipher", "cipher_edge")]
        flipped, worst = (_hundred(estimate(result, m, n_pictures)) for m in ("flipped", "worst_bit"))
        key = percent(estimate(result, "key_change", n_pictures))
        rows.append((name, *shares, plain_number(flipped, 3), f"{worst.value:.2f}", key))
    return table.table(head, rows)


def images(results: _Results, variants: Sequence[Variant], n_pictures: tuple[int, int]) -> str:
    """What cipher images look like, what breaks the variant, and what it costs."""
    head = (
        "variant",
        "entropy deficit, bits",
        "histogram flat, %",
        "uncorrelated, %",
        "attacks that succeed",
        "16-bit products a sample",
        "32-bit products a sample, 8 / 16 bit",
    )
    rows = []
    by_name: dict[str, Variant | None] = {IDEAL: None} | {variant.name: variant for variant in variants}
    for name, variant in by_name.items():
        costs = [multiplications(variant, bits) for bits in (8, 16)] if variant else []
        cells = [
            name,
            plain_number(estimate(results[name], "entropy_deficit", n_pictures), 4),
            *(percent(estimate(results[name], m, n_pictures)) for m in ("flat", "uncorrelated")),
            table.succeeded(results[name].outcomes),
            f"{costs[0].narrow:g}" if costs else NOTHING,
            " / ".join(f"{cost.wide:g}" for cost in costs) or NOTHING,
        ]
        rows.append(cells)
    return table.table(head, rows)


def apart(results: _Results, names: Sequence[str], n_pictures: tuple[int, int]) -> str:
    """Which variants differ from the full cipher, by what, and which do not."""
    tests = table.differences(results, FULL.name, [IDEAL, *names], n_pictures)
    found = {name: [WORDS[m] for m, p in values.items() if p < LEVEL] for name, values in tests.items()}
    same = [name for name, differing in found.items() if not differing]
    broken = [name for name in same if table.succeeded(results[name].outcomes) != NOTHING]
    n_tests = len(tests) * len(METRICS)
    lines = [
        f"Against the full cipher, {n_tests} tests, {100 * LEVEL:.0f}% after Holm:\n",
        f"- **Not told apart by any metric**: {'; '.join(same)}.",
        f"- **Of these, broken by an attack**: {'; '.join(broken) or 'none'}.",
        *(f"- Told apart: *{name}*, by {', '.join(differing)}." for name, differing in found.items() if differing),
    ]
    return "\n".join(lines)


def alone(results: _Results, variants: Sequence[Variant], n_pictures: tuple[int, int]) -> str:
    """The network alone: real images, phantoms, and zeros in a column."""
    names = [variant.name for variant in variants]
    tests = table.differences(results, ALONE, names, n_pictures, IMAGES)
    head = (
        "weights",
        "flipped within reach, %",
        "lowest bits, %",
        "entropy deficit, bits",
        "histogram flat, %",
        "uncorrelated, %",
        "zeros: entropy deficit",
        "attacks that succeed",
        "differs from the key's by",
    )
    rows = []
    for name in names:
        result = results[name]
        reached = [_hundred(estimate(result, m, n_pictures, IMAGES)) for m in ("reached", "reached_low")]
        zeros = f"{estimate(result, 'entropy_deficit', n_pictures, ZEROS).value:.2f}" if n_pictures[ZEROS] else NOTHING
        cells = [
            "from the key, 2 filters (the cipher's)" if name == ALONE else name.removeprefix("network only, "),
            *(plain_number(interval, 1) for interval in reached),
            plain_number(estimate(result, "entropy_deficit", n_pictures, IMAGES), 3),
            *(percent(estimate(result, m, n_pictures, IMAGES)) for m in ("flat", "uncorrelated")),
            zeros,
            table.succeeded(result.outcomes),
            ", ".join(WORDS[m] for m, p in tests.get(name, {}).items() if p < LEVEL) or NOTHING,
        ]
        rows.append(cells)
    return table.table(head, rows)


def applications(rows: Sequence[Row], word_bits: int, floors: tuple[float, float]) -> str:
    """One application of the network with different weights."""
    head = (
        f"{word_bits}-bit weights",
        "uniformity",
        "decorrelation",
        "avalanche",
        "loss, held out",
        "loss, training images",
        "cover, bits",
        "cover on zeros, bits",
    )
    lines = []
    for row in rows:
        losses = [row.held_out.uniformity, row.held_out.decorrelation, row.held_out.avalanche]
        totals = [
            statistic.mean_interval(part.total.numpy().astype(np.float64)) for part in (row.held_out, row.training)
        ]
        covers = [NOTHING if value != value else f"{value:.2f}" for value in (row.cover, row.cover_zero)]
        means = [f"{float(part.mean()):.3f}" for part in losses]
        lines.append([row.kind, *means, *(plain_number(total, 3) for total in totals), *covers])
    training, held_out = floors
    lines.append(["a random function (floor)", *[NOTHING] * 3, f"{held_out:.3f}", f"{training:.3f}", NOTHING, NOTHING])
    return table.table(head, lines)


def space(variants: Sequence[Variant], seconds: Mapping[str, float]) -> str:
    """How much of the key the weights hold, and what they cost."""
    head = ("weights", "bits of one filter, 8 / 16 bit", "bits of all filters", "processor time, relative")
    rows = []
    for variant in variants:
        source = variant.source or Uniform()
        bits = [source.key_bits(word_bits) for word_bits in (8, 16)]
        cells = [" / ".join(f"{count * value:.0f}" for value in bits) for count in (1, const.ROUNDS * const.FILTERS)]
        time = f"{seconds[variant.name]:.2f}" if variant.name in seconds else NOTHING
        rows.append([variant.name, *cells, time])
    return table.table(head, rows)


def _hundred(interval: Interval) -> Interval:
    return Interval(100 * interval.value, 100 * interval.low, 100 * interval.high)
