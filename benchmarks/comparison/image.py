"""The real images of the comparison, and those that networks are trained on: 8 bits, no patient's name.

They are those of the corpora of the tests (tests/images.py); the files that come with pydicom are always there.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.scheme import Image

TESTS = Path(__file__).resolve().parents[2] / "tests"
SIDES = (256, 512)
#: Planes of one file that are compared; neither frames nor colours of one object must outvote everything else.
_PER_FILE = 2
#: An image with fewer different values says little: blank areas, test patterns.
_MINIMUM_VALUES = 16
#: What is windowed to full contrast, in percent of the cells above the smallest value, which is often padding.
_WINDOW_PERCENT = (0.5, 99.5)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of the comparison.

    Parameters
    ----------
    name
        File and frame, the corpus first.
    samples
        uint8 (rows, columns).
    bits_stored
        Of the cells before they were windowed.
    """

    name: str
    samples: Image
    bits_stored: int


def compared(side: int) -> list[Picture]:
    """Return the middle `side` x `side` samples of real images that are large enough, at most two planes of a file.

    Slices of a series are left to `for_training`.
    """
    chosen, seen = [], Counter[str]()
    for picture in _pictures():
        file = picture.name.split("#", 1)[0]
        if min(picture.samples.shape) < side or _is_of_series(picture) or seen[file] == _PER_FILE:
            continue
        middle = _middle(picture.samples, side)
        if len(np.unique(middle)) >= _MINIMUM_VALUES:
            seen[file] += 1
            chosen.append(Picture(picture.name, middle, picture.bits_stored))
    return chosen


def all_compared() -> dict[int, list[Picture]]:
    """Return what is `compared`, by side; sides for which no image is large enough are left out."""
    found = {side: compared(side) for side in SIDES}
    return {side: pictures for side, pictures in found.items() if pictures}


def for_training() -> list[Image]:
    """Return slices of series, and images that are too small to be compared: none from a file that is compared."""
    return [one.samples for one in _pictures() if _is_of_series(one) or min(one.samples.shape) < min(SIDES)]


def window(cells: npt.NDArray[Any]) -> Image:
    """Map uint16 cells to 8 bits, the window from the 0.5th to the 99.5th percentile; uint8 cells stay.

    Cells are taken as signed where neighbours are closer together that way: the test corpora do not say which they are.
    """
    if cells.dtype == np.uint8:
        return cells
    values = min((cells, cells.view(np.int16)), key=_roughness)
    low, high = np.percentile(values[values > values.min()] if np.ptp(values) else values, _WINDOW_PERCENT)
    scaled = (values.astype(np.float64) - low) / max(high - low, 1)
    return (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)


def _roughness(values: npt.NDArray[Any]) -> float:
    return float(np.abs(np.diff(values.astype(np.int64), axis=1)).sum())


@cache
def _pictures() -> list[Picture]:
    if str(TESTS) not in sys.path:  # as pytest does it: the corpora are a matter of the tests
        sys.path.insert(0, str(TESTS))
    from images import real_images

    return [Picture(image.name, window(image.samples), image.bits_stored) for image in real_images()]


def _is_of_series(picture: Picture) -> bool:
    return Path(picture.name).parent.name == "series"


def _middle(samples: Image, side: int) -> Image:
    row, column = ((extent - side) // 2 for extent in samples.shape)
    return np.ascontiguousarray(samples[row : row + side, column : column + side])
