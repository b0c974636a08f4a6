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
_KERNELS = 10
_PREPARED: set[int] = set()


def encrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Encrypt a flat vector of words into `target`, which may be `source`."""
    _prepare(geometry.word_bits)
    _Frame(geometry, schedule).run(source, target, (0, 1, 2, 3), decrypting=False)


def decrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Undo `encrypt_words`."""
    _prepare(geometry.word_bits)
    _Frame(geometry, schedule).run(source, target, (3, 2, 1, 0), decrypting=True)


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
            frame.run(words, words, (0, 1, 2, 3), decrypting=False)
        except OSError:
            if attempt == _KERNELS:
                raise
        else:
            break
    _PREPARED.add(word_bits)


class _Frame:
    """One frame on its way through the rounds: two halves in this thread's work memory."""

    def __init__(self, geometry: Geometry, schedule: Schedule) -> None:
        self._geometry = geometry
        self._schedule = schedule
        self._sizes = (geometry.n_left, geometry.n_samples - geometry.n_left)
        item = geometry.word_bits // 8
        # Room in front for the halo; whole cache lines, so that a half starts on one.
        lead_bytes = _round_up((geometry.row_length + 1) * item, _ALIGNMENT)
        # Behind: the longer of halo and zero padding; views need whole 32-bit words.
        halo_bytes = _round_up((self._sizes[1] + geometry.row_length + 2) * item, _ALIGNMENT)
        half_bytes = lead_bytes + max(halo_bytes, _round_up(self._sizes[1] * item, const.POOL_BLOCK_BYTES))
        memory: Samples = _work_memory(2 * half_bytes).view(np.uint8 if item == 1 else np.uint16)
        self._lead = lead_bytes // item
        self._halves = (memory[: half_bytes // item], memory[half_bytes // item :])
        n_blocks = [-(-size * item // const.POOL_BLOCK_BYTES) for size in self._sizes]
        self._features = [np.empty(const.POOL_PASSES * count, np.uint64) for count in n_blocks]
        # 8-bit weights go to the upper byte of a 16-bit lane (see kernel.py).
        self._kernels = schedule.kernels << np.uint16(16 - geometry.word_bits)

    def run(self, source: Samples, target: Samples, rounds: tuple[int, ...], *, decrypting: bool) -> None:
        """Load, run the rounds in this order with the repositioning in their middle, store."""
        self._load(source)
        for position, index in enumerate(rounds):
            if position == const.ROUNDS_BEFORE_MOVE:
                self._move(target, decrypting=decrypting)
            # Even rounds change the right half and odd ones the left.
            half = index % 2
            self._round(index, half, decrypting=decrypting)
        self._store(target)

    def _round(self, index: int, half: int, *, decrypting: bool) -> None:
        source, n_source = self._halves[half], self._sizes[half]
        target, n_target = self._halves[1 - half], self._sizes[1 - half]
        schedule = self._schedule
        features = self._features[half]
        kernel.pool(source, self._lead, n_source, schedule.pool_keys, features)
        seeds = round_seeds(schedule.round_keys[index], n_source, features.tobytes())
        row_length, mix = self._geometry.row_length, schedule.mixes[index]
        kernel.run_round(
            source, n_source, target, n_target, self._lead, row_length, self._kernels[index], mix, seeds, decrypting
        )

    def _move(self, scratch: Samples, *, decrypting: bool) -> None:
        # The caller's target is overwritten at the end anyway: using it here saves a second frame of work memory.
        # (Unless it starts at an odd address, for which numba would compile the kernel once more.)
        if not scratch.flags.aligned:
            scratch = np.empty_like(scratch)
        seeds = move_seeds(self._schedule.move_key)
        n_left, run_length, n_parts = self._sizes[0], self._geometry.run_length, self._geometry.n_parts
        kernel.move(*self._halves, self._lead, n_left, run_length, n_parts, seeds, decrypting, scratch)
        self._load(scratch)

    def _load(self, vector: Samples) -> None:
        for half, part in zip(self._halves, (vector[: self._sizes[0]], vector[self._sizes[0] :]), strict=True):
            half[self._lead : self._lead + part.size] = part

    def _store(self, vector: Samples) -> None:
        for half, part in zip(self._halves, (vector[: self._sizes[0]], vector[self._sizes[0] :]), strict=True):
            part[:] = half[self._lead : self._lead + part.size]


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


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
