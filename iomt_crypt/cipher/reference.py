"""The cipher in plain numpy: written to be read, and to check the fast backends against.

Reads in the order of the algorithm; docs/SPEC.md says the same in words. All unsigned arithmetic wraps. The stages are
functions of their own, from which analysis and benchmarks put together reduced and altered ciphers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.schedule import Geometry, Schedule, move_seeds, round_seeds


def encrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Encrypt a flat vector of words into `target`, which may be `source`."""
    vector = source.copy()
    left, right = vector[: geometry.n_left], vector[geometry.n_left :]
    _apply_round(left, right, 0, geometry, schedule)
    _apply_round(right, left, 1, geometry, schedule)
    vector[:] = vector[move_order(geometry, schedule)]
    _apply_round(left, right, 2, geometry, schedule)
    _apply_round(right, left, 3, geometry, schedule)
    target[:] = vector


def decrypt_words(source: Samples, target: Samples, geometry: Geometry, schedule: Schedule) -> None:
    """Undo `encrypt_words`: the same steps, inverted, in reverse order."""
    vector = source.copy()
    left, right = vector[: geometry.n_left], vector[geometry.n_left :]
    _undo_round(right, left, 3, geometry, schedule)
    _undo_round(left, right, 2, geometry, schedule)
    moved = vector.copy()
    vector[move_order(geometry, schedule)] = moved
    _undo_round(right, left, 1, geometry, schedule)
    _undo_round(left, right, 0, geometry, schedule)
    target[:] = vector


def _apply_round(source: Samples, target: Samples, index: int, geometry: Geometry, schedule: Schedule) -> None:
    """target = (target + cnn(source)) xor logistic(source)."""
    target += convolve(source, target.size, index, geometry, schedule)
    target ^= round_stream(source, target, index, schedule)


def _undo_round(source: Samples, target: Samples, index: int, geometry: Geometry, schedule: Schedule) -> None:
    target ^= round_stream(source, target, index, schedule)
    target -= convolve(source, target.size, index, geometry, schedule)


def convolve(source: Samples, n_target: int, index: int, geometry: Geometry, schedule: Schedule) -> Samples:
    """The coupling network of a round: 3x3 convolution on a helix, concatenated ReLU, 1x1 convolution; all modulo 2^w.

    Returns
    -------
    ndarray
        `n_target` words of the dtype of `source`; zeros if `source` is empty.
    """
    total = np.zeros(n_target, source.dtype)
    if source.size == 0:
        return total
    # Weights of 8-bit frames are the low bytes of the schedule's words.
    kernels = schedule.kernels[index].astype(source.dtype)
    mixes = schedule.mixes[index].astype(source.dtype)
    negative = source.dtype.type(1 << (geometry.word_bits - 1))
    position = np.arange(n_target, dtype=np.int64)
    for kernel, (above, below) in zip(kernels, mixes, strict=True):
        hidden = np.full(n_target, kernel[const.TAPS], source.dtype)
        for tap in range(const.TAPS):
            row, column = tap // 3 - 1, tap % 3 - 1
            offset = row * geometry.row_length + column
            hidden += kernel[tap] * source[(position + offset) % source.size]
        # Values whose sign bit is set are negative; what ReLU drops is a channel of its own (CReLU, Shang et al. 2016).
        positive = np.where(hidden < negative, hidden, hidden.dtype.type(0))
        total += above * positive + below * (positive - hidden)
    return total


def pool(source: Samples, pool_keys: npt.NDArray[np.uint32]) -> bytes:
    """The whole half in 16 bytes for each 2048: NH with two Toeplitz passes (RFC 4418, section 5.2)."""
    data = source.astype(source.dtype.newbyteorder("<")).tobytes()
    data += bytes(-len(data) % const.POOL_BLOCK_BYTES)
    blocks = np.frombuffer(data, "<u4").reshape(-1, 2 * const.POOL_PAIRS)
    features = np.empty((len(blocks), const.POOL_PASSES), "<u8")
    for shift in range(const.POOL_PASSES):
        keys = pool_keys[:, shift : shift + const.POOL_PAIRS]
        first = (blocks[:, : const.POOL_PAIRS] + keys[0]).astype(np.uint64)
        second = (blocks[:, const.POOL_PAIRS :] + keys[1]).astype(np.uint64)
        features[:, shift] = (first * second).sum(axis=1, dtype=np.uint64)
    return features.tobytes()


def round_stream(source: Samples, target: Samples, index: int, schedule: Schedule) -> Samples:
    """The key stream for `target`, which depends on every word of `source`."""
    features = pool(source, schedule.pool_keys)
    seeds = round_seeds(schedule.round_keys[index], source.size, features)
    stream = logistic(seeds, target.nbytes)
    return np.frombuffer(stream, target.dtype.newbyteorder("<"))


def logistic(seeds: npt.NDArray[np.uint32], size_bytes: int) -> bytes:
    """128 lanes of the logistic map x -> 4x(1 - x) in 32-bit fixed point, each with a Weyl sequence added.

    Lanes 2k and 2k + 1 exchange their states after each step. A word of the key stream is one lane's word and the veil
    of the lane 32 places before it; the first step gives nothing but the veil of the second.

    Parameters
    ----------
    seeds
        uint32 (3, 128): start values, Weyl words, Weyl increments.
    size_bytes
        Length of the key stream.
    """
    partner = np.arange(const.LANES) ^ 1
    state, weyl, increment = seeds[0].astype(np.uint64), seeds[1], seeds[2] | np.uint32(1)
    words, veils = [], []
    for _ in range(-const.LANE_STEP_BYTES, size_bytes, const.LANE_STEP_BYTES):
        weyl = weyl + increment
        product = state * (np.uint64(0xFFFFFFFF) - state)
        words.append((product >> np.uint64(8)).astype(np.uint32) ^ weyl)
        veils.append((product >> np.uint64(24)).astype(np.uint32))
        state = ((product[partner] >> np.uint64(30)).astype(np.uint32) + weyl).astype(np.uint64)
    word, veil = np.concatenate(words)[const.LANES :], np.concatenate(veils)[const.LANES - const.VEIL_LANES :]
    stream: bytes = (word ^ veil[: word.size]).astype("<u4").tobytes()
    return stream[:size_bytes]


def move_order(geometry: Geometry, schedule: Schedule) -> npt.NDArray[np.int64]:
    """For each word after the repositioning, where it was before: whole runs in Fisher-Yates order, half by half."""
    run_length = geometry.run_length
    draws = iter(np.frombuffer(logistic(move_seeds(schedule.move_key), 4 * const.MAX_PARTS), "<u4").tolist())
    positions = np.arange(geometry.n_samples, dtype=np.int64)
    for half in (positions[: geometry.n_left], positions[geometry.n_left :]):
        n_parts = geometry.n_parts(half.size)
        order = np.arange(n_parts, dtype=np.int64)
        for last in range(n_parts - 1, 0, -1):
            chosen = next(draws) * (last + 1) >> 32
            order[[last, chosen]] = order[[chosen, last]]
        moved = half[: n_parts * run_length].reshape(n_parts, run_length)[order]
        half[: n_parts * run_length] = moved.reshape(-1)
    return positions
