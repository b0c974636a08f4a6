"""Batches: many frames of one geometry under one key, each with its own tweak; the result is that of frame by frame."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from operator import index

import numpy as np

from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.frame import Backend, check_bytes, check_key, check_pair, check_samples, load
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule

#: From this size on "auto" gives a batch to CUDA, if PyTorch is loaded: an estimate (docs/PERFORMANCE.md).
CUDA_BYTES = 1 << 26
#: And from this size on if PyTorch would have to be imported first, which takes seconds.
CUDA_IMPORT_BYTES = 1 << 32
#: Another thread is worth its start for each so many bytes of frames.
_THREAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done with a batch; `make_job` checks it."""

    geometry: Geometry
    key: bytes = field(repr=False)
    tweaks: tuple[bytes, ...]
    decrypting: bool

    def schedule(self, frame: int) -> Schedule:
        """Key schedule of one frame."""
        return make_schedule(self.key, self.tweaks[frame], self.geometry)

    def schedules(self) -> Iterator[Schedule]:
        """Key schedules in the order of the frames, each derived when it is asked for."""
        return map(self.schedule, range(len(self.tweaks)))


def encrypt_frames(
    frames: Samples, key: bytes, *, tweaks: Sequence[bytes], backend: Backend = "auto", workers: int | None = None
) -> Samples:
    """Encrypt a batch of frames.

    Parameters
    ----------
    frames
        uint8 or uint16 (n_frames, ...), full range, any memory layout; left unchanged.
    key
        32 bytes, for all frames.
    tweaks
        What tells each frame from the others under the key: n_frames byte strings of any length.
    backend
        "numba", "torch", "reference" or "auto": "torch" on CUDA for batches of 64 MiB and more (4 GiB if PyTorch is
        not loaded yet) where PyTorch and Triton are installed and there is a device, else "numba". The output does not
        depend on it.
    workers
        Threads of the numba backend; None: as many as there are CPUs for this process, and fewer for small batches.

    Returns
    -------
    ndarray
        Cipher frames, C-contiguous, of the same shape and dtype; each is what `encrypt` makes of it.

    Raises
    ------
    TypeError
        `frames` is not an array of uint8 or uint16 in native byte order, or key or tweaks are not bytes.
    ValueError
        `frames` has no axis, tweaks differ in number from frames, the key is not 32 bytes long, workers are fewer than
        one, or the backend does not exist.
    ConfigurationError
        The backend is not installed.
    """
    return _transform(frames, key, tweaks, backend, workers, decrypting=False)


def decrypt_frames(
    frames: Samples, key: bytes, *, tweaks: Sequence[bytes], backend: Backend = "auto", workers: int | None = None
) -> Samples:
    """Undo `encrypt_frames`; arguments and errors are the same."""
    return _transform(frames, key, tweaks, backend, workers, decrypting=True)


def encrypt_frames_into(
    source: Samples,
    target: Samples,
    key: bytes,
    *,
    tweaks: Sequence[bytes],
    row_length: int | None = None,
    backend: Backend = "auto",
    workers: int | None = None,
) -> None:
    """Encrypt a batch of frames into memory that exists already.

    Work memory is 4 MiB, or one frame, for each thread; that of the torch backend does not grow with the batch either
    (256 MiB on the CPU; on CUDA 16 GiB or half of what is free, and an eighth of it in page-locked memory of the host).

    Parameters
    ----------
    source
        uint8 or uint16 (n_frames, ...), C-contiguous; left unchanged unless it is `target`.
    target
        As many samples of the same dtype, C-contiguous and writable; `source` itself, or memory apart from it.
    row_length
        Words in a row of each frame, as for `encrypt_into`.
    key, tweaks, backend, workers
        As for `encrypt_frames`.

    Raises
    ------
    TypeError, ValueError, ConfigurationError
        As `encrypt_frames` and `encrypt_into`.
    """
    _transform_into(source, target, key, tweaks, row_length, backend, workers, decrypting=False)


def decrypt_frames_into(
    source: Samples,
    target: Samples,
    key: bytes,
    *,
    tweaks: Sequence[bytes],
    row_length: int | None = None,
    backend: Backend = "auto",
    workers: int | None = None,
) -> None:
    """Undo `encrypt_frames_into`; arguments and errors are the same."""
    _transform_into(source, target, key, tweaks, row_length, backend, workers, decrypting=True)


