"""How the kernels of the numba backend are compiled.

numba freezes constants, and kernels that a kernel calls, into the machine code that it caches, and renews the cache of
a kernel only when the kernel's own file changes. Who changes one of these files by hand deletes ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
#: Several arrays of 64-bit words.
Arrays = tuple[U64, ...]

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Every kernel; numba can fail to cache each of them, once.
KERNELS: list[Any] = []


def kernel(function: _Function) -> _Function:
    """Compile on first use without the GIL, and keep the machine code on disk where that is possible."""
    try:
        compiled = numba.njit(function, nogil=True, boundscheck=False, cache=True)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        compiled = numba.njit(function, nogil=True, boundscheck=False)
    KERNELS.append(compiled)
    return cast(_Function, compiled)
