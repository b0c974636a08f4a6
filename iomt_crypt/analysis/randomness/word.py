"""Dependencies between words of a stream that stand in a certain order: within a lane, a pair, across lanes.

A window is eight words; what is counted in the windows are classes of Hamming weight and pairs of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.kernel import compiled
from iomt_crypt.analysis.randomness.lane import Words
from iomt_crypt.analysis.randomness.result import Result, chi_square_result
from iomt_crypt.analysis.randomness.special import erfc
from iomt_crypt.cipher.constant import LANES, VEIL_LANES

_I64 = npt.NDArray[np.int64]

WINDOW: Final = 8
_WEIGHT_CLASSES: Final = 3
_CELLS: Final = 1 << 16
_BITS: Final = 32
_TABLES: Final = (
    "top byte, next top byte",
    "top byte, next low byte",
    "low byte, next top byte",
    "low byte, next low byte",
    "four low bits of four words",
    "four top bits of four words",
    "low bytes of two differences",
    "top bytes of two differences",
)


@dataclass(frozen=True, slots=True)
class Order:
    """Which words of the flat stream make a window.

    Parameters
    ----------
    name
        For the table.
    offsets
        Eight distances from the first word.
    period
        Words after which the pattern of windows repeats.
    bases
        Where in a period the windows begin; together the windows take every word once.
    """

    name: str
    offsets: tuple[int, ...]
    period: int
    bases: tuple[int, ...]


def _strided(name: str, stride: int) -> Order:
    return Order(name, tuple(range(0, WINDOW * stride, stride)), WINDOW * stride, tuple(range(stride)))


_PAIR: Final = tuple(LANES * (k % 4) + (k + k // 4) % 2 for k in range(WINDOW))
ORDERS: Final = (
    _strided("stream", 1),
    _strided("lane", LANES),
    # The way a state takes through a pair: even lane, odd lane one step later, and so on; then the other way.
    Order("pair", _PAIR, LANES * 4, tuple(range(0, LANES, 2))),
    _strided("veil", VEIL_LANES),
)


def dependencies(words: Words, order: Order) -> list[Result]:
    """Test whether words that stand in this order depend on each other.

    Parameters
    ----------
    words
        uint32 (n_steps, 128), n_steps a multiple of 8.
    order
        One of `ORDERS`.

    Returns
    -------
    list of Result
        Chi-square of the classes of Hamming weight (below 16, 16, above) of eight words, 3^8 cells, in the manner of
        D. Blackman, S. Vigna (ACM Trans. Math. Softw. 47(4), 2021, HWD); then of eight tables of 2^16 cells.
    """
    flat = words.reshape(-1)
    weights, tables = _count(flat, np.array(order.offsets), order.period, np.array(order.bases))
    n_bits = _BITS * flat.size
    below = sum(comb(_BITS, k) for k in range(_BITS // 2)) / 2**_BITS
    of_class = np.array([below, comb(_BITS, _BITS // 2) / 2**_BITS, below])
    cells = np.ones(1)
    for _ in range(WINDOW):
        cells = np.multiply.outer(cells, of_class).reshape(-1)
    rows = [chi_square_result("Hamming weights", order.name, weights, cells, n_bits)]
    uniform = np.full(_CELLS, 1 / _CELLS)
    rows += [
        chi_square_result(f"bytes ({name})", order.name, table, uniform, n_bits)
        for name, table in zip(_TABLES, tables, strict=True)
    ]
    return rows


@compiled
def _count(words: npt.NDArray[np.uint32], offsets: _I64, period: int, bases: _I64) -> tuple[_I64, _I64]:
    """Count weight classes and pairs of bytes over all windows."""
    weights = np.zeros(_WEIGHT_CLASSES**WINDOW, np.int64)
    tables = np.zeros((8, _CELLS), np.int64)
    window = np.empty(WINDOW, np.uint32)
    for start in range(0, words.size - period + 1, period):
        for base in bases:
            cell = 0
            for k in range(WINDOW):
                window[k] = words[start + base + offsets[k]]
                cell = cell * _WEIGHT_CLASSES + _weight_class(window[k])
            weights[cell] += 1
            for k in range(0, WINDOW, 2):
                one, two = np.int64(window[k]), np.int64(window[k + 1])
                tables[0, (one >> 24) << 8 | two >> 24] += 1
                tables[1, (one >> 24) << 8 | two & 255] += 1
                tables[2, (one & 255) << 8 | two >> 24] += 1
                tables[3, (one & 255) << 8 | two & 255] += 1
            for k in range(0, WINDOW, 4):
                low, top = np.int64(0), np.int64(0)
                for j in range(4):
                    low = low << 4 | np.int64(window[k + j] & np.uint32(15))
                    top = top << 4 | np.int64(window[k + j] >> np.uint32(28))
                tables[4, low] += 1
                tables[5, top] += 1
                first, second = np.uint32(window[k] - window[k + 1]), np.uint32(window[k + 1] - window[k + 2])
                tables[6, np.int64(first & np.uint32(255)) << 8 | np.int64(second & np.uint32(255))] += 1
                tables[7, np.int64(first >> np.uint32(24)) << 8 | np.int64(second >> np.uint32(24))] += 1
    return weights, tables


@compiled
def _weight_class(word: np.uint32) -> int:
    """0, 1 or 2 for fewer than, exactly or more than 16 ones. (numba computes with 64 bits, hence the casts.)"""
    word = np.uint32(word - ((word >> np.uint32(1)) & np.uint32(0x55555555)))
    word = np.uint32((word & np.uint32(0x33333333)) + ((word >> np.uint32(2)) & np.uint32(0x33333333)))
    word = np.uint32((word + (word >> np.uint32(4))) & np.uint32(0x0F0F0F0F))
    weight = np.uint32(word * np.uint32(0x01010101)) >> np.uint32(24)
    return (1 if weight >= _BITS // 2 else 0) + (1 if weight > _BITS // 2 else 0)


def correlation(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], variant: str) -> Result:
    """Test whether any column of bits goes with any column of other bits.

    Parameters
    ----------
    first, second
        uint8 (n, a) and (n, b), 0 or 1, n below 2^24. If both are the same array, its pairs of columns are taken once.
    variant
        Name of the row.

    Returns
    -------
    Result
        The largest |z| of all pairs and its P-value among so many.
    """
    n = first.shape[0]
    one = 2 * first.astype(np.float32) - 1
    other = one if second is first else 2 * second.astype(np.float32) - 1
    table = np.abs(one.T @ other)  # whole numbers below 2^24 are exact
    values = table[np.triu_indices(table.shape[0], 1)] if second is first else table.reshape(-1)
    largest = float(values.max()) / n**0.5
    single = erfc(largest / 2**0.5)
    together = -float(np.expm1(values.size * np.log1p(-single))) if single < 1 else 1.0
    return Result("correlation of bits", variant, largest, together, n * (first.shape[1] + other.shape[1]))