def make_job(
    shape: tuple[int, ...],
    word_bits: int,
    key: bytes,
    tweaks: Sequence[bytes],
    row_length: int | None,
    *,
    decrypting: bool,
) -> Job:
    """Check what every form of a batch has in common.

    Parameters
    ----------
    shape
        (n_frames, ...)
    row_length
        None: what the shape of one frame says, as for a single frame.
    """
    if not shape:
        raise ValueError("frames must have an axis of frames, got a single sample")
    key = check_key(key)
    if isinstance(tweaks, bytes | bytearray | memoryview | str):
        raise TypeError(f"tweaks must be a sequence of bytes, got {type(tweaks).__name__}")
    checked = tuple(check_bytes("tweak", tweak) for tweak in tweaks)
    if len(checked) != shape[0]:
        raise ValueError(f"tweaks must be as many as frames ({shape[0]}), got {len(checked)}")
    if row_length is None:
        row_length = prod(shape[2:]) if len(shape) > 2 else 0
    geometry = Geometry.of(prod(shape[1:]), index(row_length), word_bits)
    return Job(geometry, key, checked, decrypting)


def _transform(
    frames: Samples, key: bytes, tweaks: Sequence[bytes], backend: Backend, workers: int | None, *, decrypting: bool
) -> Samples:
    check_samples("frames", frames)
    job = make_job(frames.shape, 8 * frames.itemsize, key, tweaks, None, decrypting=decrypting)
    output = np.empty(frames.shape, frames.dtype)
    _run(job, frames, output, backend, workers)
    return output


def _transform_into(
    source: Samples,
    target: Samples,
    key: bytes,
    tweaks: Sequence[bytes],
    row_length: int | None,
    backend: Backend,
    workers: int | None,
    *,
    decrypting: bool,
) -> None:
    check_pair(source, target)
    job = make_job(source.shape, 8 * source.itemsize, key, tweaks, row_length, decrypting=decrypting)
    _run(job, source, target, backend, workers)


def _run(job: Job, source: Samples, target: Samples, backend: Backend, workers: int | None) -> None:
    if workers is not None and index(workers) < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    chosen = choose(backend, source.nbytes)
    transforms = load(chosen)
    if source.size == 0:
        return
    targets = target.reshape(len(job.tweaks), -1)
    if chosen == "torch":
        from iomt_crypt.cipher import torch_backend

        torch_backend.run(job, source, targets)
    elif chosen == "reference":
        for frame, schedule in enumerate(job.schedules()):
            transforms[job.decrypting](source[frame].reshape(-1), targets[frame], job.geometry, schedule)
    else:
        _run_threads(job, source, targets, workers)


def choose(backend: Backend, n_bytes: int) -> Backend:
    """Return the backend that "auto" means for a batch of `n_bytes`; any other is returned as it is.

    PyTorch is not imported for batches below `CUDA_IMPORT_BYTES`.
    """
    if backend != "auto":
        return backend
    if n_bytes < (CUDA_BYTES if "torch" in sys.modules else CUDA_IMPORT_BYTES):
        return "numba"
    try:
        from iomt_crypt.cipher import torch_backend
    except ImportError:
        return "numba"
    return "torch" if torch_backend.has_fast_cuda() else "numba"


def _run_threads(job: Job, sources: Samples, targets: Samples, workers: int | None) -> None:
    """Run groups of frames on this thread and others, each of which takes the next group when it is done."""
    from iomt_crypt.cipher import numba_backend

    n_frames = len(targets)
    if workers is None:
        workers = min(numba_backend.available_cpus(), 1 + sources.nbytes // _THREAD_BYTES)
    # At least two groups for each thread, if there are as many frames: none should wait long for the last.
    size = min(numba_backend.group_size(targets[0].nbytes), -(-n_frames // (2 * workers)) if workers > 1 else n_frames)
    groups = iter(range(0, n_frames, size))

    def work() -> None:
        try:
            for start in groups:
                part = slice(start, min(start + size, n_frames))
                schedules = [job.schedule(frame) for frame in range(part.start, part.stop)]
                source = sources[part].reshape(len(schedules), -1)
                numba_backend.transform(source, targets[part], job.geometry, schedules, decrypting=job.decrypting)
        except BaseException:
            for _ in groups:  # the others end with the group they are at
                pass
            raise

    n_threads = min(workers, -(-n_frames // size))
    if n_threads == 1:
        work()
        return
    with ThreadPoolExecutor(n_threads - 1) as pool:
        others = [pool.submit(work) for _ in range(n_threads - 1)]
        work()
    for other in others:
        other.result()
