"""The cipher's entry points: check the arguments, derive the schedule, run a backend."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Literal

import numpy as np

from iomt_crypt.cipher.constant import KEY_BYTES, Samples
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule
from iomt_crypt.errors import ConfigurationError

Backend = Literal["auto", "reference", "numba", "torch"]
#: A backend's encryption or decryption of a flat vector of words into another, which may be the same.
Transform = Callable[[Samples, Samples, Geometry, Schedule], None]


def encrypt(samples: Samples, key: bytes, *, tweak: bytes = b"", backend: Backend = "auto") -> Samples:
    """Encrypt one frame.

    Parameters
    ----------
    samples
        uint8 or uint16, any shape, full range; left unchanged. The product of the dimensions after the first is
        taken as the length of a row.
    key
        32 bytes. A key and tweak pair must not be used for two frames that an attacker may compare: equal frames
        give equal cipher frames. (More does not leak, see docs/SPEC.md.)
    tweak
        What tells this frame from the others under the key, any length.
    backend
        "numba" (what "auto" means), "torch" or "reference"; the output does not depend on it.

    Returns
    -------
    ndarray
        Cipher samples, C-contiguous, of the same shape and dtype.

    Raises
    ------
    TypeError
        `samples` is not an array of uint8 or uint16 in native byte order, or key or tweak are not bytes.
    ValueError
        The key is not 32 bytes long, or the backend does not exist.
    ConfigurationError
        The backend is not installed.
    """
    check_samples("samples", samples)
    output = np.empty(samples.shape, samples.dtype)
    encrypt_into(
        np.ascontiguousarray(samples), output, key, tweak=tweak, row_length=_row_length(samples), backend=backend
    )
    return output


def decrypt(samples: Samples, key: bytes, *, tweak: bytes = b"", backend: Backend = "auto") -> Samples:
    """Undo `encrypt`; the shape must be the one that was encrypted (its row length is part of the cipher)."""
    check_samples("samples", samples)
    output = np.empty(samples.shape, samples.dtype)
    decrypt_into(
        np.ascontiguousarray(samples), output, key, tweak=tweak, row_length=_row_length(samples), backend=backend
    )
    return output


def encrypt_into(
    source: Samples,
    target: Samples,
    key: bytes,
    *,
    tweak: bytes = b"",
    row_length: int | None = None,
    backend: Backend = "auto",
) -> None:
    """Encrypt one frame into memory that exists already.

    Work memory is one frame for each thread; it is kept and reused, so a row of frames touches no fresh pages.

    Parameters
    ----------
    source
        uint8 or uint16, any shape, C-contiguous; left unchanged unless it shares memory with `target`.
    target
        As many samples of the same dtype, C-contiguous and writable; may be `source`.
    key, tweak, backend
        As for `encrypt`.
    row_length
        Words in a row of the image. None: the product of the dimensions of `source` after the first. If there is
        only one dimension, or the value is below 1 or not below half of the samples, the cipher uses the square
        root of half of the samples. Decryption must be given the same.

    Raises
    ------
    TypeError
        An array is not uint8 or uint16 in native byte order, or key or tweak are not bytes.
    ValueError
        The arrays differ in size or dtype, or are not C-contiguous, or `target` is read-only; the key is not
        32 bytes long; the backend does not exist.
    """
    _run(load(backend)[0], source, target, key, tweak, row_length)


def decrypt_into(
    source: Samples,
    target: Samples,
    key: bytes,
    *,
    tweak: bytes = b"",
    row_length: int | None = None,
    backend: Backend = "auto",
) -> None:
    """Undo `encrypt_into`; arguments and errors are the same."""
    _run(load(backend)[1], source, target, key, tweak, row_length)


def warm_up() -> None:
    """Compile or load every kernel, so that the first frame takes no longer than the next."""
    for dtype in (np.uint8, np.uint16):
        frame = np.zeros((4, 4), dtype)
        decrypt(encrypt(frame, bytes(KEY_BYTES)), bytes(KEY_BYTES))


def _run(
    transform: Transform, source: Samples, target: Samples, key: bytes, tweak: bytes, row_length: int | None
) -> None:
    check_pair(source, target)
    key, tweak = check_key(key), check_bytes("tweak", tweak)
    if source.size == 0:
        return
    row_length = _row_length(source) if row_length is None else index(row_length)
    geometry = Geometry.of(source.size, row_length, 8 * source.dtype.itemsize)
    transform(source.reshape(-1), target.reshape(-1), geometry, make_schedule(key, tweak, geometry))


def check_pair(source: Samples, target: Samples) -> None:
    """Check that `source` can be transformed into `target`."""
    check_samples("source", source)
    check_samples("target", target)
    if source.dtype != target.dtype or source.size != target.size:
        raise ValueError(
            f"target must have the size and dtype of source ({source.size} x {source.dtype}), "
            f"got {target.size} x {target.dtype}"
        )
    if not (source.flags.c_contiguous and target.flags.c_contiguous):
        raise ValueError("source and target must be C-contiguous")
    if not target.flags.writeable:
        raise ValueError("target must be writable")


def _row_length(samples: Samples) -> int:
    """Words in a row, or 0 (which `Geometry.of` replaces) where the shape does not say."""
    return samples.size // samples.shape[0] if samples.ndim > 1 and samples.shape[0] else 0


def check_samples(name: str, samples: Samples) -> None:
    """Check type and dtype."""
    if not isinstance(samples, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(samples).__name__}")
    if samples.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"{name} must be uint8 or native uint16, got {samples.dtype.str}")


def check_bytes(name: str, value: bytes) -> bytes:
    """Return the value as bytes."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, got {type(value).__name__}")
    return bytes(value)


def check_key(key: bytes) -> bytes:
    """Return the key as bytes."""
    key = check_bytes("key", key)
    if len(key) != KEY_BYTES:
        raise ValueError(f"key must be {KEY_BYTES} bytes, got {len(key)}")
    return key


def load(backend: Backend) -> tuple[Transform, Transform]:
    """Return the backend's encryption and decryption.

    Raises
    ------
    ValueError
        There is no such backend.
    ConfigurationError
        It is not installed.
    """
    # Importing numba takes half a second and PyTorch several, which commands that encrypt nothing should not pay.
    if backend == "reference":
        from iomt_crypt.cipher import reference

        return reference.encrypt_words, reference.decrypt_words
    if backend == "torch":
        try:
            from iomt_crypt.cipher import torch_backend
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"backend 'torch' needs PyTorch: {error}", hint="pip install 'iomt-crypt[torch]'"
            ) from error
        return torch_backend.encrypt_words, torch_backend.decrypt_words
    if backend not in ("auto", "numba"):
        raise ValueError(f"backend must be 'auto', 'reference', 'numba' or 'torch', got {backend!r}")
    from iomt_crypt.cipher import numba_backend

    return numba_backend.encrypt_words, numba_backend.decrypt_words
