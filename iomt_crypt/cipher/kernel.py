"""The compiled inner loops of the numba backend. They release the GIL and read and write only what they are given.

They work on the frame where it lies: a half is a slice of a flat vector of words. Where the taps of the convolution
wrap around the ends of the source half, a block of it is gathered first, so that the loops need no modulo.

8-bit words are convolved as 16-bit ones with the weights in the upper byte: sums modulo 2^8 then are the upper byte
of sums modulo 2^16 and the sign bit is the same one, so that one loop with 16-bit lanes serves both.

numba freezes the constants into the machine code that it caches, and renews the cache only when this file changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher.constant import (
    FILTERS,
    LANE_STEP_BYTES,
    LANES,
    MAX_PARTS,
    POOL_BLOCK_BYTES,
    POOL_PAIRS,
    POOL_PASSES,
    VEIL_LANES,
    Samples,
)

# Bytes of the target that one pass of all loops takes; with its scratch it stays in the first-level cache.
_BLOCK_STEPS = 4
_BLOCK_BYTES = _BLOCK_STEPS * LANE_STEP_BYTES
_PAIRS = LANES // 2
_VEIL_PAIRS = VEIL_LANES // 2

_U16 = npt.NDArray[np.uint16]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _kernel(function: _Function) -> _Function:
    """Compile on first use without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False, cache=True))
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False))


@_kernel
def _convolve(up: Samples, mid: Samples, down: Samples, count: int, kernel: _U16, mix: _U16, out: _U16) -> None:
    """out[i] = sum over filters of mix * relu(h) + mix * relu(-h), h = bias + 3x3 taps, for `count` words mod 2^16."""
    word = np.uint16
    for i in range(count):
        out[i] = 0
    for f in range(FILTERS):
        # Scalars, because weights read inside the loop could alias `out`, which stops vectorisation.
        w0, w1, w2 = kernel[f, 0], kernel[f, 1], kernel[f, 2]
        w3, w4, w5 = kernel[f, 3], kernel[f, 4], kernel[f, 5]
        w6, w7, w8 = kernel[f, 6], kernel[f, 7], kernel[f, 8]
        bias, above, below = kernel[f, 9], mix[f, 0], mix[f, 1]
        for i in range(count):
            h = word(
                bias
                + (w0 * up[i] + w1 * up[i + 1] + w2 * up[i + 2])
                + (w3 * mid[i] + w4 * mid[i + 1] + w5 * mid[i + 2])
                + (w6 * down[i] + w7 * down[i + 1] + w8 * down[i + 2])
            )
            positive = word(max(np.int16(h), np.int16(0)))
            out[i] = word(out[i] + above * positive + below * word(positive - h))


@_kernel
def _copy(source: Samples, target: Samples, count: int) -> None:
    """Copy words between arrays that do not overlap.

    A slice assignment would look for overlap first, which costs more than a short run. In a loop over an array with an
    offset in its index numba checks each index for being negative; hence slices as arguments.
    """
    for i in range(count):
        target[i] = source[i]


@_kernel
def _gather(source: Samples, start: int, count: int, out: Samples) -> None:
    """Copy `count` words from index `start` on, which may be negative or behind the end, as if it went on for ever."""
    position = start % source.size
    done = 0
    while done < count:
        n_words = min(count - done, source.size - position)
        _copy(source[position:], out[done:], n_words)
        done += n_words
        position = 0


@_kernel
def _step(x: Any, w: Any, increment: Any) -> tuple[Any, Any, Any, Any]:
    """Return the word, the veil, the next state and the next Weyl word of two coupled lanes, the even one below.

    Products of 32-bit words need no repacking of vectors if every uint64 is two lanes.
    """
    low, high = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFF00000000)
    w = ((w + increment) & low) | ((w & high) + (increment & high))
    even = (x & low) * (~x & low)
    odd = (x >> np.uint64(32)) * (~x >> np.uint64(32))
    word = (((even >> np.uint64(8)) & low) | ((odd << np.uint64(24)) & high)) ^ w
    veil = ((even >> np.uint64(24)) & low) | ((odd << np.uint64(8)) & high)
    x = (((odd >> np.uint64(30)) + w) & low) | (((even << np.uint64(2)) & high) + (w & high))
    return word, veil, x, w


@_kernel
def _logistic_steps(lanes: _U64, words: _U64, veils: _U64) -> None:
    """Take four steps of all lanes: their words to uint64 (256), their veils to as many places behind what is kept.

    The key stream is `words` and `veils`, exclusive or, from their beginnings: `veils` begins with the last veils of
    the step before.
    """
    state, weyl, increment = lanes[0], lanes[1], lanes[2]
    veils[:_VEIL_PAIRS] = veils[_BLOCK_STEPS * _PAIRS :]
    fresh = veils[_VEIL_PAIRS:]
    for pair in range(_PAIRS):
        x, w, c = state[pair], weyl[pair], increment[pair]
        for t in range(_BLOCK_STEPS):
            words[t * _PAIRS + pair], fresh[t * _PAIRS + pair], x, w = _step(x, w, c)
        state[pair], weyl[pair] = x, w


