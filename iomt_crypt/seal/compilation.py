"""How the walks over untrusted bytes are compiled: with every index checked, and kept on disk where that is possible.

The kernels of the cipher go over arrays that we made ourselves; these go over what anybody may have written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, TypeVar, cast

import numba
import numpy as np

#: Arrays of uint8 and int64, as mypy is to see them: to it, numpy's numbers are none of Python's.
Bytes = Sequence[int]
Numbers = Any

_Function = TypeVar("_Function", bound=Callable[..., Any])


def walk(function: _Function) -> _Function:
    """Compile on first use. What it calls must be a `step` of the same file, as the cache knows no other file."""
    try:
        compiled = numba.njit(function, boundscheck=True, cache=True)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        compiled = numba.njit(function, boundscheck=True)
    return cast(_Function, compiled)


def step(function: _Function) -> _Function:
    """Compile as a part of a `walk`."""
    return cast(_Function, numba.njit(function, boundscheck=True))


def prepare(walk: Callable[..., Any], *arguments: Any) -> None:
    """Call ``walk`` once, and once more where a disk that is full kept numba from caching what it compiled."""
    try:
        walk(*arguments)
    except OSError:
        walk(*arguments)


def joined(pieces: Sequence[bytes]) -> tuple[Any, Any]:
    """Some byte strings as one array, and where each of them ends: a call of a walk costs as much as what it does."""
    ends = np.fromiter(accumulate(map(len, pieces)), np.int64, len(pieces))
    return np.frombuffer(b"".join(pieces), np.uint8), ends
