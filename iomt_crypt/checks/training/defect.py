"""Ways to encrypt frames well and badly, as pure functions ``(frames, rng) -> frames``.

All frames of one object are given together: uint8 or uint16 (rows, columns) of cells, of one type. The results have
their shapes and types, unless said otherwise; the arguments are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.training.stream import compress, encapsulate
from iomt_crypt.seal import SUITES, Layout
from iomt_crypt.seal.schedule import ObjectKey

Frames = list[Frame]
Defect = Callable[[Sequence[Frame], np.random.Generator], Frames]

_AES_BLOCK = 16


def hybrid(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Properly encrypted: suite hybrid-1, under a fresh data key."""
    found = []
    for frame in frames:
        word_bits = 8 * frame.dtype.itemsize
        layout = Layout(1, frame.nbytes, word_bits, max(1, frame.shape[1]))
        suite = SUITES["hybrid-1"](ObjectKey(rng.bytes(32), rng.bytes(16)), layout, b"")
        buffer = bytearray(frame.astype(frame.dtype.newbyteorder("<")).tobytes())
        suite.seal(0, memoryview(buffer))
        found.append(_like(bytes(buffer), frame))
    return found


def key_stream(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Properly encrypted, as control: exclusive or with an AES-256-CTR key stream, fresh for each frame."""
    return [frame ^ noise(frame, rng) for frame in frames]


def noise(like: Frame, rng: np.random.Generator) -> Frame:
    """AES-256-CTR key stream of the shape and type of a frame."""
    counter = Cipher(algorithms.AES(rng.bytes(32)), modes.CTR(bytes(16))).encryptor()
    return _like(counter.update(bytes(like.nbytes)), like)


def identity(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Plain: nothing was done."""
    del rng
    return [frame.copy() for frame in frames]


def permuted(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Words change places and keep their values."""
    return [rng.permutation(frame.reshape(-1)).reshape(frame.shape) for frame in frames]


def short_key(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Exclusive or with a key of 1 to 32 bytes, over and over."""
    key = np.frombuffer(rng.bytes(int(rng.integers(1, 33))), np.uint8)
    return [_like((_bytes(frame) ^ np.resize(key, frame.nbytes)).tobytes(), frame) for frame in frames]


def row_key(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Exclusive or with a key stream of one row, the same for every row."""
    return [frame ^ noise(frame[:1], rng) for frame in frames]


def low_bits(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Only the low bits are encrypted: a quarter to a half of the word."""
    return [_masked(frame, low=True, n_bits=_part(frame, rng), rng=rng) for frame in frames]


def high_bits(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Only the high bits are encrypted: a quarter to a half of the word."""
    return [_masked(frame, low=False, n_bits=_part(frame, rng), rng=rng) for frame in frames]


def some_frames(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Every second frame stays plain, the first one or the second one on; a single frame always does."""
    start = int(rng.integers(2)) if len(frames) > 1 else 0
    good = key_stream(frames, rng)
    return [frame.copy() if i % 2 == start else good[i] for i, frame in enumerate(frames)]


def stripe(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """A sixteenth to a quarter of the rows, or of the columns, stays plain."""
    return [_band(frame, rng) for frame in frames]


def block_by_block(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """AES-256 in ECB mode: equal blocks of 16 bytes stay equal; an incomplete block at the end is encrypted well."""
    cipher = Cipher(algorithms.AES(rng.bytes(32)), modes.ECB())  # noqa: S305 - this is the defect
    found = []
    for frame in frames:
        data, whole = _bytes(frame).tobytes(), frame.nbytes // _AES_BLOCK * _AES_BLOCK
        found.append(_like(cipher.encryptor().update(data[:whole]) + rng.bytes(frame.nbytes - whole), frame))
    return found


def has_equal_blocks(frame: Frame) -> bool:
    """Two blocks of 16 bytes of the frame are equal: otherwise `block_by_block` leaves nothing to be seen."""
    data = _bytes(frame)
    blocks = data[: data.size // _AES_BLOCK * _AES_BLOCK].reshape(-1, _AES_BLOCK).view(np.uint64)
    return len(np.unique(blocks, axis=0)) < len(blocks)


def code_book(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Every word is replaced by another one, always the same for the same word."""
    return [rng.permutation(np.iinfo(frame.dtype).max + 1).astype(frame.dtype)[frame] for frame in frames]


def compressed(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """The compressed stream as it is: uint8 (1, n) for each frame. JPEG, JPEG 2000, RLE or deflate."""
    return [np.frombuffer(compress(frame, rng), np.uint8).reshape(1, -1) for frame in frames]


def carried(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """The encapsulated stream as it is from the first word of the raster on, noise behind it."""
    found = []
    for frame in frames:
        stream = encapsulate(compress(frame, rng))[: frame.nbytes]
        found.append(_like(stream + _bytes(noise(frame, rng)).tobytes()[len(stream) :], frame))
    return found


def constant(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Every word of all frames is the same."""
    share = rng.random()
    return [np.full_like(frame, int(share * (np.iinfo(frame.dtype).max + 1))) for frame in frames]


def twice_one_tweak(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Every frame under one and the same key stream: noise each, and the exclusive or of two of them is plain."""
    if len({frame.nbytes for frame in frames}) == 1:
        stream = noise(frames[0], rng)
        return [frame ^ stream for frame in frames]
    stream = noise(max(frames, key=lambda frame: frame.nbytes), rng)
    return [frame ^ _like(_bytes(stream).tobytes()[: frame.nbytes], frame) for frame in frames]


def long_key(frames: Sequence[Frame], rng: np.random.Generator) -> Frames:
    """Exclusive or with a key stream as long as the frame that is the same for all objects of a site."""
    del rng
    return [frame ^ noise(frame, np.random.default_rng(0)) for frame in frames]


GOOD: dict[str, Defect] = {"hybrid-1": hybrid, "AES-CTR": key_stream}
BAD: dict[str, Defect] = {
    "permuted": permuted,
    "short key": short_key,
    "row key": row_key,
    "low bits": low_bits,
    "high bits": high_bits,
    "some frames": some_frames,
    "stripe": stripe,
    "block by block": block_by_block,
    "code book": code_book,
    "compressed": compressed,
    "carried": carried,
    "constant": constant,
}
#: No look at one image can tell these from good ones: that is for the cryptographic check.
INVISIBLE: dict[str, Defect] = {"twice, one tweak": twice_one_tweak, "one long key": long_key}


def _bytes(frame: Frame) -> npt.NDArray[np.uint8]:
    little = np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<"), copy=False))
    return little.reshape(-1).view(np.uint8)


def _like(data: bytes, frame: Frame) -> Frame:
    words: npt.NDArray[Any] = np.frombuffer(data, frame.dtype.newbyteorder("<")).astype(frame.dtype)
    return words.reshape(frame.shape)


def _part(frame: Frame, rng: np.random.Generator) -> int:
    bits = 8 * frame.dtype.itemsize
    return int(rng.integers(bits // 4, bits // 2 + 1))


def _masked(frame: Frame, *, low: bool, n_bits: int, rng: np.random.Generator) -> Frame:
    ones = np.iinfo(frame.dtype).max
    mask = frame.dtype.type((1 << n_bits) - 1 if low else ones ^ (ones >> n_bits))
    return frame ^ (noise(frame, rng) & mask)


def _band(frame: Frame, rng: np.random.Generator) -> Frame:
    axis = int(rng.integers(2)) if min(frame.shape) >= _AES_BLOCK else int(np.argmax(frame.shape))
    length = frame.shape[axis]
    wide = max(1, int(length * rng.uniform(1 / 16, 1 / 4)))
    start = int(rng.integers(length - wide + 1))
    found = frame ^ noise(frame, rng)
    band = np.s_[start : start + wide] if axis == 0 else np.s_[:, start : start + wide]
    found[band] = frame[band]
    return found
