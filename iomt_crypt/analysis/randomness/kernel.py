"""The compiled loops of the tests; they release the GIL and change only what they create."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.result import Bits

_I64 = npt.NDArray[np.int64]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile on first use without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False, cache=True))
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False))


@compiled
def longest_runs(blocks: Bits) -> _I64:
    """Length of the longest run of ones in each row of uint8 (n_blocks, block_size)."""
    longest = np.zeros(blocks.shape[0], np.int64)
    for block in range(blocks.shape[0]):
        best = 0
        run = 0
        for bit in blocks[block]:
            run = run + 1 if bit else 0
            best = max(best, run)
        longest[block] = best
    return longest
