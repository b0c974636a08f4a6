"""docs/images/comparison.png: a synthetic phantom, and what each scheme makes of it and back."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Picture

from benchmarks.baselines.scheme import Image, Scheme
from benchmarks.comparison.image import window
from benchmarks.comparison.measurement import KEY, NONCE
from demo import objects

_SIDE = 128
_DPI = 100
_COLUMNS = 3
_GAP, _TITLE = 6, 18  # in pixels, as all lengths here
_STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 7}


def phantom() -> Image:
    """The first section of the synthetic MR series of `demo.samples`, made smaller to 128 x 128."""
    _, ds = next(objects.mr_series())
    cells = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
    step = -(-max(cells.shape) // _SIDE)
    small = cells[::step, ::step]
    frame = [((_SIDE - side) // 2, (_SIDE - side + 1) // 2) for side in small.shape]
    return np.pad(window(small.copy()), frame)


def draw(schemes: Sequence[Scheme], path: Path) -> None:
    """Write the picture: cipher image and decrypted image of each scheme side by side, the phantom first.

    Samples are pixels, one to one: noise that is resized is no noise any more.
    """
    plain = phantom()
    pairs = [("plain image", [plain])]
    for scheme in schemes:
        encrypted = scheme.encrypt(plain, KEY, NONCE)
        pairs.append((scheme.name, [encrypted, scheme.decrypt(encrypted, KEY, NONCE)]))
    rows = -(-len(pairs) // _COLUMNS)
    width = _COLUMNS * (2 * _SIDE + 2 * _GAP) + _GAP
    height = rows * (_SIDE + _TITLE + _GAP) + _GAP
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
        for number, (title, images) in enumerate(pairs):
            left = _GAP + number % _COLUMNS * (2 * _SIDE + 2 * _GAP)
            top = _TITLE + number // _COLUMNS * (_SIDE + _TITLE + _GAP)
            for index, image in enumerate(images):
                axes = _axes(figure, left + index * (_SIDE + 2), top, width, height)
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")
                if index == 0:
                    axes.set_title(title, loc="left", pad=3)
        _save(figure, path)


def _axes(figure: Figure, left: int, top: int, width: int, height: int) -> Axes:
    box = (left / width, 1 - (top + _SIDE) / height, _SIDE / width, _SIDE / height)
    axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def _save(figure: Figure, path: Path) -> None:
    """One grey channel is a third of the file, and it has no date in it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.open(buffer).convert("L").save(path, optimize=True)
