"""Figures of an evaluation: by source, modality, bit depth and way of encryption, and what each check caught alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from iomt_crypt.checks.training.corpus import SYNTHETIC_SOURCE
from iomt_crypt.checks.training.evaluation import COMPRESSED, Evaluation, Rate, Trial

#: Fewer words cannot be judged; such frames are counted apart.
MINIMUM_WORDS = 64
#: Enough to find defects in a part of the frame.
LARGE = 1024
ROWS = ("encrypted", "plain", "badly encrypted")


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The figures that are promised, by the classifier alone and with the statistics; for JSON."""
    trials = judged(evaluation.trials)
    pick = {
        "plain called plain": [t for t in trials if t.truth == "plain" and t.way != COMPRESSED],
        "compressed called plain": [t for t in trials if t.way == COMPRESSED],
        "properly encrypted called encrypted": [t for t in trials if t.truth == "encrypted"],
        "badly encrypted called plain": [t for t in trials if t.truth == "badly encrypted"],
    }
    found = {name: rate(chosen).to_dict() for name, chosen in pick.items()}
    return found | {f"{name}, with statistics": fused(chosen).to_dict() for name, chosen in pick.items()}


def judged(trials: Iterable[Trial]) -> list[Trial]:
    """Those of frames that are large enough."""
    return [trial for trial in trials if trial.n_words >= MINIMUM_WORDS]


def rate(trials: Iterable[Trial]) -> Rate:
    """How often the classifier was right."""
    right = [trial.called_encrypted == (trial.truth == "encrypted") for trial in trials]
    return Rate(sum(right), len(right))


def fused(trials: Iterable[Trial]) -> Rate:
    """How often classifier and statistics together were right: any alarm counts."""
    right = [trial.flagged != (trial.truth == "encrypted") for trial in trials]
    return Rate(sum(right), len(right))


def grouped(trials: Iterable[Trial], key: Callable[[Trial], str]) -> dict[str, list[Trial]]:
    """Trials by ``key``, sorted."""
    found: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        found[key(trial)].append(trial)
    return dict(sorted(found.items()))


def matrix(trials: Iterable[Trial]) -> list[list[int]]:
    """Rows: `ROWS`; columns: called encrypted, called plain."""
    found = [[0, 0] for _ in ROWS]
    for trial in trials:
        if trial.truth in ROWS:
            found[ROWS.index(trial.truth)][not trial.called_encrypted] += 1
    return found


def caught(trials: Iterable[Trial]) -> dict[str, int]:
    """Who flagged how many."""
    found = {"trials": 0, "both": 0, "statistics alone": 0, "classifier alone": 0, "neither": 0}
    for trial in trials:
        found["trials"] += 1
        by = bool(trial.alarms), not trial.called_encrypted
        found[{(1, 1): "both", (1, 0): "statistics alone", (0, 1): "classifier alone", (0, 0): "neither"}[by]] += 1
    return found


def full(evaluation: Evaluation) -> dict[str, Any]:
    """Everything, for JSON."""
    trials = judged(evaluation.trials)
    seen = [t for t in trials if t.truth != "invisible"]
    parts = {name: [t for t in trials if chosen(t)] for name, chosen in PARTS.items()}
    return {
        "summary": summary(evaluation),
        "matrix": matrix(trials),
        "ways": _ways(trials),
        **{f"ways, {name}": _ways(part) for name, part in parts.items()},
        **{f"by {name}": _by(seen, key) for name, key in KEYS.items()},
        "too small to be judged": len(evaluation.trials) - len(trials),
    }


#: What the figures are divided by.
KEYS: dict[str, Callable[[Trial], str]] = {
    "source": lambda t: t.source if t.source != SYNTHETIC_SOURCE else f"synthetic {t.kind}",
    "modality": lambda t: t.kind if t.source != SYNTHETIC_SOURCE else "synthetic",
    "bits": lambda t: f"{t.bits:2} bit",
}


#: Parts that hardly compare.
PARTS: dict[str, Callable[[Trial], bool]] = {
    "real": lambda t: t.source != SYNTHETIC_SOURCE,
    "real, 1024 words and more": lambda t: t.source != SYNTHETIC_SOURCE and t.n_words >= LARGE,
    "synthetic": lambda t: t.source == SYNTHETIC_SOURCE,
}


def _ways(trials: list[Trial]) -> dict[str, Any]:
    return {
        way: {"classifier": rate(chosen).to_dict(), "with statistics": fused(chosen).to_dict(), **caught(chosen)}
        for way, chosen in grouped(trials, lambda t: t.way).items()
    }


def _by(trials: list[Trial], key: Callable[[Trial], str]) -> dict[str, Any]:
    found = {}
    for name, chosen in grouped(trials, key).items():
        truths = grouped(chosen, lambda t: t.way if t.way == COMPRESSED else t.truth)
        found[name] = {
            "matrix": matrix(chosen),
            **{
                truth: {"classifier": rate(group).to_dict(), "with statistics": fused(group).to_dict()}
                for truth, group in truths.items()
            },
        }
    return found
