"""What an attacker has to work with: windows of real images, and the two ways in which samples meet a key stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count as numbers
from typing import Final

import numpy as np

from iomt_crypt.analysis.attack.result import Image, Oracle


@dataclass(frozen=True, slots=True)
class Effort:
    """How much the attacks may ask for. Sides are those of square images, in samples.

    Parameters
    ----------
    side
        Images of the attacks that need few of them, 16 or more.
    n_known
        Known images, 3 or more.
    codebook_side
        Images of the attacks that need one image for each bit: 8 * side^2 + 1 images.
    cycle_side
        Small images from which the cycle search learns, a multiple of 16; its target has twice this side, or what the
        image has.
    feistel_side
        Images of the two-round attack, which needs some thousand of them whatever their size.
    """

    side: int = 128
    n_known: int = 8
    codebook_side: int = 16
    cycle_side: int = 128
    feistel_side: int = 32


FULL: Final = Effort()
#: For tests: seconds in all.
QUICK: Final = Effort(side=32, n_known=6, codebook_side=8, cycle_side=96, feistel_side=16)


@dataclass(frozen=True, slots=True)
class Law:
    """How a key stream is combined with samples, and removed from them."""

    name: str
    combine: Callable[[Image, Image], Image]
    remove: Callable[[Image, Image], Image]


LAWS: Final = (
    Law("exclusive or", np.bitwise_xor, np.bitwise_xor),
    Law("addition modulo 256", np.add, np.subtract),
)


def repeating(encrypt: Callable[[Image, bytes, bytes], Image], key: bytes, nonce: bytes) -> Oracle:
    """Make an oracle that uses one nonce for all images: what gives an attacker the most."""
    return lambda image: encrypt(image, key, nonce)


def refreshing(encrypt: Callable[[Image, bytes, bytes], Image], key: bytes) -> Oracle:
    """Make an oracle that uses another nonce, 12 bytes, for each image: as it must be done."""
    nonces = numbers(1)
    return lambda image: encrypt(image, key, next(nonces).to_bytes(12, "big"))


def windows(images: Sequence[Image], side: int, count: int) -> list[Image]:
    """Cut square windows, the target last, each from another image; where images run out, from turned ones.

    From every image the window with the most different values is taken, of those that lie on a grid of half a side.

    Parameters
    ----------
    images
        uint8 (rows, columns), `side` or more in both, 1 image or more. The last one is for the target alone.
    side
        Rows and columns of the windows.
    count
        Windows to return, the target included.

    Raises
    ------
    ValueError
        There are no images, or one is too small or not two-dimensional uint8.
    """
    if not images:
        raise ValueError("attacks need one image or more, got none")
    for image in images:
        if image.ndim != 2 or image.dtype != np.uint8 or min(image.shape) < side:
            raise ValueError(f"images must be uint8 (rows, columns) of {side} or more, got {image.dtype} {image.shape}")
    target = _richest(images[-1], side)
    if count == 1:
        return [np.ascontiguousarray(target)]
    known = [_richest(image, side) for image in images[:-1]]
    turned = [np.rot90(window, turn) for turn in range(4) for window in known]
    # With one image only, the known ones are the target turned: then nothing is right by itself.
    turned += [np.rot90(window[::-1], turn) for turn in range(4) for window in [*known, target]]
    turned += [np.rot90(target, turn) for turn in range(1, 4)]
    chosen = [np.ascontiguousarray(window) for window in _distinct(turned, target)[: count - 1]]
    if len(chosen) < count - 1:
        raise ValueError(f"{len(images)} images give {len(chosen)} different windows, {count - 1} are needed")
    return [*chosen, np.ascontiguousarray(target)]


def _richest(image: Image, side: int) -> Image:
    step = max(1, side // 2)
    places = [
        (row, column)
        for row in range(0, image.shape[0] - side + 1, step)
        for column in range(0, image.shape[1] - side + 1, step)
    ]
    cut = [image[row : row + side, column : column + side] for row, column in places]
    return max(cut, key=lambda window: len(np.unique(window)))


def _distinct(found: list[Image], other_than: Image) -> list[Image]:
    seen = {other_than.tobytes()}
    distinct = []
    for window in found:
        if window.tobytes() not in seen:
            seen.add(window.tobytes())
            distinct.append(window)
    return distinct
