"""From a file to a report: the sections one after another, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from iomt_crypt import __version__
from iomt_crypt.analysis.report import look, statistic, stored, trial
from iomt_crypt.analysis.report.content import Report, Section, Verdict
from iomt_crypt.analysis.report.setting import Settings
from iomt_crypt.analysis.report.subject import Subject

Stage = Callable[[Subject], Section | None]
#: Yields the stages one after another, and may show how far it is.
Track = Callable[[Sequence[Stage]], Iterable[Stage]]

#: Those that need enough words for statistics stand in the second list.
_ALWAYS: Final[frozenset[Stage]] = frozenset(
    (look.images, look.histograms, stored.stored, stored.keys, stored.limits, trial.speed)
)
STAGES: Final[tuple[Stage, ...]] = (
    look.images,
    look.histograms,
    look.scatters,
    statistic.statistics,
    statistic.distance,
    trial.plain_sensitivity,
    trial.key_sensitivity,
    trial.robustness,
    stored.stored,
    statistic.randomness,
    stored.keys,
    trial.speed,
    stored.limits,
)


def make_report(path: Path, settings: Settings, *, track: Track = iter) -> Report:
    """Measure one frame of a file.

    Parameters
    ----------
    path
        A DICOM, PNG or JPEG file.
    settings
        How to measure.
    track
        Gets all stages and yields them in their order; a progress bar is put here.

    Raises
    ------
    InputError
        The file cannot be read, or cannot be encrypted; see its subclasses.
    """
    subject = Subject.read(path, settings)
    stages = [stage for stage in STAGES if subject.measurable or stage in _ALWAYS]
    sections = tuple(section for stage in track(stages) if (section := stage(subject)) is not None)
    notes = list(subject.frame.notes)
    if not subject.measurable:
        notes.append(f"With {subject.image.size} words the frame is too small for statistics, which need 1024.")
    frame = subject.frame
    if frame.look.photometric == "PALETTE COLOR":
        notes.append("The words are indices of a colour palette, and are shown as grey values.")
    return Report(
        name=frame.name,
        software=f"iomt-crypt {__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        facts=_facts(subject),
        notes=tuple(notes),
        settings={
            "suite": settings.suite,
            "frame": settings.frame,
            "n_trials": settings.n_trials,
            "alpha": settings.alpha,
            "seed": settings.seed,
        },
        source={
            "name": frame.name,
            "kind": frame.kind,
            "form": frame.form,
            "shape": list(frame.image.shape),
            "word_bits": frame.layout.word_bits,
            "bits_stored": frame.bits_stored,
            "n_words": int(frame.image.size),
            "frame": frame.number,
            "n_frames": frame.n_frames,
            "notes": notes,
        },
        sections=sections,
        verdict=find_verdict(sections),
    )


def find_verdict(sections: Iterable[Section]) -> Verdict:
    """Count the figures outside of their ranges, and how likely chance is to put as many there.

    Each figure is outside with its own probability; the distribution of their number is the Poisson binomial one, were
    they independent. Rows that are not counted and tables of tests with levels of their own are taken as they say.
    """
    levels: list[tuple[bool, float]] = []
    failed = n_checks = 0
    for section in sections:
        for row in section.rows:
            passed = row.measurement.passed
            if row.counted and passed is not None:
                levels.append((passed, row.measurement.alpha))
        n_checks += len(section.checks)
        failed += sum(not check.passed for check in section.checks)
        if section.key == "randomness" and section.data:
            levels += [(test["passed"], section.data["alpha"]) for test in section.data["tests"]]
    n_outside = sum(not passed for passed, _ in levels)
    return Verdict(
        n_figures=len(levels),
        n_outside=n_outside,
        expected_outside=sum(alpha for _, alpha in levels),
        probability=_tail([alpha for _, alpha in levels], n_outside),
        n_checks=n_checks,
        n_failed=failed,
    )


def _tail(probabilities: Sequence[float], count: int) -> float:
    """Probability of `count` or more successes of independent trials with these probabilities."""
    law = [1.0]
    for p in probabilities:
        law = [a * (1 - p) + b * p for a, b in zip([*law, 0.0], [0.0, *law], strict=True)]
    return min(1.0, sum(law[count:]))


def _facts(subject: Subject) -> tuple[tuple[str, str], ...]:
    frame, settings = subject.frame, subject.settings
    size = " x ".join(str(side) for side in reversed(frame.image.shape[:2]))
    if len(frame.channels) > 1:
        size += f", {len(frame.channels)} channels {'one after another' if frame.planar else 'interleaved'}"
    cells = f"{frame.bits_stored} bits stored, encrypted as {frame.image.size} words of {frame.layout.word_bits} bits"
    return (
        ("File", frame.name),
        ("Kind", frame.kind),
        ("Raster", size),
        ("Samples", cells),
        ("Frame", f"{frame.number} of {frame.n_frames}"),
        ("Suite", settings.suite),
        ("Settings", f"alpha {settings.alpha:g}, {settings.n_trials} trials, seed {settings.seed}"),
    )
