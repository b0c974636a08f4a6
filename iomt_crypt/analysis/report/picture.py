"""Images for the eye: words scaled to 8 bits, thinned, as PNG."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.image
import numpy as np
import numpy.typing as npt
from pydicom.pixels.processing import convert_color_space

from iomt_crypt.analysis.image import Frame
from iomt_crypt.analysis.metric import Samples

#: Pictures are thinned to about this many samples a side.
SIDE = 400
_Picture = npt.NDArray[np.uint8]


def show_input(frame: Frame, image: Samples) -> _Picture:
    """Show words as a viewer would: window or percentiles, colour as RGB.

    Returns
    -------
    ndarray
        uint8 (rows, columns) or (rows, columns, 3).
    """
    if frame.form == "carrier":
        return show_noise(frame, image)
    planes = [plane for _, plane in frame.planes(image)]
    if len(planes) < 3:
        return _grey(frame, planes[0])
    colour = np.stack([(plane >> (8 * plane.itemsize - 8)).astype(np.uint8) for plane in planes[:3]], axis=-1)
    if frame.look.photometric.startswith("YBR_FULL"):
        colour = np.asarray(convert_color_space(colour, "YBR_FULL", "RGB"))
    return _thin(colour, average=True)


def show_noise(frame: Frame, image: Samples) -> _Picture:
    """Show words over the whole range of the cell, thinned without averaging: the mean of noise is a flat grey."""
    planes = [plane for _, plane in frame.planes(image)]
    top = [(_roughly_square(plane) >> (8 * plane.itemsize - 8)).astype(np.uint8) for plane in planes[:3]]
    return _thin(np.stack(top, axis=-1) if len(top) == 3 else top[0], average=False)


def show_decoded(frame: Frame, decoded: npt.NDArray[Any]) -> _Picture:
    """Show a decoded frame of a compressed object."""
    if decoded.ndim == 3:
        return _thin(decoded.astype(np.uint8) if decoded.dtype == np.uint8 else _stretch(decoded), average=True)
    return _windowed(frame, decoded)


def show_difference(frame: Frame, first: Samples, second: Samples) -> tuple[_Picture, int]:
    """Show absolute differences, the largest word as white; with the largest difference."""
    difference = np.maximum(first, second) - np.minimum(first, second)
    return show_noise(frame, difference), int(difference.max()) if difference.size else 0


def png(picture: _Picture) -> bytes:
    """Encode a picture."""
    sink = io.BytesIO()
    matplotlib.image.imsave(sink, picture, cmap="gray", vmin=0, vmax=255, format="png")
    return sink.getvalue()


def _grey(frame: Frame, plane: Samples) -> _Picture:
    words: npt.NDArray[Any] = _roughly_square(plane)
    if frame.look.signed:
        words = words.view(f"i{words.itemsize}")
    return _windowed(frame, words)


def _windowed(frame: Frame, words: npt.NDArray[Any]) -> _Picture:
    low, high = frame.look.window or (0.0, 0.0)
    if not low < high or float(np.mean((words > low) & (words < high))) <= 0.02:
        low, high = (float(value) for value in np.percentile(words, (1, 99)))
    if not low < high:
        # One value nearly everywhere: shown as it lies in the cell.
        low, high = float(np.iinfo(words.dtype).min), float(np.iinfo(words.dtype).max)
    scaled = np.clip((words.astype(np.float64) - low) / (high - low), 0, 1) * 255
    picture = scaled.astype(np.uint8)
    return _thin(255 - picture if frame.look.photometric == "MONOCHROME1" else picture, average=True)


def _stretch(decoded: npt.NDArray[Any]) -> _Picture:
    high = float(decoded.max()) or 1.0
    return np.asarray(np.clip(decoded / high, 0, 1) * 255, np.uint8)


def _roughly_square(plane: Samples) -> Samples:
    """The plane as it is, or, where it is a single long row, broken into rows (what is left over is not shown)."""
    if plane.shape[0] > 1 or plane.shape[1] < 4:
        return plane
    side = int(plane.shape[1] ** 0.5)
    return plane.reshape(-1)[: side * side].reshape(side, side)


def _thin(picture: npt.NDArray[Any], *, average: bool) -> _Picture:
    rows, columns = picture.shape[:2]
    # Each direction on its own, or a strip of 3 rows would become none.
    down, right = (max(1, -(-side // SIDE)) for side in (rows, columns))
    step = max(down, right)
    down, right = min(step, rows), min(step, columns)
    if step == 1:
        return np.asarray(picture, np.uint8)
    if not average:
        return np.asarray(picture[::down, ::right], np.uint8)
    rows, columns = rows // down * down, columns // right * right
    blocks = picture[:rows, :columns].reshape(rows // down, down, columns // right, right, *picture.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)), np.uint8)
