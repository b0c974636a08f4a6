"""From key, tweak and geometry to everything the rounds need: one SHAKE-256 call (FIPS 202).

The only code that the backends share. All integers are little-endian.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher import constant as const

# The order of the parts in the SHAKE-256 output keeps every array aligned to its word size.
_ROUND_KEYS_END = const.ROUNDS * const.KEY_BYTES
_MOVE_KEY_END = _ROUND_KEYS_END + const.KEY_BYTES
_POOL_END = _MOVE_KEY_END + 2 * const.POOL_KEY_PAIRS * 4
_KERNEL_WORDS = const.FILTERS * (const.TAPS + 1)
_KERNEL_END = _POOL_END + const.ROUNDS * _KERNEL_WORDS * 2
_N_MIXES = const.ROUNDS * const.FILTERS * 2
_MIX_END = _KERNEL_END + _N_MIXES * 2
# Of all weights of the output layer side by side, 16 bits each, those above and those below zero alternating.
_ODD = int.from_bytes(b"\1\0" * _N_MIXES, "little")
_SECOND_BIT_ABOVE = int.from_bytes(b"\2\0\0\0" * (_N_MIXES // 2), "little")
_SECOND_BIT_BELOW = _SECOND_BIT_ABOVE << 16


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a frame is seen by the cipher: a flat vector of words in two halves.

    Parameters
    ----------
    n_samples
        Number of words of the frame, 0 or more.
    row_length
        Distance of vertically adjacent taps of the convolution, in words, 1 or more.
    word_bits
        8 or 16.
    """

    n_samples: int
    row_length: int
    word_bits: int

    @classmethod
    def of(cls, n_samples: int, row_length: int, word_bits: int) -> Geometry:
        """Make a geometry; a row length that does not fit into the left half becomes the half's square root."""
        half = n_samples // 2
        if not 1 <= row_length < half:
            row_length = max(1, isqrt(half))
        return cls(n_samples, row_length, word_bits)

    @property
    def n_left(self) -> int:
        """Words of the left half; the right half has as many or one more."""
        return self.n_samples // 2

    @property
    def run_length(self) -> int:
        """Words that the repositioning moves together, 1 or more."""
        return max(1, -(-self.n_samples // const.MAX_PARTS))

    def n_parts(self, n_words: int) -> int:
        """Runs of a half of `n_words` that the repositioning moves; the words behind the last one stay where they are.

        Of both halves together they are at most 1024.
        """
        return n_words // self.run_length


@dataclass(frozen=True, slots=True)
class Schedule:
    """What one frame's rounds run on.

    Parameters
    ----------
    round_keys
        Four keys of 32 bytes.
    move_key
        Key of the repositioning, 32 bytes.
    pool_keys
        uint32 (2, 257): keys of the first and of the second word of each pair.
    kernels
        uint16 (4 rounds, 2 filters, 10): nine taps in reading order, then the bias.
    mixes
        uint16 (4 rounds, 2 filters, 2): odd weights of the output layer, for positive and for negative values.
    """

    round_keys: tuple[bytes, ...]
    move_key: bytes
    pool_keys: npt.NDArray[np.uint32]
    kernels: npt.NDArray[np.uint16]
    mixes: npt.NDArray[np.uint16]


def make_schedule(key: bytes, tweak: bytes, geometry: Geometry) -> Schedule:
    """Derive the schedule of one frame.

    The prefix has a fixed length and ends with the tweak's length, so no two sets of arguments hash the same bytes.
    """
    prefix = (
        const.LABEL_KEYS
        + key
        + geometry.n_samples.to_bytes(8, "little")
        + geometry.row_length.to_bytes(8, "little")
        + geometry.word_bits.to_bytes(1, "little")
        + len(tweak).to_bytes(8, "little")
    )
    stream = hashlib.shake_256(prefix + tweak).digest(_MIX_END)
    round_keys = tuple(stream[start : start + const.KEY_BYTES] for start in range(0, _ROUND_KEYS_END, const.KEY_BYTES))
    pool_keys = np.frombuffer(stream, "<u4", 2 * const.POOL_KEY_PAIRS, _MOVE_KEY_END)
    kernels = np.frombuffer(stream, "<u2", const.ROUNDS * _KERNEL_WORDS, _POOL_END)
    mixes = np.frombuffer(_usable(stream[_KERNEL_END:]), "<u2")
    return Schedule(
        round_keys,
        stream[_ROUND_KEYS_END:_MOVE_KEY_END],
        pool_keys.reshape(2, const.POOL_KEY_PAIRS),
        kernels.reshape(const.ROUNDS, const.FILTERS, const.TAPS + 1),
        mixes.reshape(const.ROUNDS, const.FILTERS, 2),
    )


def _usable(mixes: bytes) -> bytes:
    """Make the weights odd, as an even one would drop the top bit, and the sum of every pair 2 modulo 4.

    Were a sum 0, the two slopes of the rectifier would be one, and the filter linear. (One big integer, because numpy
    takes 20 times as long over so few numbers.)
    """
    number = int.from_bytes(mixes, "little") & ~_SECOND_BIT_BELOW | _ODD
    return (number | (number & _SECOND_BIT_ABOVE) << 16).to_bytes(len(mixes), "little")


def round_seeds(round_key: bytes, n_source: int, features: bytes) -> npt.NDArray[np.uint32]:
    """Seed the logistic lanes of a round from the pooled features of its source half.

    Returns
    -------
    ndarray
        uint32 (3, 128), read-only: start values, Weyl words, Weyl increments (made odd where they are used).
    """
    prefix = const.LABEL_SEED + round_key + n_source.to_bytes(8, "little")
    return _lanes(hashlib.shake_256(prefix + features).digest(3 * const.LANE_STEP_BYTES))


def move_seeds(move_key: bytes) -> npt.NDArray[np.uint32]:
    """Seed the logistic lanes that order the repositioning; the same form as `round_seeds`."""
    return _lanes(hashlib.shake_256(const.LABEL_MOVE + move_key).digest(3 * const.LANE_STEP_BYTES))


def _lanes(digest: bytes) -> npt.NDArray[np.uint32]:
    return np.frombuffer(digest, "<u4").reshape(3, const.LANES)
