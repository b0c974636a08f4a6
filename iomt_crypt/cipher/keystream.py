"""What a round's key stream is made of, compiled: the pooled features of its source, and the lanes that they seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from iomt_crypt.cipher.constant import (
    LANE_STEP_BYTES,
    LANES,
    POOL_BLOCK_BYTES,
    POOL_KEY_PAIRS,
    POOL_PAIRS,
    POOL_PASSES,
    VEIL_LANES,
    Samples,
)
from iomt_crypt.cipher.jit import U32, U64, Arrays, kernel

# Bytes of the target that one pass of all loops takes: one block of the pooling. With its scratch it stays in the
# first-level cache.
BLOCK_STEPS = POOL_BLOCK_BYTES // LANE_STEP_BYTES
BLOCK_BYTES = BLOCK_STEPS * LANE_STEP_BYTES
_PAIRS = LANES // 2
_VEIL_PAIRS = VEIL_LANES // 2
_POOL_WORDS = POOL_BLOCK_BYTES // 8
_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_HALF = np.uint64(32)


@kernel
def copy(source: Samples, target: Samples, count: int) -> None:
    """Copy words between arrays that do not overlap; a slice assignment would look for overlap first."""
    for i in range(count):
        target[i] = source[i]


@kernel
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


@kernel
def logistic_steps(lanes: Arrays, words: U64, veils: Arrays) -> None:
    """Take four steps of all lanes; words and veils as `start_lanes` describes them.

    Slices are made outside, as each costs two atomic operations, and a signed index with an offset a check.
    """
    even, odd, even_weyl, odd_weyl, even_step, odd_step = lanes
    stream_veils, fresh, last = veils
    for i in range(_VEIL_PAIRS):
        stream_veils[i] = last[i]
    for pair in range(_PAIRS):
        x, y, w, v = even[pair], odd[pair], even_weyl[pair], odd_weyl[pair]
        for t in range(BLOCK_STEPS):
            w += even_step[pair]
            v += odd_step[pair]
            words[t * _PAIRS + pair], fresh[t * _PAIRS + pair], x, y = _step(x, y, w, v)
        even[pair], odd[pair], even_weyl[pair], odd_weyl[pair] = x, y, w, v


@kernel
def start_lanes(seeds: U32) -> tuple[Arrays, Arrays]:
    """Spread the seeds, uint32 (3, 128), over even and odd lanes, and take the first step.

    Returns states, Weyl words and increments of even and odd lanes, six times uint64 (64); and of the veils, uint64
    (272), the whole, what four steps fill, and the end, which becomes the beginning of the next. The key stream is
    words and veils, exclusive or, from their beginnings.
    """
    lanes = np.empty((6, _PAIRS), np.uint64)
    veils = np.zeros(BLOCK_STEPS * _PAIRS + _VEIL_PAIRS, np.uint64)
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
    return rows, (veils, veils[_VEIL_PAIRS:], veils[BLOCK_STEPS * _PAIRS :])


@kernel
def split_keys(pool_keys: U32) -> Arrays:
    """Spread the pool keys, uint32 (2, 257), over 64 bits each: even and odd places of either, four times (129)."""
    split = np.zeros((4, POOL_PAIRS // 2 + 1), np.uint64)
    for i in range(POOL_KEY_PAIRS):
        split[i % 2, i // 2] = pool_keys[0, i]
        split[2 + i % 2, i // 2] = pool_keys[1, i]
    return split[0], split[1], split[2], split[3]


@kernel
def pool_block(words: U64, start: Any, keys: Arrays, features: U64, block: int) -> None:
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


@kernel
def whole_blocks(half: Samples) -> U64:
    """The blocks that can be pooled where they lie; none if the half begins at an address that is no multiple of 8."""
    block_words = POOL_BLOCK_BYTES // half.itemsize
    count = half.size // block_words * block_words if half.ctypes.data % 8 == 0 else 0
    return half[:count].view(np.uint64)


@kernel
def pool_at(half: Samples, block: int, whole: U64, keys: Arrays, features: U64) -> None:
    """Pool one block, from a copy padded with zeros if it is not among the `whole` ones."""
    if (block + 1) * _POOL_WORDS <= whole.size:
        pool_block(whole, np.uint64(block * _POOL_WORDS), keys, features, block)
        return
    padded = np.zeros(_POOL_WORDS, np.uint64)
    block_words = POOL_BLOCK_BYTES // half.itemsize
    start = block * block_words
    copy(half[start:], padded.view(half.dtype), min(block_words, half.size - start))
    pool_block(padded, np.uint64(0), keys, features, block)


@kernel
def pool(half: Samples, keys: Arrays, features: U64) -> None:
    """Pool a half into uint64 `features`, two values for each block of 2048 bytes."""
    whole = whole_blocks(half)
    for block in range(features.size // POOL_PASSES):
        pool_at(half, block, whole, keys, features)
