"""The cipher over batches of frames with PyTorch: on CUDA where there is a device, else on the CPU, where it is slow.

Tensors hold as many frames as the memory allows, stage by stage (torch_stage.py, or torch_triton.py on CUDA). Only the
pooled features, 1/64 of the data, go to the host, where SHAKE-256 turns them into seeds, once in each round for all
frames. Importing PyTorch takes seconds; nothing but this backend needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher import kernel, torch_stage
from iomt_crypt.cipher.batch import Job, make_job
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.numba_backend import available_cpus
from iomt_crypt.cipher.schedule import Geometry, Schedule, move_seeds, round_seeds

if sys.byteorder != "little":  # words are viewed as the bytes of a little-endian machine
    raise ImportError("the torch backend needs a little-endian machine; use backend='reference'")

#: Memory for the tensors of one chunk of a batch: on the CPU, and on CUDA if half of what is free is not less.
CPU_BUDGET_BYTES = 1 << 28
CUDA_BUDGET_BYTES = 1 << 34
#: Bytes of tensors for each byte of a frame, and for each frame, at the worst moment.
_WORK_FACTOR = 8
_WORK_BYTES = 1 << 16
#: Features of this many bytes a frame are hashed by threads: hashlib gives the GIL up while it absorbs that much.
_THREADED_FEATURES = 1 << 13
#: A thread is worth its start for copying this many bytes.
_THREADED_COPY = 1 << 24
_TRITON_WORDS = 1 << 29

_WORDS = {8: torch.int8, 16: torch.int16}
_NUMPY_WORDS = {8: np.int8, 16: np.int16}


def encrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Encrypt one flat vector of words into `target`, which may be `source`."""
    _transform_arrays(source[np.newaxis], target[np.newaxis], geometry, iter([schedule]), decrypting=False)


def decrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Undo `encrypt_words`."""
    _transform_arrays(source[np.newaxis], target[np.newaxis], geometry, iter([schedule]), decrypting=True)


def has_cuda() -> bool:
    """Whether there is a CUDA device that PyTorch can use."""
    return torch.cuda.is_available()


def has_fast_cuda() -> bool:
    """Whether there is Triton too, without which CUDA is no faster than a few cores of the CPU."""
    return has_cuda() and find_spec("triton") is not None


def run(job: Job, sources: Samples, targets: Samples) -> None:
    """Transform frames (n_frames, ...), of any layout, into `targets` (n_frames, n_samples), which may be `sources`."""
    _transform_arrays(sources, targets, job.geometry, job.schedules(), decrypting=job.decrypting)


def encrypt_tensor(frames: Tensor, key: bytes, *, tweaks: Sequence[bytes], row_length: int | None = None) -> Tensor:
    """Encrypt frames where they are, on any device.

    Parameters
    ----------
    frames
        torch.uint8 or torch.uint16 (n_frames, ...), full range; left unchanged.
    key, tweaks, row_length
        As for `cipher.encrypt_frames_into`.

    Returns
    -------
    Tensor
        Contiguous, of the same shape, dtype and device; the bits of `cipher.encrypt_frames`.

    Raises
    ------
    TypeError
        `frames` is not a tensor of uint8 or uint16, or key or tweaks are not bytes.
    ValueError
        There is no axis of frames, tweaks differ in number from frames, or the key is not 32 bytes long.
    """
    return _transform_tensor(frames, key, tweaks, row_length, decrypting=False)


def decrypt_tensor(frames: Tensor, key: bytes, *, tweaks: Sequence[bytes], row_length: int | None = None) -> Tensor:
    """Undo `encrypt_tensor`; arguments and errors are the same."""
    return _transform_tensor(frames, key, tweaks, row_length, decrypting=True)


def _transform_tensor(
    frames: Tensor, key: bytes, tweaks: Sequence[bytes], row_length: int | None, *, decrypting: bool
) -> Tensor:
    if not isinstance(frames, Tensor):
        raise TypeError(f"frames must be a tensor, got {type(frames).__name__}")
    if frames.dtype not in (torch.uint8, torch.uint16):
        raise TypeError(f"frames must be torch.uint8 or torch.uint16, got {frames.dtype}")
    word_bits = 8 * frames.element_size()
    job = make_job(tuple(frames.shape), word_bits, key, tweaks, row_length, decrypting=decrypting)
    # Made outside of inference mode, or the caller could not change it in place.
    output = torch.empty(frames.shape, dtype=frames.dtype, device=frames.device)
    if output.numel() == 0:
        return output
    # Not all operations know uint16, and all know int16.
    source = frames.view(_WORDS[word_bits]).reshape(frames.shape[0], -1)
    target = output.view(_WORDS[word_bits]).view(frames.shape[0], -1)
    schedules = job.schedules()
    with torch.inference_mode():
        for start, stop in _chunks(source.shape[0], source.shape[1] * source.element_size(), frames.device):
            words = target[start:stop]
            words.copy_(source[start:stop])
            _Chunk(job.geometry, schedules, words, decrypting=decrypting).run()
    return output


def _transform_arrays(
    sources: Samples, targets: Samples, geometry: Geometry, schedules: Iterator[Schedule], *, decrypting: bool
) -> None:
    device = torch.device("cuda" if has_cuda() else "cpu")
    numpy_words = _NUMPY_WORDS[geometry.word_bits]
    with torch.inference_mode():
        for start, stop in _chunks(len(sources), sources[0].nbytes, device):
            # Page-locked memory is what CUDA copies from and to at full speed.
            shape = (stop - start, geometry.n_samples)
            host = torch.empty(shape, dtype=_WORDS[geometry.word_bits], pin_memory=device.type == "cuda")
            _copy(sources[start:stop].reshape(shape).view(numpy_words), host.numpy())
            words = host.to(device, non_blocking=True)
            _Chunk(geometry, schedules, words, decrypting=decrypting).run()
            if words is not host:
                host.copy_(words)
            _copy(host.numpy().view(targets.dtype), targets[start:stop])


def _copy(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy frames, in threads if there are many bytes: one core copies more slowly than a device encrypts."""
    n_threads = min(available_cpus(), len(source), source.nbytes // _THREADED_COPY)
    if n_threads < 2:
        target[:] = source
        return
    ends = np.linspace(0, len(source), n_threads + 1).astype(int)
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(np.copyto, np.split(target, ends[1:-1]), np.split(source, ends[1:-1])))


