"""Josephus scrambling and filtering diffusion: counted-out orders of rows and columns, then a recursive filter.

Research code. Z. Hua, B. Xu, F. Jin, H. Huang: Image Encryption Using Josephus Problem and Filtering Diffusion. IEEE
Access 7, 2019; the filter is from Z. Hua, Y. Zhou: Design of image cipher using block-based scrambling and image
filtering. Information Sciences 396, 2017. There every pixel becomes the sum, modulo 256, of itself and its
neighbours that were filtered before, with random weights; the weight of the pixel itself is 1, so it can be undone.

Departures: parameters come from SHAKE-256 of the key, not from a chaotic map; within each row, then each column,
positions are taken in an order that is counted out with a step and a start of its own; two rounds with a quarter turn
after each; outside the image the filter meets pixels that the key gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, cast

import numba
import numpy as np
import numpy.typing as npt

from benchmarks.baselines.scheme import Image

ROUNDS: Final = 2

_Steps = npt.NDArray[np.uint32]
_jit = cast(Callable[[Callable[..., Any]], Callable[..., Any]], numba.njit(cache=True))


class Josephus:
    """See `benchmarks.baselines.scheme.Scheme`.

    Parameters
    ----------
    n_rounds
        Rounds of scrambling and filtering, 1 or more.
    """

    name = "Josephus"
    source = "after Hua et al. 2017, 2019; parameters by SHAKE-256, orders for each row and column, edges from the key"
    lossless = True
    uses_nonce = False

    def __init__(self, n_rounds: int = ROUNDS) -> None:
        self.n_rounds = n_rounds

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Scramble, filter and turn, twice; the nonce is not used."""
        for index in range(self.n_rounds):
            steps, mask, edge = _parameters(key, index, image.shape)
            image = np.ascontiguousarray(image)
            image = _scramble(_scramble(image, steps[: 2 * image.shape[0]]).T, steps[2 * image.shape[0] :]).T
            image = np.rot90(_filter(image, mask, edge))
        return np.ascontiguousarray(image)

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`."""
        for index in reversed(range(self.n_rounds)):
            image = np.ascontiguousarray(np.rot90(image, -1))
            steps, mask, edge = _parameters(key, index, image.shape)
            image = _undo_filter(image, mask, edge)
            image = _undo_scramble(image.T, steps[2 * image.shape[0] :]).T
            image = _undo_scramble(image, steps[: 2 * image.shape[0]])
        return np.ascontiguousarray(image)


def _parameters(key: bytes, index: int, shape: tuple[int, ...]) -> tuple[_Steps, Image, Image]:
    """Start and step for each row and column, eight weights, and the pixels above and left of the image."""
    rows, columns = shape
    n_steps, n_edge = 2 * (rows + columns), 2 * (rows + columns + 4)
    stream = hashlib.shake_256(b"josephus" + bytes([index]) + key).digest(4 * n_steps + 8 + n_edge)
    steps = np.frombuffer(stream, "<u4", n_steps)
    mask, edge = np.split(np.frombuffer(stream, np.uint8, offset=4 * n_steps), [8])
    return steps, mask, edge


@_jit
def _count_out(n: int, start: int, step: int, order: npt.NDArray[np.int64]) -> None:
    """Josephus problem: of n in a circle every `step`-th leaves, counted from `start`; order[k] leaves as number k."""
    circle = np.arange(n)
    place = start % n
    for k in range(n):
        remaining = n - k
        place = (place + step) % remaining
        order[k] = circle[place]
        for i in range(place, remaining - 1):
            circle[i] = circle[i + 1]


@_jit
def _scramble(image: Image, steps: _Steps) -> Image:
    """Put the pixels of every row into the order in which their places are counted out."""
    rows, columns = image.shape
    moved = np.empty((rows, columns), np.uint8)
    order = np.empty(columns, np.int64)
    for row in range(rows):
        _count_out(columns, np.int64(steps[2 * row]), np.int64(steps[2 * row + 1]), order)
        for k in range(columns):
            moved[row, k] = image[row, order[k]]
    return moved


@_jit
def _undo_scramble(image: Image, steps: _Steps) -> Image:
    rows, columns = image.shape
    moved = np.empty((rows, columns), np.uint8)
    order = np.empty(columns, np.int64)
    for row in range(rows):
        _count_out(columns, np.int64(steps[2 * row]), np.int64(steps[2 * row + 1]), order)
        for k in range(columns):
            moved[row, order[k]] = image[row, k]
    return moved


def _framed(shape: tuple[int, ...], edge: Image) -> Image:
    """Room for the filtered image with two rows above and two columns left of it, which are the key's."""
    rows, columns = shape
    framed = np.zeros((rows + 2, columns + 2), np.uint8)
    framed[:2] = edge[: 2 * (columns + 2)].reshape(2, -1)
    framed[2:, :2] = edge[2 * (columns + 2) :][: 2 * rows].reshape(-1, 2)
    return framed


def _filter(image: Image, mask: Image, edge: Image) -> Image:
    framed = _framed(image.shape, edge)
    _run_filter(image, mask, framed)
    return framed[2:, 2:]


def _undo_filter(image: Image, mask: Image, edge: Image) -> Image:
    framed = _framed(image.shape, edge)
    framed[2:, 2:] = image
    plain = np.empty(image.shape, np.uint8)
    _run_undo(framed, mask, plain)
    return plain


@_jit
def _run_filter(image: Image, mask: Image, framed: Image) -> None:
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            framed[row + 2, column + 2] = image[row, column] + _neighbours(framed, mask, row, column)


@_jit
def _run_undo(framed: Image, mask: Image, plain: Image) -> None:
    for row in range(plain.shape[0]):
        for column in range(plain.shape[1]):
            plain[row, column] = framed[row + 2, column + 2] - _neighbours(framed, mask, row, column)


@_jit
def _neighbours(framed: Image, mask: Image, row: int, column: int) -> int:
    """Weigh the eight pixels of the 3 x 3 window that were filtered before; the window's last is the pixel itself."""
    total = 0
    for k in range(8):
        total += np.int64(mask[k]) * np.int64(framed[row + k // 3, column + k % 3])
    return total & 255
