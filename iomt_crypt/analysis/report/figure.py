"""Histograms and scatter plots: SVG whose ink follows the page, and PNG for paper."""

from __future__ import annotations

import io
import re
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from iomt_crypt.analysis.image import Frame
from iomt_crypt.analysis.metric import Direction, Samples, scatter

#: Ink of text and axes: what is drawn in it becomes the page's text colour.
_INK: Final = "#0a0b0c"
#: Colours of input, encrypted and decrypted image, readable on light and on dark ground.
STAGE_COLOURS: Final = {"input": "#3b82b8", "encrypted": "#d97a1e", "decrypted": "#3d9c60"}
_CHANNEL_COLOURS: Final = ("#d9534f", "#46a35e", "#4a86d8", "#8a8f98")
_N_BINS: Final = 256
_N_POINTS: Final = 3000
_STYLE: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "svg.fonttype": "none",
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
}
_PAPER_DPI = 200


def draw_histogram(frame: Frame, image: Samples, stage: str, *, flat: bool) -> tuple[bytes, str]:
    """Draw how often each value occurs, with square roots as heights, over the values that are used.

    Parameters
    ----------
    image
        Words of the frame's shape.
    stage
        "input", "encrypted" or "decrypted": gives the colour.
    flat
        A cipher image: the whole cell, the height of an ideal cipher's histogram, and two deviations about it.

    Returns
    -------
    png, svg
        A PNG on white, and an SVG element on nothing.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(3.3, 2.5)
        planes = [(name, _numbers(frame, plane, whole=flat)) for name, plane in frame.planes(image)]
        numbers = _numbers(frame, image, whole=flat)
        start, n_values = (0, 1 << 8 * image.itemsize) if flat else _span(int(numbers.min()), int(numbers.max()))
        edges = np.linspace(start, start + n_values, _N_BINS + 1)
        for k, (_, plane) in enumerate(planes):
            counts = np.sqrt(np.bincount((plane.reshape(-1) - start) // (n_values // _N_BINS), minlength=_N_BINS))
            colour = STAGE_COLOURS[stage] if len(planes) == 1 else _CHANNEL_COLOURS[k % len(_CHANNEL_COLOURS)]
            axes.stairs(counts, edges, fill=True, color=colour, alpha=0.9 if len(planes) == 1 else 0.25, lw=0.6)
            if len(planes) > 1:
                axes.stairs(counts, edges, color=colour, lw=0.9)
        if flat:
            _draw_flat(axes, planes[0][1].size / _N_BINS, n_values)
        axes.set_xlim(start - n_values / 100, start + n_values * 1.01)  # or bars on the edges would lie under the axis
        axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
        axes.xaxis.set_major_locator(FixedLocator([start + k * n_values // 4 for k in range(5)]))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda root, _: f"{root * root:.0f}" if root > 3 else f"{root * root:.2g}")
        )
        axes.set_xlabel(f"value of a sample ({8 * image.itemsize}-bit cells)")
        axes.set_ylabel("samples in a bin (root scale)")
        return _encoded(figure, f"histogram-{stage}")


def draw_scatter(
    frame: Frame, plane: Samples, direction: Direction, stage: str, *, rng: np.random.Generator, whole: bool
) -> tuple[bytes, str]:
    """Draw 3000 random pairs of neighbours.

    Parameters
    ----------
    plane
        (rows, columns), not too narrow for a pair.
    whole
        Axes over the whole cell; else over the values that occur, signed ones where the image has them.
    """
    x, y = (_numbers(frame, words, whole=whole) for words in scatter(plane, direction, n_points=_N_POINTS, rng=rng))
    numbers = _numbers(frame, plane, whole=whole)
    largest = (1 << 8 * plane.itemsize) - 1
    low, high = (0, largest) if whole else (int(numbers.min()), int(numbers.max()))
    if low == high:
        low, high = low - 1, high + 1
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(3.1, 3.0)
        # Few different pairs make few points, which then have to be seen on their own.
        size = 2.2 if np.unique(np.stack([x, y]), axis=1).shape[1] > 100 else 14
        axes.scatter(x, y, s=size, color=STAGE_COLOURS[stage], alpha=0.55, linewidths=0, rasterized=True)
        margin = (high - low) * 0.03
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(low - margin, high + margin)
        axes.set_box_aspect(1)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        axes.tick_params(labelsize=8)
        where = {"horizontal": "on the right", "vertical": "below", "diagonal": "below right"}[direction]
        axes.set_xlabel("value of a sample")
        axes.set_ylabel(f"value {where}")
        return _encoded(figure, f"scatter-{stage}-{direction}")


def _span(lowest: int, highest: int) -> tuple[int, int]:
    """Start and length of the bins over these values: powers of two on either side, a whole number for each bin."""
    start = -(1 << (-lowest - 1).bit_length()) if lowest < 0 else 0
    end = 1 << max(0, highest).bit_length()
    return start, -(-(end - start) // _N_BINS) * _N_BINS


def _numbers(frame: Frame, words: Samples, *, whole: bool) -> npt.NDArray[np.int64]:
    """What the words stand for: numbers with a sign, if the image has them (Pixel Representation 1) and is no noise."""
    signed = frame.look.signed and not whole
    return (words.view(f"i{words.itemsize}") if signed else words).astype(np.int64)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def _draw_flat(axes: Axes, expected: float, n_values: int) -> None:
    deviation = expected**0.5
    low, high = (max(0.0, expected + k * deviation) ** 0.5 for k in (-2, 2))
    axes.axhspan(low, high, color=_INK, alpha=0.12, lw=0)
    axes.axhline(expected**0.5, color=_INK, lw=0.9, ls=(0, (4, 3)))
    axes.annotate(
        "ideal, ±2 deviations", (n_values, high), xytext=(0, 3), textcoords="offset points", ha="right", fontsize=8
    )
    axes.set_ylim(0, high * 1.25)


def _encoded(figure: Figure, name: str) -> tuple[bytes, str]:
    paper, page = io.BytesIO(), io.BytesIO()
    figure.savefig(paper, format="png", dpi=_PAPER_DPI, facecolor="white", metadata={"Software": None})
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    # With a salt the names in the element are the same in every run.
    salt: Any = {"svg.hashsalt": name}
    with mpl.rc_context(salt):
        figure.savefig(page, format="svg", dpi=160, transparent=True, metadata=nothing)
    svg = page.getvalue().decode()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # Several share one page, and matplotlib calls its groups the same in each of them.
    for before in (' id="', '="#', "url(#"):
        svg = svg.replace(before, f"{before}{name}-")
    # Sizes come from the page; the viewBox keeps the proportions.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    return paper.getvalue(), re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
