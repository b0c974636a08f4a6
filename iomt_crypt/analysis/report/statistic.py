"""Sections of figures of the cipher image: statistics, distance from the input, SP 800-22."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

from iomt_crypt.analysis.image import Frame
from iomt_crypt.analysis.metric import (
    DIRECTIONS,
    Measurement,
    Samples,
    adjacent_correlation,
    chi_square,
    entropy_bits,
    global_entropy,
    local_entropy,
    mean_difference,
    mutual_correlation,
    signal_to_noise,
    similarity,
    squared_error,
    texture,
)
from iomt_crypt.analysis.metric.entropy import LOCAL_SIDE
from iomt_crypt.analysis.randomness import Result, applicable, bits_of, run_all
from iomt_crypt.analysis.report.content import Row, Section, Table
from iomt_crypt.analysis.report.subject import Subject

#: Bits of the cipher image that SP 800-22 gets: its tests are made for sequences of about a million.
_MAXIMUM_BITS = 1 << 20
_SP_ALPHA = 0.01


def statistics(subject: Subject) -> Section:
    """Entropy, histogram, correlation and texture of the cipher image, beside those of the input."""
    text = (
        "Of the cipher image; the column 'input' has the same figure of the input. Ideal values and ranges are those "
        "of this very word size and number of samples: no finite image reaches an entropy of 8 or 16 bits.",
    )
    rows = tuple(_rows(subject, subject.image, subject.encrypted))
    return Section("statistics", "Statistics of the cipher image", text, rows)


def stored_rows(subject: Subject, stored: Samples) -> tuple[Row, ...]:
    """Entropy, histogram and correlation of what a suite stores."""
    alpha = subject.settings.alpha
    found = [global_entropy(stored, alpha=alpha), chi_square(stored, alpha=alpha)]
    for name, plane in subject.frame.planes(stored):
        found += [_named(adjacent_correlation(plane, direction, alpha=alpha), name) for direction in DIRECTIONS]
    return tuple(Row(measurement) for measurement in found)


def distance(subject: Subject) -> Section:
    """How far the cipher image is from the input."""
    alpha, image, encrypted = subject.settings.alpha, subject.image, subject.encrypted
    rows = [
        Row(mutual_correlation(image, encrypted, alpha=alpha)),
        Row(squared_error(image, encrypted, alpha=alpha)),
        Row(signal_to_noise(image, encrypted, alpha=alpha), counted=False),
        Row(mean_difference(image, encrypted, alpha=alpha), counted=False),
    ]
    planes = zip(subject.frame.planes(image), subject.frame.planes(encrypted), strict=True)
    for (name, plain), (_, cipher_plane) in planes:
        found = similarity(plain, cipher_plane, rng=subject.rng(f"similarity {name}"), alpha=alpha)
        rows.append(Row(_named(found, name)))
    text = (
        "An ideal cipher image has no relation to the input: what is expected follows from the input alone. A larger "
        "distance is no merit. PSNR and UACI restate MSE and are not counted in the verdict.",
    )
    return Section("distance", "Distance from the input", text, tuple(rows))


def randomness(subject: Subject) -> Section:
    """NIST SP 800-22 on the bits of the cipher image."""
    bits = bits_of(subject.encrypted)[:_MAXIMUM_BITS]
    left_out = applicable(bits).left_out
    results = run_all(bits)
    groups = [(name, list(group)) for name, group in groupby(results, key=lambda result: result.test)]
    rows, verdicts = [], []
    for name, group in groups:
        smallest = min(result.p_value for result in group)
        needed = smallest_allowed(len(group))
        rows.append((name, str(len(group)), f"{smallest:.4f}", f"{needed:.6f}"))
        verdicts.append(smallest >= needed)
    text = [
        f"The first {bits.size} bits of the cipher image, most significant bit of each byte first. A test with several "
        "P-values passes if the smallest one is not below its bound, so that each test fails an ideal cipher with a "
        f"probability of {_SP_ALPHA} at most.",
    ]
    text += [f"Not applicable: {name} ({reason})." for name, reason in left_out.items()]
    return Section(
        "randomness",
        "NIST SP 800-22",
        tuple(text),
        table=Table(("Test", "P-values", "Smallest", "Allowed from"), tuple(rows), tuple(verdicts)),
        data={
            "n_bits": int(bits.size),
            "alpha": _SP_ALPHA,
            "left_out": left_out,
            "tests": [_test_dict(name, group) for name, group in groups],
        },
    )


def smallest_allowed(n_values: int) -> float:
    """Return the bound of the smallest of n P-values of one test at level 0.01 (Sidak 1967)."""
    return 1 - float((1 - _SP_ALPHA) ** (1 / n_values))


def _test_dict(name: str, group: list[Result]) -> dict[str, object]:
    smallest = min(result.p_value for result in group)
    return {
        "test": name,
        "passed": smallest >= smallest_allowed(len(group)),
        "smallest_allowed": smallest_allowed(len(group)),
        "results": [result.to_dict() for result in group],
    }


def _rows(subject: Subject, image: Samples, encrypted: Samples) -> Iterable[Row]:
    alpha, frame = subject.settings.alpha, subject.frame
    yield Row(global_entropy(encrypted, alpha=alpha), entropy_bits(image))
    yield Row(chi_square(encrypted, alpha=alpha), chi_square(image, alpha=alpha).value)
    for name, plain, plane in _pairs(frame, image, encrypted):
        if min(plane.shape) >= LOCAL_SIDE:
            # The same blocks in both.
            before, after = (
                local_entropy(side, rng=subject.rng(f"local entropy {name}"), alpha=alpha) for side in (plain, plane)
            )
            yield Row(_named(after, name), before.value)
        for direction in DIRECTIONS:
            before, after = (adjacent_correlation(side, direction, alpha=alpha) for side in (plain, plane))
            yield Row(_named(after, name), before.value)
        if plane.shape[1] >= 2:
            for before, after in zip(texture(plain, alpha=alpha), texture(plane, alpha=alpha), strict=True):
                yield Row(_named(after, name), before.value)


def _pairs(frame: Frame, image: Samples, encrypted: Samples) -> Iterable[tuple[str, Samples, Samples]]:
    for (name, plain), (_, plane) in zip(frame.planes(image), frame.planes(encrypted), strict=True):
        yield name, plain, plane


def _named(measurement: Measurement, channel: str) -> Measurement:
    return replace(measurement, name=f"{measurement.name}, {channel}") if channel else measurement
