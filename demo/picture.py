"""The picture of the demo: what went in, what the archive holds, what came back; each with its histogram."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from demo.tile import Tile, tile

MAX_ROWS = 8
_BINS = 128
_PAPER, _INK, _FAINT = "#101418", "#e6e9ec", "#77818b"
_STAGES = (("plain", "#58b4d9"), ("encrypted, as the archive has it", "#e8a33d"), ("decrypted", "#6fca8c"))
_CHANNELS = ("#e5646e", "#67c27a", "#5b9bf0")
_STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 7, "axes.linewidth": 0.5, "text.color": _INK}


@dataclass(frozen=True)
class Row:
    """One object in its three states."""

    label: str
    plain: Dataset
    encrypted: Dataset
    decrypted: Dataset


def caption(ds: Dataset) -> str:
    """Modality, size and transfer syntax, a line each."""
    frames = int(ds.get("NumberOfFrames") or 1)
    size = f"{ds.get('Columns', 0)} x {ds.get('Rows', 0)}" + (f" x {frames}" if frames > 1 else "")
    depth = f"{ds.get('BitsStored', 0)} of {ds.get('BitsAllocated', 0)} bit"
    # A bare data set says nothing of its encoding; it is read as the default one (PS3.5 10).
    syntax = (
        UID(ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
        .name.replace("Little Endian", "LE")
        .replace("Big Endian", "BE")
    )
    colour = str(ds.get("PhotometricInterpretation", ""))
    return f"{size}\n{depth}\n{colour}\n{re.split(r' [(]|[:,]', syntax)[0]}"


def entropy(words: NDArray[Any]) -> float:
    """Shannon entropy of the words in bits, over all values that occur."""
    counts = np.unique(words, return_counts=True)[1].astype(np.float64)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum())


def draw(rows: Sequence[Row], path: Path) -> int:
    """Write the picture as PNG: one line for each of the first `MAX_ROWS` objects with pixels.

    Returns
    -------
    int
        Lines drawn; nothing is written where there is none.
    """
    shown = [row for row in rows if tile(row.encrypted, noise=True) is not None][:MAX_ROWS]
    if not shown:
        return 0
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(13.2, 0.55 + 1.72 * len(shown)), dpi=150, facecolor=_PAPER)
        margin = 0.42 / figure.get_figheight()
        grid = figure.add_gridspec(
            len(shown),
            7,
            width_ratios=[0.72, *(1, 1.12) * 3],
            left=0.008,
            right=0.992,
            top=1 - margin,
            bottom=0.16 / figure.get_figheight(),
            wspace=0.07,
            hspace=0.16,
        )
        for line, row in enumerate(shown):
            _draw_label(figure.add_subplot(grid[line, 0]), row)
            for stage, ds in enumerate((row.plain, row.encrypted, row.decrypted)):
                image, histogram = (figure.add_subplot(grid[line, 1 + 2 * stage + k]) for k in (0, 1))
                _draw_stage(image, histogram, ds, stage)
                if line == 0:
                    image.set_title(_STAGES[stage][0], color=_STAGES[stage][1], fontsize=9, loc="left", pad=5)
        figure.savefig(path, facecolor=_PAPER)
    return len(shown)


def _draw_label(axes: Axes, row: Row) -> None:
    axes.axis("off")
    axes.text(0, 0.97, row.label, fontsize=10.5, weight="bold", va="top", transform=axes.transAxes)
    axes.text(0, 0.80, caption(row.plain), color=_FAINT, va="top", linespacing=1.5, transform=axes.transAxes)


def _draw_stage(image: Axes, histogram: Axes, ds: Dataset, stage: int) -> None:
    shown = tile(ds, noise=stage == 1)
    image.set_xticks([])
    image.set_yticks([])
    image.set_facecolor("#191f26")
    for spine in image.spines.values():
        spine.set_edgecolor("#2b333c")
    if shown is None:
        image.set_box_aspect(1)
        image.text(0.5, 0.5, "not decoded", color=_FAINT, ha="center", va="center", transform=image.transAxes)
        histogram.axis("off")
        return
    image.imshow(shown.picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if stage == 1 else "antialiased")
    _draw_histogram(histogram, shown, _STAGES[stage][1])


def _draw_histogram(axes: Axes, shown: Tile, colour: str) -> None:
    """Over everything the cell can hold, so that empty range shows.

    Heights are square roots, or one peak would hide the rest.
    """
    axes.set_facecolor(_PAPER)
    n_values = shown.high - shown.low + 1
    integral = np.issubdtype(shown.words.dtype, np.integer)
    edges = np.linspace(shown.low, shown.high + integral, (min(_BINS, int(n_values)) if integral else _BINS) + 1)
    channels = [shown.words[..., k] for k in range(shown.words.shape[2])] if shown.words.ndim == 3 else [shown.words]
    colours = _CHANNELS if len(channels) == 3 else [colour] * len(channels)
    heights = [np.sqrt(np.histogram(channel, edges)[0]) for channel in channels]
    top = max(float(height.max()) for height in heights)
    for height, paint in zip(heights, colours, strict=False):
        axes.stairs(height / top, edges, fill=True, color=paint, alpha=0.85 if len(channels) == 1 else 0.38)
        if len(channels) > 1:
            axes.stairs(height / top, edges, color=paint, linewidth=0.6)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.22)
    axes.set_yticks([])
    axes.set_xticks([edges[0], edges[-1]], [f"{shown.low:.6g}", f"{shown.high:.6g}"], color=_FAINT, fontsize=6)
    axes.tick_params(length=0, pad=2)
    left, right = axes.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_edgecolor(_FAINT)
    text = f"entropy {entropy(shown.words):.2f} bit"
    axes.text(0.99, 0.98, text, color=_FAINT, fontsize=6.5, ha="right", va="top", transform=axes.transAxes)