def _chunks(n_frames: int, frame_bytes: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """First and last frame of what fits into memory at a time: one frame at least."""
    budget = CPU_BUDGET_BYTES
    if device.type == "cuda":
        budget = min(torch.cuda.mem_get_info(device)[0] // 2, CUDA_BUDGET_BYTES)
    step = max(1, budget // (_WORK_FACTOR * frame_bytes + _WORK_BYTES))
    for start in range(0, n_frames, step):
        yield start, min(start + step, n_frames)


def _stages(words: Tensor) -> Any:
    """The module whose `pool` and `run_round` to use: Triton's on CUDA, where it is installed."""
    # Triton's kernels count words of a frame in 32 bits.
    if words.device.type == "cuda" and words.shape[1] < _TRITON_WORDS:
        try:
            from iomt_crypt.cipher import torch_triton
        except ModuleNotFoundError:
            return torch_stage
        return torch_triton
    return torch_stage


class _Chunk:
    """The rounds over frames of one geometry, in place.

    Parameters
    ----------
    schedules
        Gives the schedule of each frame; as many are taken as there are frames.
    words
        int8 or int16 (B, n), contiguous.
    """

    def __init__(self, geometry: Geometry, schedules: Iterator[Schedule], words: Tensor, *, decrypting: bool) -> None:
        self._geometry = geometry
        self._schedules = [next(schedules) for _ in range(words.shape[0])]
        self._words = words
        self._halves = words[:, : geometry.n_left], words[:, geometry.n_left :]
        self._decrypting = decrypting
        self._stage = _stages(words)
        as_words = _NUMPY_WORDS[geometry.word_bits]
        self._pool_keys = self._send(np.stack([s.pool_keys for s in self._schedules]).view(np.int32))
        # For 8-bit frames the lower bytes.
        self._kernels = self._send(np.stack([s.kernels for s in self._schedules]).astype(as_words))
        self._mixes = self._send(np.stack([s.mixes for s in self._schedules]).astype(as_words))

    def run(self) -> None:
        """Encrypt or decrypt."""
        rounds = tuple(range(const.ROUNDS))[:: -1 if self._decrypting else 1]
        for place, index in enumerate(rounds):
            if place == const.ROUNDS_BEFORE_MOVE:
                self._move()
            self._round(index)

    def _round(self, index: int) -> None:
        # Even rounds change the right half and odd ones the left.
        source, target = self._halves[index % 2], self._halves[1 - index % 2]
        n_source = source.shape[1]
        if target.shape[1] == 0:
            return
        features = self._stage.pool(source, self._pool_keys).cpu().numpy()
        seeds = self._send(self._seeds(index, n_source, features))
        kernels, mixes = self._kernels[:, index], self._mixes[:, index]
        row_length = self._geometry.row_length
        self._stage.run_round(source, target, row_length, kernels, mixes, seeds, decrypting=self._decrypting)

    def _seeds(self, index: int, n_source: int, features: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """SHAKE-256 of every frame's features, int32 (B, 3, 128)."""

        def seed(frame: int) -> npt.NDArray[np.uint32]:
            return round_seeds(self._schedules[frame].round_keys[index], n_source, features[frame].tobytes())

        frames = range(len(features))
        if len(frames) > 1 and features[0].nbytes >= _THREADED_FEATURES:
            with ThreadPoolExecutor(min(available_cpus(), len(frames))) as pool:
                return np.stack(list(pool.map(seed, frames))).view(np.int32)
        return np.stack([seed(frame) for frame in frames]).view(np.int32)

    def _move(self) -> None:
        """Reposition both halves; the orders are made on the host, where a shuffle is quick."""
        left, right = (self._geometry.n_parts(half.shape[1]) for half in self._halves)
        orders = np.stack([kernel.run_order(left, right, move_seeds(s.move_key)) for s in self._schedules])
        for half, order in zip(self._halves, np.split(orders, [left], axis=1), strict=True):
            if self._decrypting:
                order = np.argsort(order, axis=1)
            torch_stage.move(half, self._geometry.run_length, self._send(order))

    def _send(self, array: npt.NDArray[np.generic]) -> Tensor:
        """Copy small arrays to the device of the frames."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._words.device)
