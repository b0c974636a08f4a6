"""The cipher on CPU cores: compiled kernels over work memory that each thread keeps."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher import kernel
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule, move_seeds, round_seeds

if sys.byteorder != "little":  # the kernels view words as the bytes of a little-endian machine
    raise ImportError("the numba backend needs a little-endian machine; use backend='reference'")

_ALIGNMENT = 64
_BUFFERS = threading.local()
#: Compiled functions of kernel.py, each of which can fail to be cached once.
_KERNELS = 14
_PREPARED: set[int] = set()


def encrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Encrypt a flat vector of words into `target`, which may be `source`."""
    _prepare(geometry.word_bits)
    _transform(source, target, geometry, schedule, decrypting=False)


def decrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Undo `encrypt_words`."""
    _prepare(geometry.word_bits)
    _transform(source, target, geometry, schedule, decrypting=True)


def available_cpus() -> int:
    """CPUs that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _transform(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule, *, decrypting: bool) -> None:
    """Two rounds in this thread's work memory and, repositioned, two in `target`."""
    work: Samples = _work_memory(source.nbytes).view(source.dtype)
    work[:] = source
    # For words at an odd address numba would compile every kernel once more.
    vector = target if target.flags.aligned else np.empty_like(target)
    frame = _Frame(geometry, schedule, decrypting=decrypting)
    rounds = tuple(range(const.ROUNDS))[:: -1 if decrypting else 1]
    frame.run(work, rounds[: const.ROUNDS_BEFORE_MOVE])
    seeds = move_seeds(schedule.move_key)
    kernel.move(work, vector, geometry.n_left, geometry.run_length, seeds, decrypting)
    frame.run(vector, rounds[const.ROUNDS_BEFORE_MOVE :])
    if vector is not target:
        target[:] = vector


class _Frame:
    """Rounds over one frame where its words lie, each of which pools the source of the next."""

    def __init__(self, geometry: Geometry, schedule: Schedule, *, decrypting: bool) -> None:
        self._geometry = geometry
        self._schedule = schedule
        self._decrypting = decrypting
        # 8-bit weights go to the upper byte of a 16-bit lane (see kernel.py).
        self._weights = schedule.kernels << np.uint16(16 - geometry.word_bits)
        self._pool_keys = kernel.split_keys(schedule.pool_keys)

    def run(self, vector: Samples, rounds: tuple[int, ...]) -> None:
        """Apply or undo `rounds` in place; their sources alternate."""
        schedule, n_left = self._schedule, self._geometry.n_left
        # Even rounds change the right half and odd ones the left.
        halves = vector[:n_left], vector[n_left:]
        pooled = _features(halves[rounds[0] % 2])
        kernel.pool(halves[rounds[0] % 2], self._pool_keys, pooled)
        for index in rounds:
            source, target = halves[index % 2], halves[1 - index % 2]
            seeds = round_seeds(schedule.round_keys[index], source.size, pooled.tobytes())
            pooled = _features(target) if index != rounds[-1] else pooled[:0]
            kernel.run_round(
                source,
                target,
                self._geometry.row_length,
                self._weights[index],
                schedule.mixes[index],
                seeds,
                self._decrypting,
                self._pool_keys,
                pooled,
            )


def _features(half: Samples) -> npt.NDArray[np.uint64]:
    return np.empty(const.POOL_PASSES * -(-half.nbytes // const.POOL_BLOCK_BYTES), np.uint64)


def _prepare(word_bits: int) -> None:
    """Compile or load the kernels for a word size.

    A disk that is full must stop nobody from decrypting: numba then raises after it has compiled a kernel and failed to
    cache it, and goes on with the next when asked again.
    """
    if word_bits in _PREPARED:
        return
    words: Samples = np.zeros(2, np.uint8) if word_bits == 8 else np.zeros(2, np.uint16)
    geometry = Geometry.of(words.size, 1, word_bits)
    schedule = make_schedule(bytes(const.KEY_BYTES), b"", geometry)
    for attempt in range(_KERNELS + 1):
        try:
            _transform(words, words, geometry, schedule, decrypting=False)
        except OSError:
            if attempt == _KERNELS:
                raise
        else:
            break
    _PREPARED.add(word_bits)


def _work_memory(size_bytes: int) -> npt.NDArray[np.uint8]:
    """Aligned memory of this thread; grows, and is kept for the next frame."""
    memory: Any = getattr(_BUFFERS, "memory", None)
    if memory is None or memory.size < size_bytes:
        _BUFFERS.memory = None  # release the old before asking for the new
        raw = np.empty(size_bytes + _ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        memory = _BUFFERS.memory = raw[start : start + size_bytes]
    part: npt.NDArray[np.uint8] = memory[:size_bytes]
    return part
