"""Streams of bits: ours, controls that must pass, and controls that must fail.

All but one follow from fixed labels and numbers, so that a run can be repeated to the bit; nobody chose a key. A second
experiment takes other numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from iomt_crypt.analysis.randomness import LaneStream
from iomt_crypt.cipher import encrypt

#: 10^6 bits, the length of one sequence.
SEQUENCE_BYTES: Final = 125_000
_SHAPE: Final = (512, 512)
_PIECE_STEPS: Final = 8192

Kind = Literal["ours", "former", "ideal", "poor"]


@dataclass(frozen=True)
class Source:
    """A generator of independent sequences.

    Parameters
    ----------
    title
        For the table.
    kind
        What is claimed of it: "ours" and "ideal" must pass, "poor" must fail, of "former" nothing is claimed.
    make
        From the number of the experiment and of the sequence to its bytes, or to its bits (uint8 of 10^6).
    """

    title: str
    kind: Kind
    make: Callable[[int, int], bytes | npt.NDArray[np.uint8]]


def key_of(label: str, experiment: int, index: int = 0) -> bytes:
    """Return the key of a sequence, 32 bytes."""
    return sha256(f"iomt-crypt randomness/{label}/{experiment}/{index}".encode()).digest()


def _part(stream: Iterator[bytes], index: int) -> bytes:
    """Cut a sequence out of a stream that begins with sequence 0."""
    first = index * SEQUENCE_BYTES
    data, position = b"", 0
    for piece in stream:
        if position + len(piece) > first:
            data += piece[max(0, first - position) :]
        position += len(piece)
        if len(data) >= SEQUENCE_BYTES:
            break
    return data[:SEQUENCE_BYTES]


def many_keys(experiment: int, index: int) -> bytes:
    """The beginning of the key stream of a key of its own."""
    return _part(LaneStream.of(key_of("many keys", experiment, index)).pieces(), 0)


def without_veil(experiment: int, index: int) -> bytes:
    """The lanes as they were before decision 0008."""
    return _part(LaneStream.of(key_of("without veil", experiment, index), veiled=False).pieces(), 0)


def one_key(experiment: int, index: int) -> bytes:
    """A part of the long key stream of one key."""
    return _part(LaneStream.of(key_of("one key", experiment)).pieces(), index)


def one_lane(experiment: int, index: int) -> bytes:
    """The words of one lane."""
    stream = LaneStream.of(key_of("one lane", experiment, index))
    return _part(stream.pieces(slice(index % 128, index % 128 + 1)), 0)


def one_pair(experiment: int, index: int) -> bytes:
    """The words of two coupled lanes in turn."""
    first = 2 * (index % 64)
    return _part(LaneStream.of(key_of("one pair", experiment, index)).pieces(slice(first, first + 2)), 0)


def bit_plane(experiment: int, index: int) -> npt.NDArray[np.uint8]:
    """One bit of the words of one lane, bit by bit: all 32 in turn."""
    stream = LaneStream.of(key_of("bit planes", experiment, index))
    bits = np.empty(8 * SEQUENCE_BYTES, np.uint8)
    words = np.empty((_PIECE_STEPS, 128), np.uint32)
    for start in range(0, bits.size, _PIECE_STEPS):
        stream.fill(words)
        piece = (words[:, (37 * index) % 128] >> np.uint32(index % 32)) & np.uint32(1)
        bits[start : start + _PIECE_STEPS] = piece[: bits.size - start]
    return bits


def _images(first: npt.NDArray[np.uint16], key: bytes) -> Iterator[bytes]:
    for tweak in count():
        yield encrypt(first, key, tweak=tweak.to_bytes(8, "little")).tobytes()


def _image_part(image: npt.NDArray[np.uint16], key: bytes, index: int) -> bytes:
    """A part of the cipher images of one image under successive tweaks, joined."""
    first = index * SEQUENCE_BYTES
    tweak, offset = divmod(first, image.nbytes)
    data = b""
    while len(data) < offset + SEQUENCE_BYTES:
        data += encrypt(image, key, tweak=tweak.to_bytes(8, "little")).tobytes()
        tweak += 1
    return data[offset : offset + SEQUENCE_BYTES]


def images_16(experiment: int, index: int) -> bytes:
    """16-bit cipher images of zeros."""
    return _image_part(np.zeros(_SHAPE, np.uint16), key_of("16-bit images", experiment), index)


def images_8(experiment: int, index: int) -> bytes:
    """8-bit cipher images of zeros."""
    return _image_part(np.zeros(_SHAPE, np.uint8), key_of("8-bit images", experiment), index)


def sample_differences(experiment: int, index: int) -> bytes:
    """Exclusive or of the cipher images of two images that differ by 1 in one sample."""
    zeros = np.zeros(_SHAPE, np.uint16)
    key = key_of("sample differences", experiment, index)
    other = zeros.copy()
    other.reshape(-1)[int.from_bytes(key[:8], "little") % zeros.size] = 1
    return (encrypt(zeros, key) ^ encrypt(other, key)).tobytes()[:SEQUENCE_BYTES]


def key_differences(experiment: int, index: int) -> bytes:
    """Exclusive or of the cipher images of one image under two keys that differ in one bit: all 256 in turn."""
    zeros = np.zeros(_SHAPE, np.uint16)
    key = key_of("key differences", experiment, index)
    other = (int.from_bytes(key, "little") ^ 1 << index % 256).to_bytes(32, "little")
    return (encrypt(zeros, key) ^ encrypt(zeros, other)).tobytes()[:SEQUENCE_BYTES]


def aes_stream(experiment: int, index: int = 0) -> Iterator[bytes]:
    """AES-256 in counter mode."""
    encryptor = Cipher(algorithms.AES(key_of("aes", experiment, index)), modes.CTR(bytes(16))).encryptor()
    zeros = bytes(1 << 22)
    while True:
        yield encryptor.update(zeros)


def aes(experiment: int, index: int) -> bytes:
    """The beginning of the counter mode stream of a key of its own."""
    return _part(aes_stream(experiment, index), 0)


def system(experiment: int, index: int) -> bytes:
    """What the operating system gives; the one source that cannot be repeated."""
    return os.urandom(SEQUENCE_BYTES)


def float_map(experiment: int, index: int) -> bytes:
    """A byte a step of x -> 3.99 x (1 - x) in single precision, over an image of zeros: a frequent construction."""
    start = 0.1 + 0.8 * int.from_bytes(key_of("float map", experiment, index)[:8], "little") / 2**64
    x, r, one, levels = np.array([start, 3.99, 1, 256], np.float32)
    steps = bytearray(SEQUENCE_BYTES)
    for step in range(SEQUENCE_BYTES):
        x = r * x * (one - x)
        steps[step] = int(x * levels)
    return bytes(steps)


SOURCES: Final[dict[str, Source]] = {
    "many keys": Source("key stream, a key for each sequence", "ours", many_keys),
    "one key": Source("key stream, one key for all", "ours", one_key),
    "one lane": Source("words of one lane", "ours", one_lane),
    "one pair": Source("words of a coupled pair of lanes", "ours", one_pair),
    "bit planes": Source("single bits of one lane's words", "ours", bit_plane),
    "16-bit images": Source("cipher images of zeros, 512 x 512, 16 bits", "ours", images_16),
    "8-bit images": Source("cipher images of zeros, 512 x 512, 8 bits", "ours", images_8),
    "sample differences": Source("cipher images that differ in one plain sample, xor", "ours", sample_differences),
    "key differences": Source("cipher images that differ in one key bit, xor", "ours", key_differences),
    "without veil": Source("lanes without veil (before decision 0008)", "former", without_veil),
    "AES-256-CTR": Source("AES-256 in counter mode", "ideal", aes),
    "system": Source("the operating system's generator", "ideal", system),
    "float map": Source("logistic map in single precision, xor zeros", "poor", float_map),
}


def long_stream(name: str, experiment: int) -> Iterator[bytes]:
    """Return an endless stream for ent and dieharder: a key stream, joined cipher images, a control."""
    if name == "one key":
        return LaneStream.of(key_of("long stream", experiment)).pieces()
    if name == "one pair":
        return LaneStream.of(key_of("long pair", experiment)).pieces(slice(0, 2))
    if name == "16-bit images":
        return _images(np.zeros(_SHAPE, np.uint16), key_of("long images", experiment))
    if name == "AES-256-CTR":
        return aes_stream(experiment)
    if name == "float map":
        return (float_map(experiment, index) for index in count())
    raise ValueError(f"no long stream {name!r}")
