"""What classifier and statistics say of images that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.classifier import Classifier
from iomt_crypt.checks.statistic import measure
from iomt_crypt.checks.training.corpus import Plain
from iomt_crypt.checks.training.defect import BAD, GOOD, INVISIBLE, has_equal_blocks

Track = Callable[[Sequence[Any], str], Iterable[Any]]
PLAIN, COMPRESSED = "plain", "compressed plain"
#: Encryptions of one frame: bad in each way, and properly in each way.
N_BAD, N_GOOD = 2, 10
_LEVEL = 0.95
_ALIKE = 2


@dataclass(frozen=True)
class Trial:
    """One frame, and what was said of it.

    Parameters
    ----------
    source, kind, bits
        Of the plain object: see `Plain`.
    truth
        "encrypted", "plain", "badly encrypted" or "invisible".
    way
        How it was encrypted: a key of `GOOD`, `BAD` or `INVISIBLE`, or "plain", or "compressed plain".
    n_words
        Words of the frame.
    probability
        Of being encrypted, by the classifier.
    called_encrypted
        By the classifier.
    alarms
        Of the statistics.
    """

    source: str
    kind: str
    bits: int
    truth: str
    way: str
    n_words: int
    probability: float
    called_encrypted: bool
    alarms: tuple[str, ...]

    @property
    def flagged(self) -> bool:
        """By classifier or statistics."""
        return not self.called_encrypted or bool(self.alarms)


@dataclass(frozen=True)
class Wrong:
    """A frame that the classifier was wrong about."""

    trial: Trial
    frame: Frame


@dataclass(frozen=True)
class Rate:
    """Trials, how many of them went right, and the 95 % interval of the share (Clopper and Pearson 1934)."""

    n_right: int
    n_trials: int

    @property
    def share(self) -> float:
        """In [0, 1]; NaN without trials."""
        return self.n_right / self.n_trials if self.n_trials else float("nan")

    def interval(self) -> tuple[float, float]:
        """Ends of the interval, (0, 1) without trials."""
        from scipy.stats import binomtest  # type: ignore[import-untyped,unused-ignore]

        if not self.n_trials:
            return 0.0, 1.0
        found = binomtest(self.n_right, self.n_trials).proportion_ci(_LEVEL, "exact")
        return float(found.low), float(found.high)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"right": self.n_right, "trials": self.n_trials, "share": self.share, "interval": self.interval()}


@dataclass(frozen=True)
class Evaluation:
    """All trials, and some frames of wrong ones."""

    trials: tuple[Trial, ...]
    wrong: tuple[Wrong, ...]


def evaluate(
    classifier: Classifier,
    plains: Sequence[Plain],
    rng: np.random.Generator,
    track: Track,
    *,
    n_good: int = N_GOOD,
    n_bad: int = N_BAD,
    n_wrong: int = 16,
) -> Evaluation:
    """Try each object plain, and encrypted in every way."""
    trials: list[Trial] = []
    wrong: list[Wrong] = []
    for plain in track(plains, "evaluating"):
        for truth, way, frames in _versions(plain, rng, n_good, n_bad):
            for frame in frames:
                probability = float(classifier.probabilities([frame])[0])
                called, alarms = probability >= classifier.threshold, measure(frame).alarms
                facts = (plain.source, plain.kind, plain.bits, truth, way, frame.size)
                trial = Trial(*facts, probability, called, alarms)
                trials.append(trial)
                right = truth == "invisible" or called == (truth == "encrypted")
                if not right and len(wrong) < n_wrong and _is_new(trial, wrong):
                    wrong.append(Wrong(trial, frame))
    return Evaluation(tuple(trials), tuple(wrong))


def _is_new(trial: Trial, wrong: list[Wrong]) -> bool:
    """At most two of a way and of a source: many errors are alike."""
    same_way = sum(w.trial.way == trial.way for w in wrong)
    return same_way < _ALIKE and sum(w.trial.source == trial.source for w in wrong) < 2 * _ALIKE


def _versions(
    plain: Plain, rng: np.random.Generator, n_good: int, n_bad: int
) -> Iterator[tuple[str, str, list[Frame]]]:
    if plain.form == "compressed":
        yield "plain", COMPRESSED, list(plain.frames)
        return
    yield "plain", PLAIN, list(plain.frames)
    for way, defect in GOOD.items():
        for _ in range(n_good):
            yield "encrypted", way, defect(plain.frames, rng)
    for way, defect in BAD.items():
        for _ in range(n_bad):
            frames = defect(plain.frames, rng)
            if way == "block by block":
                yield from _by_blocks(plain, frames)
            else:
                yield "badly encrypted", way, _bad_ones(plain, frames) if way == "some frames" else frames
    for way, defect in INVISIBLE.items():
        yield "invisible", way, defect(plain.frames, rng)


def _bad_ones(plain: Plain, frames: list[Frame]) -> list[Frame]:
    """Frames that were left plain: one is enough to stop the object, and the others are sound."""
    return [frame for before, frame in zip(plain.frames, frames, strict=True) if np.array_equal(before, frame)]


def _by_blocks(plain: Plain, frames: list[Frame]) -> Iterator[tuple[str, str, list[Frame]]]:
    """Of frames without two equal blocks there is nothing to see."""
    seen = [has_equal_blocks(frame) for frame in plain.frames]
    yield "badly encrypted", "block by block", [f for f, equal in zip(frames, seen, strict=True) if equal]
    yield "invisible", "block by block, all differ", [f for f, equal in zip(frames, seen, strict=True) if not equal]
