"""One frame of an object as it lies in the file: the words for a histogram, and a picture of them for the eye."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

# A picture is thinned to about this many pixels a side.
_SIDE = 384


@dataclass(frozen=True)
class Tile:
    """Words (rows, columns) or (rows, columns, samples) of the middle frame, and how they look.

    ``picture`` is (rows, columns) or (rows, columns, 3) of uint8; ``low`` and ``high`` bound what the cell can hold.
    """

    words: NDArray[Any]
    picture: NDArray[np.uint8]
    low: float
    high: float


def tile(ds: Dataset, *, noise: bool = False) -> Tile | None:
    """The middle frame of an object; None where it has no pixels, or some that nothing here can decode.

    Parameters
    ----------
    noise
        Show every value that the cell can hold instead of the header's window, and thin without averaging: the mean of
        noise is a flat grey that nobody's archive shows.
    """
    try:
        words = _middle_frame(ds)
    except Exception:  # noqa: BLE001 - headers are wrong and decoders fail in many ways; then there is no picture
        return None
    if words is None:
        return None
    low, high = _cell(ds, words)
    if words.ndim == 3:
        picture = _colour(ds, words, low, high)
    else:
        first, last = (low, high) if noise else _window(ds, words)
        picture = _grey(words, first, last)
        if ds.PhotometricInterpretation == "MONOCHROME1" and not noise:
            picture = 255 - picture
    return Tile(words, _thin(picture, average=not noise), low, high)


def _middle_frame(ds: Dataset) -> NDArray[Any] | None:
    """Words of the middle frame as they are stored, in the cell's own type."""
    n_frames = int(ds.get("NumberOfFrames") or 1)
    middle = n_frames // 2
    syntax = UID(ds.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
    samples = int(ds.get("SamplesPerPixel", 1))
    if syntax.is_encapsulated or "YBR_FULL_422" in str(ds.get("PhotometricInterpretation")):
        return np.asarray(pixel_array(ds, index=middle, raw=True))
    raw = next((ds[name].value for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in ds), None)
    if raw is None:
        return None
    rows, columns = int(ds.Rows), int(ds.Columns)
    count = rows * columns * samples
    if ds.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        return bits[middle * count : (middle + 1) * count].reshape(rows, columns)
    kind = _word_type(ds, big_endian=syntax == ExplicitVRBigEndian)
    words = np.frombuffer(raw, kind, count, middle * count * kind.itemsize)
    if samples == 1:
        return words.reshape(rows, columns)
    if ds.get("PlanarConfiguration", 0) == 1:
        return words.reshape(samples, rows, columns).transpose(1, 2, 0)
    return words.reshape(rows, columns, samples)


def _word_type(ds: Dataset, *, big_endian: bool) -> np.dtype[Any]:
    integer = "i" if ds.get("PixelRepresentation") == 1 else "u"
    kind = integer if "PixelData" in ds else "f"
    return np.dtype(f"{'>' if big_endian else '<'}{kind}{int(ds.BitsAllocated) // 8}")


def _cell(ds: Dataset, words: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest value that the cell can hold; for floats, that it does hold."""
    if ds.BitsAllocated == 1:
        return 0.0, 1.0
    if np.issubdtype(words.dtype, np.integer):
        limits = np.iinfo(words.dtype)
        return float(limits.min), float(limits.max)
    return float(np.nanmin(words)), float(np.nanmax(words))


def _window(ds: Dataset, words: NDArray[Any]) -> tuple[float, float]:
    """Stored values to be shown black and white: the header's first window, else the 1st and 99th percentile."""
    centre, width = (_first(ds.get(name)) for name in ("WindowCenter", "WindowWidth"))
    slope, intercept = _first(ds.get("RescaleSlope")) or 1.0, _first(ds.get("RescaleIntercept")) or 0.0
    if centre is not None and width:
        low, high = sorted(((centre - width / 2 - intercept) / slope, (centre + width / 2 - intercept) / slope))
        shown = float(np.mean((words > low) & (words < high)))
        if shown > 0.02:
            return low, high
    low, high = (float(value) for value in np.percentile(words, (1, 99)))
    return (low, high) if high > low else (float(words.min()), float(words.max()))


def _first(value: Any) -> float | None:
    """First of a decimal string's values, None where there is none."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def _grey(words: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    scaled = (words.astype(np.float64) - low) / max(high - low, 1e-12)
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def _colour(ds: Dataset, words: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    picture = words if words.dtype == np.uint8 else _grey(words, low, high)
    if str(ds.PhotometricInterpretation).startswith("YBR_FULL"):
        picture = convert_color_space(picture, "YBR_FULL", "RGB")
    return np.asarray(picture[..., :3], np.uint8)


def _thin(picture: NDArray[np.uint8], *, average: bool) -> NDArray[np.uint8]:
    step = max(1, -(-max(picture.shape[:2]) // _SIDE))
    if step == 1:
        return picture
    if not average:
        return picture[::step, ::step]
    rows, columns = picture.shape[0] // step * step, picture.shape[1] // step * step
    blocks = picture[:rows, :columns].reshape(rows // step, step, columns // step, step, *picture.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)), np.uint8)
