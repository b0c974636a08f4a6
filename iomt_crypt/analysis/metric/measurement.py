"""One figure beside what an ideal cipher would show, and where chance allows it to lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Samples of an image: uint8 or uint16. Cipher images fill their cells, whatever Bits Stored the plain image had.
Samples = npt.NDArray[np.unsignedinteger[Any]]

#: Any image cipher: (image, key, nonce) -> image of the same shape and dtype; leaves its arguments unchanged.
Transform = Callable[[Samples, bytes, bytes], Samples]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure, its expectation for an ideal cipher and the range that an ideal cipher keeps to.

    Parameters
    ----------
    name
        What was measured, in words for a table.
    value
        NaN where it is not defined, as the correlation of a constant image.
    ideal
        Expectation for an ideal cipher of this word size and this number of samples; None where there is none.
    lower, upper
        An ideal cipher's value is from lower to upper, both included, with probability 1 - alpha or more. None: no
        bound on this side; both None: a figure without a verdict.
    alpha
        Level of significance, inside (0, 1).
    unit
        Of value, ideal and bounds; empty for plain numbers.
    reference
        Where the metric, or its distribution, is from.
    note
        What was counted, and what to know when reading it.
    """

    name: str
    value: float
    ideal: float | None
    lower: float | None
    upper: float | None
    alpha: float
    unit: str = ""
    reference: str = ""
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the value is in its range; None where there is no range. An undefined value is not in it."""
        if self.lower is None and self.upper is None:
            return None
        above = self.lower is None or self.value >= self.lower
        return above and (self.upper is None or self.value <= self.upper)


def word_bits_of(image: Samples) -> int:
    """Bits of a cell, 8 or 16.

    Raises
    ------
    TypeError
        The array is not of uint8 or uint16.
    """
    if image.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"image must be uint8 or uint16, got {image.dtype}")
    return 8 * image.dtype.itemsize


def check_alpha(alpha: float) -> None:
    """Raise ValueError unless 0 < alpha < 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be inside (0, 1), got {alpha}")


def check_image(image: Samples, minimum: int = 1) -> int:
    """Return the bits of a cell.

    Raises
    ------
    TypeError
        The array is not of uint8 or uint16.
    ValueError
        There are fewer than `minimum` samples.
    """
    if image.size < minimum:
        raise ValueError(f"the image must have {minimum} samples or more, got {image.size}")
    return word_bits_of(image)
