"""The cipher on CPU cores: compiled kernels over work memory that each thread keeps."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher import jit, kernel
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule, move_seeds, round_seeds

if sys.byteorder != "little":  # the kernels view words as the bytes of a little-endian machine
    raise ImportError("the numba backend needs a little-endian machine; use backend='reference'")

_Word = TypeVar("_Word", bound=np.generic)

_ALIGNMENT = 64
_BUFFERS = threading.local()
#: Frames of so many bytes are a group: enough work between two turns of the GIL, and little enough for the cache.
_GROUP_BYTES = 1 << 22
_PREPARED: set[int] = set()


def encrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Encrypt a flat vector of words into `target`, which may be `source`."""
    transform(source.reshape(1, -1), target.reshape(1, -1), geometry, [schedule], decrypting=False)


def decrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Undo `encrypt_words`."""
    transform(source.reshape(1, -1), target.reshape(1, -1), geometry, [schedule], decrypting=True)


def transform(
    sources: Samples, targets: Samples, geometry: Geometry, schedules: Sequence[Schedule], *, decrypting: bool
) -> None:
    """Encrypt or decrypt a group of frames on this thread, round by round.

    Between two kernels SHAKE-256 needs the GIL; threads that run many small frames side by side would pass it to and
    fro all the time, and this takes longer than the frames.

    Parameters
    ----------
    sources
        (n_frames, n_samples), of any layout.
    targets
        (n_frames, n_samples), C-contiguous; may be `sources`.
    schedules
        One for each frame.
    """
    _prepare(geometry.word_bits)
    _transform(sources, targets, geometry, schedules, decrypting=decrypting)


def group_size(frame_bytes: int) -> int:
    """Frames that `transform` should get at a time."""
    return max(1, _GROUP_BYTES // frame_bytes)


def available_cpus() -> int:
    """CPUs that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _transform(
    sources: Samples, targets: Samples, geometry: Geometry, schedules: Sequence[Schedule], *, decrypting: bool
) -> None:
    """Two rounds in this thread's work memory and, repositioned, two in `targets`."""
    work: Samples = _work_memory(sources.nbytes).view(sources.dtype).reshape(sources.shape)
    work[:] = sources
    # For words at an odd address numba would compile every kernel once more.
    vectors = targets if targets.flags.aligned else np.empty_like(targets)
    group = _Group(geometry, schedules, decrypting=decrypting)
    rounds = tuple(range(const.ROUNDS))[:: -1 if decrypting else 1]
    group.run(work, rounds[: const.ROUNDS_BEFORE_MOVE])
    group.move(work, vectors)
    group.run(vectors, rounds[const.ROUNDS_BEFORE_MOVE :])
    if vectors is not targets:
        targets[:] = vectors


class _Group:
    """Rounds over frames of one geometry where their words lie, each of which pools the sources of the next."""

    def __init__(self, geometry: Geometry, schedules: Sequence[Schedule], *, decrypting: bool) -> None:
        self._geometry = geometry
        self._schedules = schedules
        self._decrypting = decrypting
        self._pool_keys = _stack([schedule.pool_keys for schedule in schedules])
        self._mixes = _stack([schedule.mixes for schedule in schedules])
        # 8-bit weights go to the upper byte of a 16-bit lane (see kernel.py).
        self._weights = _stack([schedule.kernels for schedule in schedules]) << np.uint16(16 - geometry.word_bits)

    def run(self, vectors: Samples, rounds: tuple[int, ...]) -> None:
        """Apply or undo `rounds` in place; their sources alternate."""
        geometry, first = self._geometry, rounds[0]
        features = self._features(first)
        kernel.pool_frames(vectors, geometry.n_left, first % 2 == 1, self._pool_keys, features)
        for index in rounds:
            n_source = self._half_words(index)
            seeds = [
                round_seeds(schedule.round_keys[index], n_source, pooled.tobytes())
                for schedule, pooled in zip(self._schedules, features, strict=True)
            ]
            features = self._features(index + 1) if index != rounds[-1] else features[:, :0]
            kernel.run_rounds(
                vectors,
                geometry.n_left,
                index,
                geometry.row_length,
                self._weights,
                self._mixes,
                _stack(seeds),
                self._decrypting,
                self._pool_keys,
                features,
            )

    def move(self, sources: Samples, targets: Samples) -> None:
        """Reposition the halves of every frame."""
        seeds = _stack([move_seeds(schedule.move_key) for schedule in self._schedules])
        geometry = self._geometry
        kernel.move_frames(sources, targets, geometry.n_left, geometry.run_length, seeds, self._decrypting)

    def _half_words(self, index: int) -> int:
        """Words of a round's source: even rounds change the right half and odd ones the left."""
        return self._geometry.n_samples - self._geometry.n_left if index % 2 else self._geometry.n_left

    def _features(self, index: int) -> npt.NDArray[np.uint64]:
        n_blocks = -(-self._half_words(index) * self._geometry.word_bits // (8 * const.POOL_BLOCK_BYTES))
        return np.empty((len(self._schedules), const.POOL_PASSES * n_blocks), np.uint64)


def _stack(arrays: list[npt.NDArray[_Word]]) -> npt.NDArray[_Word]:
    """Stack what belongs to the frames of a group: always read-only, because to numba that is a type of its own."""
    stacked = arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)
    stacked.flags.writeable = False
    return stacked


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
    for attempt in range(len(jit.KERNELS) + 1):
        try:
            _transform(words[np.newaxis], words[np.newaxis], geometry, [schedule], decrypting=False)
        except OSError:
            if attempt == len(jit.KERNELS):
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
