"""The compiled inner loops of the numba backend. They release the GIL and read and write only what they are given.

They work on the frame where it lies: a half is a slice of a flat vector of words. Where the taps of the convolution
wrap around the ends of the source half, a block of it is gathered first, so that the loops need no modulo.

8-bit words are convolved as 16-bit ones with the weights in the upper byte: sums modulo 2^8 then are the upper byte
of sums modulo 2^16 and the sign bit is the same one, so that one loop with 16-bit lanes serves both.

numba freezes constants into the machine code that it caches, and renews the cache only when this file changes.
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
    POOL_KEY_PAIRS,
    POOL_PAIRS,
    POOL_PASSES,
    VEIL_LANES,
    Samples,
)

# Bytes of the target that one pass of all loops takes: one block of the pooling. With its scratch it stays in the
# first-level cache.
_BLOCK_STEPS = POOL_BLOCK_BYTES // LANE_STEP_BYTES
_BLOCK_BYTES = _BLOCK_STEPS * LANE_STEP_BYTES
_PAIRS = LANES // 2
_VEIL_PAIRS = VEIL_LANES // 2
_POOL_WORDS = POOL_BLOCK_BYTES // 8
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_HALF = np.uint64(32)

_U16 = npt.NDArray[np.uint16]
_U32 = npt.NDArray[np.uint32]
_U64 = npt.NDArray[np.uint64]
_Arrays = tuple[_U64, ...]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _kernel(function: _Function) -> _Function:
    """Compile on first use without the GIL, and keep the machine code on disk where that is possible."""
    try:
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False, cache=True))
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return cast(_Function, numba.njit(function, nogil=True, boundscheck=False))


@_kernel
def _convolve(up: Samples, mid: Samples, down: Samples, count: int, weights: _U16, mix: _U16, out: _U16) -> None:
    """out[i] = sum over filters of mix * relu(h) + mix * relu(-h), h = bias + 3x3 taps, for `count` words mod 2^16."""
    word = np.uint16
    for i in range(count):
        out[i] = 0
    for f in range(FILTERS):
        # Scalars, because weights read inside the loop could alias `out`, which stops vectorisation.
        w0, w1, w2 = weights[f, 0], weights[f, 1], weights[f, 2]
        w3, w4, w5 = weights[f, 3], weights[f, 4], weights[f, 5]
        w6, w7, w8 = weights[f, 6], weights[f, 7], weights[f, 8]
        bias, above, below = weights[f, 9], mix[f, 0], mix[f, 1]
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
    """Copy words between arrays that do not overlap; a slice assignment would look for overlap first."""
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
def _step(x: Any, y: Any, w: Any, v: Any) -> tuple[Any, Any, Any, Any]:
    """Return the word, the veil and the next states of two coupled lanes x (even) and y, w and v their new Weyl words.

    Each lane has 64 bits to itself, of which the upper 32 hold what nobody reads: sums then need no mask and products
    no repacking of vectors. Word and veil are of both lanes, the even one below.
    """
    even = (x & _LOW) * (~x & _LOW)
    odd = (y & _LOW) * (~y & _LOW)
    word = (((even >> np.uint64(8)) ^ w) & _LOW) | (((odd >> np.uint64(8)) ^ v) << _HALF)
    veil = ((even >> np.uint64(24)) & _LOW) | ((odd << np.uint64(8)) & _HIGH)
    return word, veil, (odd >> np.uint64(30)) + w, (even >> np.uint64(30)) + v


@_kernel
def _logistic_steps(lanes: _Arrays, words: _U64, veils: _Arrays) -> None:
    """Take four steps of all lanes; words and veils as `_start_lanes` describes them.

    Slices are made outside, as each costs two atomic operations, and a signed index with an offset a check.
    """
    even, odd, even_weyl, odd_weyl, even_step, odd_step = lanes
    stream_veils, fresh, last = veils
    for i in range(_VEIL_PAIRS):
        stream_veils[i] = last[i]
    for pair in range(_PAIRS):
        x, y, w, v = even[pair], odd[pair], even_weyl[pair], odd_weyl[pair]
        for t in range(_BLOCK_STEPS):
            w += even_step[pair]
            v += odd_step[pair]
            words[t * _PAIRS + pair], fresh[t * _PAIRS + pair], x, y = _step(x, y, w, v)
        even[pair], odd[pair], even_weyl[pair], odd_weyl[pair] = x, y, w, v


@_kernel
def _start_lanes(seeds: _U32) -> tuple[_Arrays, _Arrays]:
    """Spread the seeds, uint32 (3, 128), over even and odd lanes, and take the first step.

    Returns states, Weyl words and increments of even and odd lanes, six times uint64 (64); and of the veils, uint64
    (272), the whole, what four steps fill, and the end, which becomes the beginning of the next. The key stream is
    words and veils, exclusive or, from their beginnings.
    """
    lanes = np.empty((6, _PAIRS), np.uint64)
    veils = np.zeros(_BLOCK_STEPS * _PAIRS + _VEIL_PAIRS, np.uint64)
    one = np.uint64(1)
    for pair in range(_PAIRS):
        even, odd = 2 * pair, 2 * pair + 1
        w_step, v_step = seeds[2, even] | one, seeds[2, odd] | one
        w, v = seeds[1, even] + w_step, seeds[1, odd] + v_step
        _, veil, x, y = _step(np.uint64(seeds[0, even]), np.uint64(seeds[0, odd]), w, v)
        lanes[0, pair], lanes[1, pair], lanes[2, pair], lanes[3, pair] = x, y, w, v
        lanes[4, pair], lanes[5, pair] = w_step, v_step
        veils[veils.size - _PAIRS + pair] = veil
    rows = (lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5])
    return rows, (veils, veils[_VEIL_PAIRS:], veils[_BLOCK_STEPS * _PAIRS :])


@_kernel
def split_keys(pool_keys: _U32) -> _Arrays:
    """Spread the pool keys, uint32 (2, 257), over 64 bits each: even and odd places of either, four times (129)."""
    split = np.zeros((4, POOL_PAIRS // 2 + 1), np.uint64)
    for i in range(POOL_KEY_PAIRS):
        split[i % 2, i // 2] = pool_keys[0, i]
        split[2 + i % 2, i // 2] = pool_keys[1, i]
    return split[0], split[1], split[2], split[3]


@_kernel
def _pool_block(words: _U64, start: Any, keys: _Arrays, features: _U64, block: int) -> None:
    """Write the two 64-bit NH values of a block: a uint64 is two words, and pairs of equal place need no repacking."""
    even_a, odd_a, even_b, odd_b = keys
    one = np.uint64(0)
    other = np.uint64(0)
    second = start + np.uint64(_POOL_WORDS // 2)
    for i in range(_POOL_WORDS // 2):
        a, b = words[start + np.uint64(i)], words[second + np.uint64(i)]
        upper_a, upper_b = a >> _HALF, b >> _HALF
        one += ((a + even_a[i]) & _LOW) * ((b + even_b[i]) & _LOW)
        one += ((upper_a + odd_a[i]) & _LOW) * ((upper_b + odd_b[i]) & _LOW)
        other += ((a + odd_a[i]) & _LOW) * ((b + odd_b[i]) & _LOW)
        other += ((upper_a + even_a[i + 1]) & _LOW) * ((upper_b + even_b[i + 1]) & _LOW)
    features[POOL_PASSES * block] = one
    features[POOL_PASSES * block + 1] = other


@_kernel
def _whole_blocks(half: Samples) -> _U64:
    """The blocks that can be pooled where they lie; none if the half begins at an address that is no multiple of 8."""
    block_words = POOL_BLOCK_BYTES // half.itemsize
    count = half.size // block_words * block_words if half.ctypes.data % 8 == 0 else 0
    return half[:count].view(np.uint64)


@_kernel
def _pool_at(half: Samples, block: int, whole: _U64, keys: _Arrays, features: _U64) -> None:
    """Pool one block, from a copy padded with zeros if it is not among the `whole` ones."""
    if (block + 1) * _POOL_WORDS <= whole.size:
        _pool_block(whole, np.uint64(block * _POOL_WORDS), keys, features, block)
        return
    padded = np.zeros(_POOL_WORDS, np.uint64)
    block_words = POOL_BLOCK_BYTES // half.itemsize
    start = block * block_words
    _copy(half[start:], padded.view(half.dtype), min(block_words, half.size - start))
    _pool_block(padded, np.uint64(0), keys, features, block)


@_kernel
def pool(half: Samples, keys: _Arrays, features: _U64) -> None:
    """Pool a half into uint64 `features`, two values for each block of 2048 bytes."""
    whole = _whole_blocks(half)
    for block in range(features.size // POOL_PASSES):
        _pool_at(half, block, whole, keys, features)


@_kernel
def run_round(
    source: Samples,
    target: Samples,
    row_length: int,
    weights: _U16,
    mix: _U16,
    seeds: _U32,
    decrypting: bool,
    pool_keys: _Arrays,
    features: _U64,
) -> None:
    """Apply or undo one round on `target`; for 8-bit halves the words of `weights` are in the upper byte.

    The new target is pooled into `features` on the way, while a block of it is in the first-level cache, unless
    `features` is empty.
    """
    word = target.dtype.type
    # A constant to the compiler, which keeps 16-bit lanes only for a shift that it knows.
    shift = np.uint16(8) if word(256) == word(0) else np.uint16(0)
    block_words = _BLOCK_BYTES // target.itemsize
    lanes, veils = _start_lanes(seeds)
    words, whole = np.empty(_BLOCK_BYTES // 8, np.uint64), _whole_blocks(target)
    stream, veil = words.view(target.dtype), veils[0].view(target.dtype)
    coupled = np.zeros(block_words, np.uint16)
    taps = np.empty((3, block_words + 2), source.dtype)
    for start in range(0, target.size, block_words):
        count = min(block_words, target.size - start)
        _logistic_steps(lanes, words, veils)
        first = start - 1
        if first >= row_length and first + row_length + count + 2 <= source.size:
            up, mid, down = source[first - row_length :], source[first:], source[first + row_length :]
            _convolve(up, mid, down, count, weights, mix, coupled)
        elif source.size > 0:  # the network of nothing is zero
            for row in range(3):
                _gather(source, first + (row - 1) * row_length, count + 2, taps[row])
            _convolve(taps[0], taps[1], taps[2], count, weights, mix, coupled)
        changed = target[start : start + count]
        if decrypting:
            for i in range(count):
                changed[i] = word((changed[i] ^ stream[i] ^ veil[i]) - word(coupled[i] >> shift))
        else:
            for i in range(count):
                changed[i] = word(changed[i] + word(coupled[i] >> shift)) ^ stream[i] ^ veil[i]
        if features.size > 0:
            _pool_at(target, start // block_words, whole, pool_keys, features)


@_kernel
def run_order(n_left: int, n_right: int, seeds: _U32) -> npt.NDArray[np.int64]:
    """Fisher-Yates over the runs of each half: order[k] is the run that comes to place k, both counted in the half."""
    lanes, veils = _start_lanes(seeds)
    stream = np.empty(MAX_PARTS // 2, np.uint64)
    for start in range(0, stream.size, _BLOCK_BYTES // 8):
        words = stream[start : start + _BLOCK_BYTES // 8]
        _logistic_steps(lanes, words, veils)
        words ^= veils[0][: words.size]
    draws = stream.view(np.uint32)
    orders = np.empty(n_left + n_right, np.int64)
    draw = 0
    for order in (orders[:n_left], orders[n_left:]):
        for place in range(order.size):
            order[place] = place
        for last in range(order.size - 1, 0, -1):
            chosen = np.int64((np.uint64(draws[draw]) * np.uint64(last + 1)) >> np.uint64(32))
            order[last], order[chosen] = order[chosen], order[last]
            draw += 1
    return orders


@_kernel
def move(source: Samples, target: Samples, n_left: int, run_length: int, seeds: _U32, decrypting: bool) -> None:
    """Write the words of `source` to `target` in the new order of each half, or in the old one if `decrypting`."""
    parts = n_left // run_length
    orders = run_order(parts, (source.size - n_left) // run_length, seeds)
    halves = ((source[:n_left], target[:n_left], orders[:parts]), (source[n_left:], target[n_left:], orders[parts:]))
    for old, new, order in halves:
        for place in range(order.size):
            here, there = order[place] * run_length, place * run_length
            if decrypting:
                here, there = there, here
            _copy(old[here:], new[there:], run_length)
        tail = order.size * run_length
        _copy(old[tail:], new[tail:], old.size - tail)
