"""docs/ABLATION.md, from the results: every figure and every verdict in it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ablation import section, statistic, table
from benchmarks.ablation.application import BEST, KEY, ODD, SMALL, Row
from benchmarks.ablation.bank import STARTS
from benchmarks.ablation.measurement import METRICS
from benchmarks.ablation.picture import HELD_OUT, Picture
from benchmarks.ablation.section import WORDS
from benchmarks.ablation.study import FULL, IDEAL, Banks, Result, filters, rounds, stages, weights
from benchmarks.ablation.table import LEVEL, estimate, percent
from benchmarks.ablation.training import Bank

TEMPLATE = Path(__file__).with_name("template.md")
#: Kinds of weights that the verdict compares with random ones, in its words.
GAINS = {
    "trained from small weights": "trained from small weights: trained on, rounded",
    "trained from random weights": "trained from uniform weights: trained on, rounded",
    "these as a key disguises them": "bank started uniform, keyed without multiplier",
    "best of many random networks": BEST,
}


@dataclass(frozen=True)
class Study:
    """All that the document shows.

    Parameters
    ----------
    results
        By name of the variant.
    banks
        As trained.
    rows, floors
        One application of the network, and the losses of a random function on training and on held-out images, by
        word size.
    pictures, n_training
        The images measured with, and how many were trained on.
    seconds
        Processor time of the variants that the product can run, relative to the cipher's.
    """

    results: dict[str, Result]
    banks: dict[str, dict[int, Bank]]
    rows: dict[int, list[Row]]
    floors: dict[int, tuple[float, float]]
    pictures: list[Picture]
    n_training: int
    seconds: dict[str, float]

    @property
    def n_pictures(self) -> tuple[int, int]:
        """Images of the two groups."""
        n_zero = sum(picture.name == "zero" for picture in self.pictures)
        return len(self.pictures) - n_zero, n_zero

    @property
    def n_keys(self) -> int:
        """Keys of the metrics."""
        return len(self.results[IDEAL].values)


def write(study: Study) -> str:
    """Return the document: the template with its places filled."""
    banks = Banks(*({w: b.filters for w, b in study.banks[start].items()} for start in ("small", "uniform")))
    whole, alone = weights(banks, alone=False), weights(banks, alone=True)
    groups = {"stages": stages(), "rounds": rounds(), "filters": filters()[:3], "weights": whole}
    results, n_pictures = study.results, study.n_pictures
    places = {
        name: section.diffusion(results, variants, n_pictures) + "\n" + section.images(results, variants, n_pictures)
        for name, variants in groups.items()
    }
    names = list(dict.fromkeys(variant.name for variants in groups.values() for variant in variants))
    places |= _counts(study)
    places["verdict"] = _verdict(study, [variant.name for variant in whole[1:]])
    places["apart"] = section.apart(results, names, n_pictures)
    places["alone"] = section.alone(results, [*filters()[3:], *alone[1:]], n_pictures)
    places["training"] = "\n".join(
        section.applications(rows, word_bits, study.floors[word_bits]) for word_bits, rows in study.rows.items()
    )
    places["space"] = section.space(whole, study.seconds)
    text = TEMPLATE.read_text()
    for name, content in places.items():
        text = text.replace("{{" + name + "}}", content.rstrip("\n"))
    return text


def _verdict(study: Study, others: Sequence[str]) -> str:
    """Say which weights win, by the tests, and what the network adds."""
    tests = table.differences(study.results, FULL.name, others, study.n_pictures)
    distinct = {name: [WORDS[m] for m, p in found.items() if p < LEVEL] for name, found in tests.items()}
    trained = [name for name in others if name.startswith("trained")]
    apart = [f"{name} by {', '.join(distinct[name])}" for name in trained if distinct[name]]
    if apart:
        first = f"**Trained weights make a difference** in the whole cipher: {'; '.join(apart)}."
    else:
        same = [name for name in others if name not in trained and not distinct[name]]
        first = (
            "**Weights come from the key** ([decision 7](decisions/0007-weights-from-the-key.md)). In the whole "
            f"cipher no metric tells trained weights from weights of the key ({len(others) * len(METRICS)} tests over "
            f"{study.n_keys} keys, {100 * LEVEL:.0f}% after Holm). Nor are these told from them: {'; '.join(same)}."
        )
    return "\n\n".join([first, _intervals(study, trained), _losses(study), _network(study)])


def _intervals(study: Study, trained: Sequence[str]) -> str:
    """How large a difference could hide."""
    full, lines = study.results[FULL.name], []
    for name in trained:
        ends = [
            statistic.difference_interval(
                table.pooled(study.results[name], metric, study.n_pictures),
                table.pooled(full, metric, study.n_pictures),
            )
            for metric in ("plain", "flipped")
        ]
        passes, flipped = (
            f"{100 * end.low:+.{d}f} to {100 * end.high:+.{d}f}" for end, d in zip(ends, (1, 3), strict=True)
        )
        lines.append(f"- {name}: {passes} points of trials that pass, {flipped} points of flipped bits;")
    return "Trained weights less weights of the key, 95% intervals:\n\n" + "\n".join(lines)[:-1] + "."


def _losses(study: Study) -> str:
    """What training reaches, beside random weights and beside choosing among random weights."""
    lines = []
    for word_bits, rows in study.rows.items():
        totals = {row.kind: row.held_out.total.numpy() for row in rows}
        odd = totals[ODD]
        gains = "; ".join(
            f"{name} {interval.low:+.3f} to {interval.high:+.3f}"
            for name, kind in GAINS.items()
            for interval in [statistic.difference_interval(totals[kind], odd)]
        )
        lines.append(
            f"- {word_bits} bits: small random weights {totals[SMALL].mean():.3f}, from the key "
            f"{totals[KEY].mean():.3f}, random with odd taps as in the banks {odd.mean():.3f}, a random function "
            f"{study.floors[word_bits][1]:.3f}. "
            f"Less random with odd taps, 95% intervals: {gains}."
        )
    return "Loss of one application of the network on held-out images, 0 to 3:\n\n" + "\n".join(lines)


def _network(study: Study) -> str:
    shares = [
        percent(estimate(study.results[name], "plain", study.n_pictures)) for name in (FULL.name, "no network", IDEAL)
    ]
    return (
        f"Changes of a plain image that pass NPCR and UACI, in %: with the network {shares[0]}, without {shares[1]}, "
        f"unrelated random images {shares[2]}. **No statistic needs the network.** Pooling diffuses and the key stream "
        "hides; the network adds cover: between known samples and the key stream of a round stands a value that "
        "depends on key and image (last columns of the tables under Training)."
    )


def _counts(study: Study) -> dict[str, str]:
    """How many steps, images, keys and trials."""
    pairs = study.n_keys * len(study.pictures)
    settings = {start: by_size[16] for start, by_size in STARTS.items()}
    return {
        "steps_small": str(settings["small"].steps),
        "steps_uniform": str(settings["uniform"].steps),
        "rounded": f"{100 * settings['small'].rounded_share:.0f}",
        "n_keys": str(study.n_keys),
        "n_attacked": str(len(study.results[IDEAL].outcomes)),
        "n_pictures": str(len(study.pictures)),
        "pictures": ", ".join(f"{picture.name.split('#')[0]} ({picture.bits} bit)" for picture in study.pictures),
        "n_training": str(study.n_training),
        "held_out": ", ".join(f"`{name}`" for name in HELD_OUT),
        "n_plain": str(pairs * table.TRIALS["plain"]),
        "n_edge": str(pairs * table.TRIALS["plain_edge"]),
        "n_cipher": str(pairs * table.TRIALS["cipher"]),
    }
