"""The compiled inner loops of the numba backend. They release the GIL and read and write only what they are given.

They work on the frame where it lies: a half is a slice of a flat vector of words. Where the taps of the convolution
wrap around the ends of the source half, a block of it is gathered first, so that the loops need no modulo.

8-bit words are convolved as 16-bit ones with the weights in the upper byte: sums modulo 2^8 then are the upper byte
of sums modulo 2^16 and the sign bit is the same one, so that one loop with 16-bit lanes serves both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher.constant import FILTERS, MAX_PARTS, Samples
from iomt_crypt.cipher.jit import U16, U32, U64, Arrays, kernel
from iomt_crypt.cipher.keystream import (
    BLOCK_BYTES,
    copy,
    logistic_steps,
    pool,
    pool_at,
    split_keys,
    start_lanes,
    whole_blocks,
)


@kernel
def _convolve(up: Samples, mid: Samples, down: Samples, count: int, weights: U16, mix: U16, out: U16) -> None:
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


@kernel
def _gather(source: Samples, start: int, count: int, out: Samples) -> None:
    """Copy `count` words from index `start` on, which may be negative or behind the end, as if it went on for ever."""
    position = start % source.size
    done = 0
    while done < count:
        n_words = min(count - done, source.size - position)
        copy(source[position:], out[done:], n_words)
        done += n_words
        position = 0


@kernel
def _run_round(
    source: Samples,
    target: Samples,
    row_length: int,
    weights: U16,
    mix: U16,
    seeds: U32,
    decrypting: bool,
    pool_keys: Arrays,
    features: U64,
) -> None:
    """Apply or undo one round on `target`; for 8-bit halves the words of `weights` are in the upper byte.

    The new target is pooled into `features` on the way, while a block of it is in the first-level cache, unless
    `features` is empty.
    """
    word = target.dtype.type
    # A constant to the compiler, which keeps 16-bit lanes only for a shift that it knows.
    shift = np.uint16(8) if word(256) == word(0) else np.uint16(0)
    block_words = BLOCK_BYTES // target.itemsize
    lanes, veils = start_lanes(seeds)
    words, whole = np.empty(BLOCK_BYTES // 8, np.uint64), whole_blocks(target)
    stream, veil = words.view(target.dtype), veils[0].view(target.dtype)
    coupled = np.zeros(block_words, np.uint16)
    taps = np.empty((3, block_words + 2), source.dtype)
    for start in range(0, target.size, block_words):
        count = min(block_words, target.size - start)
        logistic_steps(lanes, words, veils)
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
            pool_at(target, start // block_words, whole, pool_keys, features)


@kernel
def run_order(n_left: int, n_right: int, seeds: U32) -> npt.NDArray[np.int64]:
    """Fisher-Yates over the runs of each half: order[k] is the run that comes to place k, both counted in the half."""
    lanes, veils = start_lanes(seeds)
    stream = np.empty(MAX_PARTS // 2, np.uint64)
    for start in range(0, stream.size, BLOCK_BYTES // 8):
        words = stream[start : start + BLOCK_BYTES // 8]
        logistic_steps(lanes, words, veils)
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


@kernel
def _move(source: Samples, target: Samples, n_left: int, run_length: int, seeds: U32, decrypting: bool) -> None:
    """Write the words of `source` to `target` in the new order of each half, or in the old one if `decrypting`."""
    parts = n_left // run_length
    orders = run_order(parts, (source.size - n_left) // run_length, seeds)
    halves = ((source[:n_left], target[:n_left], orders[:parts]), (source[n_left:], target[n_left:], orders[parts:]))
    for old, new, order in halves:
        for place in range(order.size):
            here, there = order[place] * run_length, place * run_length
            if decrypting:
                here, there = there, here
            copy(old[here:], new[there:], run_length)
        tail = order.size * run_length
        copy(old[tail:], new[tail:], old.size - tail)


@kernel
def pool_frames(frames: Samples, n_left: int, right: bool, pool_keys: U32, features: U64) -> None:
    """Pool the left or the right half of every frame: `features`, uint64 (n_frames, 2 * blocks)."""
    for frame in range(len(frames)):
        half = frames[frame, n_left:] if right else frames[frame, :n_left]
        pool(half, split_keys(pool_keys[frame]), features[frame])


@kernel
def run_rounds(
    frames: Samples,
    n_left: int,
    index: int,
    row_length: int,
    weights: U16,
    mixes: U16,
    seeds: U32,
    decrypting: bool,
    pool_keys: U32,
    features: U64,
) -> None:
    """Apply or undo round `index` on every frame, see `_run_round`; the arrays have the frames first."""
    for frame in range(len(frames)):
        left, right = frames[frame, :n_left], frames[frame, n_left:]
        # Even rounds change the right half and odd ones the left.
        source, target = (right, left) if index % 2 else (left, right)
        keys, weight, mix = split_keys(pool_keys[frame]), weights[frame, index], mixes[frame, index]
        _run_round(source, target, row_length, weight, mix, seeds[frame], decrypting, keys, features[frame])


@kernel
def move_frames(sources: Samples, targets: Samples, n_left: int, run_length: int, seeds: U32, decrypting: bool) -> None:
    """Reposition every frame of `sources` to `targets`."""
    for frame in range(len(sources)):
        _move(sources[frame], targets[frame], n_left, run_length, seeds[frame], decrypting)
