"""What depends on secrets in time: the machine code of the rectifier, and times of frames of different content."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import astuple, dataclass
from math import sqrt

import numpy as np

from iomt_crypt import cipher
from iomt_crypt.cipher import kernel


@dataclass(frozen=True, slots=True)
class Code:
    """Machine code of one version of a kernel.

    Parameters
    ----------
    rectifiers
        Instructions that choose without a jump, and how many there are.
    """

    name: str
    machine: str
    rectifiers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Times:
    """Times of two kinds of frames under one key, taken in turns.

    Parameters
    ----------
    medians_us
        Medians in microseconds of CPU time.
    welch_t
        Welch's t of the lower 90 percent of the times; beyond 4.5 is taken as a leak (Goodwill et al., NIAT 2011).
    """

    name: str
    n_runs: int
    medians_us: tuple[float, float]
    welch_t: float


#: Signed maximum of vectors and conditional moves, x86-64 and AArch64.
_SELECT = re.compile(r"^\s+(v?pmaxsw|cmov[a-z]+|smax|csel)\s", re.MULTILINE)


def codes() -> list[Code]:
    """Compile the convolution afresh in a child process, because numba shows no code that comes from its cache."""
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.cryptanalysis.timing"],
            env=os.environ | {"NUMBA_CACHE_DIR": folder}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    return [Code(*row) for row in json.loads(child.stdout)]


def _compiled() -> list[Code]:
    """Every version of the convolution that this process compiled."""
    cipher.warm_up()
    name = "_convolve"
    texts = getattr(kernel, name).inspect_asm().values()
    return [Code(name, platform.machine(), dict(Counter(_SELECT.findall(text)))) for text in texts]


def times(n_runs: int, side: int = 64) -> list[Times]:
    """Compare zeros, and frames whose filters all go one way, with random frames."""
    rng = np.random.default_rng(1)
    key, output = bytes(range(32)), np.empty((side, side), np.uint16)
    kinds = {
        "zeros, random": (np.zeros((side, side), np.uint16), None),
        "all 0xFFFF, random": (np.full((side, side), 0xFFFF, np.uint16), None),
        "random, random": (None, None),
    }
    found = []
    frame = np.empty((side, side), np.uint16)
    for name, kind in kinds.items():
        taken = np.empty((n_runs, 2))
        for run in range(n_runs):
            for which in rng.permutation(2):
                # drawn for both kinds, so that both find the same caches
                drawn, fixed = rng.integers(0, 1 << 16, (side, side)).astype(np.uint16), kind[which]
                np.copyto(frame, drawn if fixed is None else fixed)
                start = time.thread_time_ns()
                cipher.encrypt_into(frame, output, key)
                taken[run, which] = (time.thread_time_ns() - start) / 1000
        found.append(_compare(name, taken))
    return found


def _compare(name: str, taken: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Times:
    kept = [np.sort(column)[: int(0.9 * column.size)] for column in taken.T]
    error = sqrt(sum(float(column.var(ddof=1)) / column.size for column in kept))
    medians = float(np.median(taken[:, 0])), float(np.median(taken[:, 1]))
    return Times(name, len(taken), medians, (float(kept[0].mean()) - float(kept[1].mean())) / error)


if __name__ == "__main__":
    sys.stdout.write(json.dumps([astuple(code) for code in _compiled()]))
