"""The cipher on one CPU core: compiled kernels over work memory that each thread keeps."""

from __future__ import annotations

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
_KERNELS = 11
_PREPARED: set[int] = set()


def encrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Encrypt a flat vector of words into `target`, which may be `source`."""
    _prepare(geometry.word_bits)
    _transform(source, target, _Frame(geometry, schedule), decrypting=False)


def decrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Undo `encrypt_words`."""
    _prepare(geometry.word_bits)
    _transform(source, target, _Frame(geometry, schedule), decrypting=True)


def _transform(source: Samples, target: Samples, frame: _Frame, *, decrypting: bool) -> None:
    # For words at an odd address numba would compile every kernel once more.
    vector = target if target.flags.aligned else np.empty_like(target)
    if vector.ctypes.data != source.ctypes.data:
        vector[:] = source
    frame.run(vector, decrypting=decrypting)
    if vector is not target:
        target[:] = vector


def _prepare(word_bits: int) -> None:
    """Compile or load the kernels for a word size.

    A disk that is full must stop nobody from decrypting: numba then raises after it has compiled a kernel and failed to
    cache it, and goes on with the next when asked again.
    """
    if word_bits in _PREPARED:
        return
    words: Samples = np.zeros(2, np.uint8) if word_bits == 8 else np.zeros(2, np.uint16)
    geometry = Geometry.of(words.size, 1, word_bits)
    frame = _Frame(geometry, make_schedule(bytes(const.KEY_BYTES), b"", geometry))
    for attempt in range(_KERNELS + 1):
        try:
            frame.run(words, decrypting=False)
        except OSError:
            if attempt == _KERNELS:
                raise
        else:
            break
    _PREPARED.add(word_bits)


class _Frame:
    """The rounds over one frame: the first two where the words lie, the last two in this thread's work memory."""

    def __init__(self, geometry: Geometry, schedule: Schedule) -> None:
        self._geometry = geometry
        self._schedule = schedule
        # 8-bit weights go to the upper byte of a 16-bit lane (see kernel.py).
        self._kernels = schedule.kernels << np.uint16(16 - geometry.word_bits)

    def run(self, vector: Samples, *, decrypting: bool) -> None:
        """Transform `vector` in place."""
        geometry = self._geometry
        memory: Samples = _work_memory(vector.nbytes).view(vector.dtype)
        rounds = (3, 2, 1, 0) if decrypting else (0, 1, 2, 3)
        for index in rounds[: const.ROUNDS_BEFORE_MOVE]:
            self._round(vector, index, decrypting=decrypting)
        seeds = move_seeds(self._schedule.move_key)
        kernel.move(vector, memory, geometry.run_length, geometry.n_parts, seeds, decrypting)
        for index in rounds[const.ROUNDS_BEFORE_MOVE :]:
            self._round(memory, index, decrypting=decrypting)
        vector[:] = memory

    def _round(self, vector: Samples, index: int, *, decrypting: bool) -> None:
        schedule, n_left = self._schedule, self._geometry.n_left
        # Even rounds change the right half and odd ones the left.
        source, target = vector[:n_left], vector[n_left:]
        if index % 2:
            source, target = target, source
        features = np.empty(const.POOL_PASSES * -(-source.nbytes // const.POOL_BLOCK_BYTES), np.uint64)
        kernel.pool(source, schedule.pool_keys, features)
        seeds = round_seeds(schedule.round_keys[index], source.size, features.tobytes())
        kernel.run_round(
            source,
            target,
            self._geometry.row_length,
            self._kernels[index],
            schedule.mixes[index],
            seeds,
            decrypting,
        )


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