@_kernel
def _start_lanes(seeds: _U32) -> tuple[_U64, _U64]:
    """Copy the seeds into pairs of lanes, uint64 (3, 64): states, Weyl words, odd increments; take the first step.

    Returns
    -------
    lanes, veils
        `veils`, uint64 (272), ends with those of the first step.
    """
    lanes = seeds.copy().view(np.uint64)
    veils = np.zeros(_BLOCK_STEPS * _PAIRS + _VEIL_PAIRS, np.uint64)
    for pair in range(_PAIRS):
        lanes[2, pair] |= np.uint64(0x0000000100000001)
        _, veil, lanes[0, pair], lanes[1, pair] = _step(lanes[0, pair], lanes[1, pair], lanes[2, pair])
        if pair >= _PAIRS - _VEIL_PAIRS:
            veils[_BLOCK_STEPS * _PAIRS - _PAIRS + _VEIL_PAIRS + pair] = veil
    return lanes, veils


@_kernel
def _pool_block(words: _U32, first_keys: _U32, second_keys: _U32, features: _U64, block: int) -> None:
    """Write the two 64-bit NH values of a block of words."""
    first = words[:POOL_PAIRS]
    second = words[POOL_PAIRS:]
    one = np.uint64(0)
    other = np.uint64(0)
    for i in range(POOL_PAIRS):
        one += np.uint64(np.uint32(first[i] + first_keys[i])) * np.uint64(np.uint32(second[i] + second_keys[i]))
        other += np.uint64(np.uint32(first[i] + first_keys[i + 1])) * np.uint64(
            np.uint32(second[i] + second_keys[i + 1])
        )
    features[POOL_PASSES * block] = one
    features[POOL_PASSES * block + 1] = other


@_kernel
def pool(source: Samples, pool_keys: _U32, features: _U64) -> None:
    """Pool a half into uint64 `features`, two values for each block of 2048 bytes; the last is padded with zeros."""
    block_words = POOL_BLOCK_BYTES // source.itemsize
    # A copy, because the half may start at an address that is no multiple of 4.
    words = np.zeros(POOL_BLOCK_BYTES // 4, np.uint32)
    copy = words.view(source.dtype)
    for block in range(features.size // POOL_PASSES):
        start = block * block_words
        count = min(block_words, source.size - start)
        _copy(source[start:], copy, count)
        for i in range(count, block_words):
            copy[i] = 0
        _pool_block(words, pool_keys[0], pool_keys[1], features, block)


@_kernel
def run_round(
    source: Samples, target: Samples, row_length: int, kernel: _U16, mix: _U16, seeds: _U32, decrypting: bool
) -> None:
    """Apply or undo one round on `target`; for 8-bit halves the words of `kernel` are in the upper byte."""
    word = target.dtype.type
    # A constant to the compiler, which keeps 16-bit lanes only for a shift that it knows.
    shift = np.uint16(8) if word(256) == word(0) else np.uint16(0)
    block_words = _BLOCK_BYTES // target.itemsize
    lanes, veils = _start_lanes(seeds)
    words = np.empty(_BLOCK_BYTES // 8, np.uint64)
    stream, veil = words.view(target.dtype), veils.view(target.dtype)
    coupled = np.zeros(block_words, np.uint16)
    taps = np.empty((3, block_words + 2), source.dtype)
    for start in range(0, target.size, block_words):
        count = min(block_words, target.size - start)
        _logistic_steps(lanes, words, veils)
        first = start - 1
        if first >= row_length and first + row_length + count + 2 <= source.size:
            up, mid, down = source[first - row_length :], source[first:], source[first + row_length :]
            _convolve(up, mid, down, count, kernel, mix, coupled)
        elif source.size > 0:  # the network of nothing is zero
            for row in range(3):
                _gather(source, first + (row - 1) * row_length, count + 2, taps[row])
            _convolve(taps[0], taps[1], taps[2], count, kernel, mix, coupled)
        changed = target[start : start + count]
        if decrypting:
            for i in range(count):
                changed[i] = word((changed[i] ^ stream[i] ^ veil[i]) - word(coupled[i] >> shift))
        else:
            for i in range(count):
                changed[i] = word(changed[i] + word(coupled[i] >> shift)) ^ stream[i] ^ veil[i]


@_kernel
def _run_order(n_parts: int, seeds: _U32) -> npt.NDArray[np.int64]:
    """Fisher-Yates over the runs: order[k] is the run that comes to place k."""
    lanes, veils = _start_lanes(seeds)
    stream = np.empty(MAX_PARTS // 2, np.uint64)
    for start in range(0, stream.size, _BLOCK_BYTES // 8):
        words = stream[start : start + _BLOCK_BYTES // 8]
        _logistic_steps(lanes, words, veils)
        words ^= veils[: words.size]
    draws = stream.view(np.uint32)
    order = np.arange(n_parts)
    for draw in range(n_parts - 1):
        last = n_parts - 1 - draw
        chosen = np.int64((np.uint64(draws[draw]) * np.uint64(last + 1)) >> np.uint64(32))
        order[last], order[chosen] = order[chosen], order[last]
    return order


@_kernel
def move(source: Samples, target: Samples, run_length: int, n_parts: int, seeds: _U32, decrypting: bool) -> None:
    """Write the words of `source` to `target` in the new order, or in the old one if `decrypting`."""
    order = _run_order(n_parts, seeds)
    for place in range(n_parts):
        if decrypting:
            here, there = place * run_length, order[place] * run_length
        else:
            here, there = order[place] * run_length, place * run_length
        _copy(source[here:], target[there:], run_length)
    tail = n_parts * run_length
    _copy(source[tail:], target[tail:], source.size - tail)
