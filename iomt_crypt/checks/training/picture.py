"""Pictures of an evaluation: confusion matrices, ROC, calibration, and the frames that were called wrong; PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iomt_crypt.checks.training.evaluation import Trial, Wrong
from iomt_crypt.checks.training.table import ROWS, caught, grouped, matrix

_STYLE: Final[Any] = {"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9}
_DPI = 160
_CALLED = ("encrypted", "plain")
_DARK = 0.6
_BINS = 10
_LARGEST_SHOWN = 256


def draw_matrices(groups: Mapping[str, Sequence[Trial]], title: str) -> bytes:
    """One confusion matrix for each group, with counts and shares of the row."""
    n_columns = min(5, len(groups))
    n_rows = -(-len(groups) // n_columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.5 * n_columns + 1, 3.1 * n_rows + 0.6), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False).reshape(-1)
        for axis, (name, trials) in zip(axes, groups.items(), strict=False):
            _draw_matrix(axis, matrix(trials), ROWS, name)
        for axis in axes[len(groups) :]:
            axis.set_axis_off()
        figure.suptitle(title)
        return _png(figure)


def draw_way_matrix(trials: Sequence[Trial]) -> bytes:
    """One matrix, a row for each way to encrypt."""
    groups = grouped(trials, lambda t: t.way)
    ways = sorted(groups, key=lambda way: (groups[way][0].truth, way))
    counts = [
        [sum(t.called_encrypted for t in groups[w]), sum(not t.called_encrypted for t in groups[w])] for w in ways
    ]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.5, 0.5 * len(ways) + 1.2), layout="constrained")
        names = [f"{way} ({groups[way][0].truth})" for way in ways]
        _draw_matrix(figure.subplots(), counts, names, "classifier, by way of encryption")
        return _png(figure)


def _draw_matrix(axis: Axes, counts: list[list[int]], rows: Sequence[str], title: str) -> None:
    numbers = np.array(counts, float)
    totals = numbers.sum(1, keepdims=True)
    shares = np.divide(numbers, totals, out=np.zeros_like(numbers), where=totals > 0)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(numbers.shape):
        share = f"{100 * shares[row, column]:.2f} %" if totals[row, 0] else "none"
        ink = "white" if shares[row, column] > _DARK else "black"
        axis.text(column, row, f"{counts[row][column]:,}\n{share}", ha="center", va="center", color=ink, fontsize=8)
    axis.set_xticks(range(2), _CALLED)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xlabel("called")
    axis.set_title(title, fontsize=10)


def draw_ways(trials: Sequence[Trial]) -> bytes:
    """Who flagged what, for each way to encrypt: bars of shares."""
    groups = grouped(trials, lambda t: f"{t.way} ({t.truth})" if t.truth in ("encrypted", "invisible") else t.way)
    order = sorted(groups, key=lambda name: ("(encrypted)" in name, "(invisible)" in name, name), reverse=True)
    colours = {"both": "#1f4e79", "statistics alone": "#4a8ac2", "classifier alone": "#d97a1e", "neither": "#dddddd"}
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 0.34 * len(order) + 1.4), layout="constrained")
        axis = figure.subplots()
        counts = [caught(groups[name]) for name in order]
        left = np.zeros(len(order))
        for who, colour in colours.items():
            shares = np.array([100 * count[who] / count["trials"] for count in counts])
            axis.barh(range(len(order)), shares, left=left, color=colour, label=who, height=0.75)
            left += shares
        axis.set_yticks(range(len(order)), [f"{name}, {c['trials']:,}" for name, c in zip(order, counts, strict=True)])
        axis.set_xlim(0, 100)
        axis.set_xlabel("frames flagged, %")
        figure.legend(loc="outside upper right", ncols=4, frameon=False)
        return _png(figure)


def draw_roc(trials: Sequence[Trial], threshold: float) -> bytes:
    """Receiver operating characteristic of the classifier, one curve for each way; false alarms on a log scale."""
    from sklearn.metrics import roc_curve  # type: ignore[import-untyped,unused-ignore]

    good = [t for t in trials if t.truth == "encrypted"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 4.6), layout="constrained")
        axis = figure.subplots()
        groups = grouped([t for t in trials if t.truth in ("plain", "badly encrypted")], lambda t: t.way)
        for number, (way, bad) in enumerate(groups.items()):
            truth = [0] * len(good) + [1] * len(bad)
            false, true, _ = roc_curve(truth, [1 - t.probability for t in [*good, *bad]])
            style = ("-", "--", ":")[number // 10]
            axis.plot(np.maximum(false, 0.5 / max(1, len(good))), true, style, label=way, linewidth=1.2)
        axis.set_xscale("log")
        axis.set_xlabel("properly encrypted frames called plain, share (left edge: none)")
        axis.set_ylabel("frames found, share")
        axis.set_ylim(0, 1.02)
        axis.set_title(f"ROC of the classifier, {len(good):,} properly encrypted frames; threshold {threshold}")
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        return _png(figure)


def draw_calibration(trials: Sequence[Trial]) -> bytes:
    """What share of frames of each probability is encrypted, and how many have it."""
    seen = [t for t in trials if t.truth != "invisible"]
    probability = np.array([t.probability for t in seen])
    encrypted = np.array([t.truth == "encrypted" for t in seen], float)
    place = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(place, minlength=_BINS)
    shares = np.divide(np.bincount(place, encrypted, _BINS), counts, out=np.full(_BINS, np.nan), where=counts > 0)
    centres = (np.arange(_BINS) + 0.5) / _BINS
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5, 5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        upper.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        upper.plot(centres, shares, "o-", color="#1f4e79")
        upper.set_ylabel("encrypted, share")
        upper.set_title("calibration: all frames but invisible defects")
        lower.bar(centres, np.maximum(counts, 0.5), 0.9 / _BINS, color="#4a8ac2")
        lower.set_yscale("log")
        lower.set_ylabel("frames")
        lower.set_xlabel("probability of being encrypted, by the classifier")
        return _png(figure)


def draw_wrong(wrong: Sequence[Wrong]) -> bytes:
    """Frames that the classifier was wrong about, as images of their cells."""
    n_columns = min(4, max(1, len(wrong)))
    n_rows = max(1, -(-len(wrong) // n_columns))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3 * n_columns, 3.3 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False).reshape(-1)
        for axis in axes:
            axis.set_axis_off()
        for axis, one in zip(axes, wrong, strict=False):
            frame = one.frame if min(one.frame.shape) > 1 else _square(one.frame)
            axis.imshow(frame[:_LARGEST_SHOWN, :_LARGEST_SHOWN], cmap="gray", interpolation="nearest")
            trial = one.trial
            who = "statistics find it" if trial.alarms else "statistics: nothing"
            name = f"{trial.source} {trial.kind}, {trial.bits} bit\n{trial.way}\n"
            axis.set_title(f"{name}p(encrypted) = {trial.probability:.3f}; {who}", fontsize=7)
        if not wrong:
            figure.suptitle("the classifier made no mistake")
        return _png(figure)


def _square(frame: Any) -> Any:
    flat = frame.reshape(-1)
    side = max(1, int(flat.size**0.5))
    return flat[: side * side].reshape(side, side)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
