"""The compiled inner loops of the numba backend. They release the GIL and read and write only what they are given.

Layout of a *half*: one 64-byte aligned array of words; word `lead` is the half's first. Before and behind its words
there is room for a halo of a row and a word, so that no tap of the convolution needs a modulo, and for zeros up to
the next multiple of 1024 bytes, which the pooling reads. Halo and zeros overlap: each is written just before use.

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
    CHANNELS,
    LANE_STEP_BYTES,
    LANES,
    MAX_PARTS,
    POOL_BLOCK_BYTES,
    POOL_PAIRS,
    POOL_PASSES,
    Samples,
)

# Bytes of the target that one pass of all loops takes; with its scratch it stays in the first-level cache.
_BLOCK_STEPS = 4
_BLOCK_BYTES = _BLOCK_STEPS * LANE_STEP_BYTES

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
    """out[i] = sum over channels of mix * relu(bias + 3x3 taps), for `count` words, modulo 2^16."""
    word = np.uint16
    for i in range(count):
        out[i] = 0
    for channel in range(CHANNELS):
        # Scalars, because weights read inside the loop could alias `out`, which stops vectorisation.
        w0, w1, w2 = kernel[channel, 0], kernel[channel, 1], kernel[channel, 2]
        w3, w4, w5 = kernel[channel, 3], kernel[channel, 4], kernel[channel, 5]
        w6, w7, w8 = kernel[channel, 6], kernel[channel, 7], kernel[channel, 8]
        bias, scale = kernel[channel, 9], mix[channel]
        for i in range(count):
            hidden = word(
                bias
                + (w0 * up[i] + w1 * up[i + 1] + w2 * up[i + 2])
                + (w3 * mid[i] + w4 * mid[i + 1] + w5 * mid[i + 2])
                + (w6 * down[i] + w7 * down[i + 1] + w8 * down[i + 2])
            )
            out[i] = word(out[i] + scale * word(max(np.int16(hidden), np.int16(0))))


@_kernel
def _logistic_steps(state: _U64, weyl: _U64, increment: _U64, stream: _U64) -> None:
    """Take four steps of all lanes and write them to `stream`, uint64 (256).

    Each uint64 is two lanes, the even one below: products of 32-bit words then need no repacking of vectors.
    """
    low, high = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFF00000000)
    for pair in range(LANES // 2):
        x, w, step = state[pair], weyl[pair], increment[pair]
        for t in range(_BLOCK_STEPS):
            w = ((w + step) & low) | ((w & high) + (step & high))
            even = (x & low) * (~x & low)
            odd = (x >> np.uint64(32)) * (~x >> np.uint64(32))
            stream[t * (LANES // 2) + pair] = (((even >> np.uint64(8)) & low) | ((odd << np.uint64(24)) & high)) ^ w
            x = (((even >> np.uint64(30)) + w) & low) | (((odd << np.uint64(2)) & high) + (w & high))
        state[pair], weyl[pair] = x, w


@_kernel
def _start_lanes(seeds: _U32) -> tuple[_U64, _U64, _U64]:
    """Copy the seeds into pairs of lanes: states, Weyl words, odd increments."""
    increment = seeds[2] | np.uint32(1)
    return seeds[0].copy().view(np.uint64), seeds[1].copy().view(np.uint64), increment.view(np.uint64)


@_kernel
def _pool_block(words: _U32, start: int, first_keys: _U32, second_keys: _U32, features: _U64, block: int) -> None:
    """Write the two 64-bit NH values of the 256 words at `start`."""
    first = words[start : start + POOL_PAIRS]
    second = words[start + POOL_PAIRS : start + 2 * POOL_PAIRS]
    low = np.uint64(0)
    high = np.uint64(0)
    for i in range(POOL_PAIRS):
        low += np.uint64(np.uint32(first[i] + first_keys[i])) * np.uint64(np.uint32(second[i] + second_keys[i]))
        high += np.uint64(np.uint32(first[i] + first_keys[i + 1])) * np.uint64(
            np.uint32(second[i] + second_keys[i + 1])
        )
    features[POOL_PASSES * block] = low
    features[POOL_PASSES * block + 1] = high


@_kernel
def pool(half: Samples, lead: int, n_words: int, pool_keys: _U32, features: _U64) -> None:
    """Pool a half into uint64 `features`, two values for each block of 1024 bytes; the last is padded with zeros."""
    n_blocks = (n_words * half.itemsize + POOL_BLOCK_BYTES - 1) // POOL_BLOCK_BYTES
    for i in range(lead + n_words, lead + n_blocks * POOL_BLOCK_BYTES // half.itemsize):
        half[i] = 0
    words = half[lead:].view(np.uint32)
    for block in range(n_blocks):
        _pool_block(words, 2 * POOL_PAIRS * block, pool_keys[0], pool_keys[1], features, block)


@_kernel
def _fill_halo(half: Samples, lead: int, n_words: int, reach: int) -> None:
    """Continue the words periodically: `reach` of them in front, and one more than that behind.

    The loops run outwards and read what they wrote, which is the modulo for halves shorter than the halo.
    """
    for i in range(lead + n_words, lead + n_words + reach + 1):
        half[i] = half[i - n_words]
    for i in range(lead - 1, lead - 1 - reach, -1):
        half[i] = half[i + n_words]


@_kernel
def run_round(
    source: Samples,
    n_source: int,
    target: Samples,
    n_target: int,
    lead: int,
    row_length: int,
    kernel: _U16,
    mix: _U16,
    seeds: _U32,
    decrypting: bool,
) -> None:
    """Apply or undo one round on `target`; for 8-bit halves the words of `kernel` are in the upper byte."""
    word = target.dtype.type
    shift = np.uint16(16 - 8 * target.itemsize)
    block_words = _BLOCK_BYTES // target.itemsize
    state, weyl, increment = _start_lanes(seeds)
    stream = np.empty(_BLOCK_BYTES // 8, np.uint64)
    stream_words = stream.view(target.dtype)
    coupled = np.zeros(block_words, np.uint16)
    _fill_halo(source, lead, n_source, row_length + 1)
    for start in range(0, n_target, block_words):
        count = min(block_words, n_target - start)
        _logistic_steps(state, weyl, increment, stream)
        if n_source > 0:  # the network of nothing is zero
            first = lead + start - 1
            up, mid, down = source[first - row_length :], source[first:], source[first + row_length :]
            _convolve(up, mid, down, count, kernel, mix, coupled)
        changed = target[lead + start : lead + start + count]
        if decrypting:
            for i in range(count):
                changed[i] = word((changed[i] ^ stream_words[i]) - word(coupled[i] >> shift))
        else:
            for i in range(count):
                changed[i] = word(changed[i] + word(coupled[i] >> shift)) ^ stream_words[i]


@_kernel
def _run_order(n_parts: int, seeds: _U32) -> npt.NDArray[np.int64]:
    """Fisher-Yates over the runs: order[k] is the run that comes to place k."""
    state, weyl, increment = _start_lanes(seeds)
    stream = np.empty(MAX_PARTS // 2, np.uint64)
    for start in range(0, stream.size, _BLOCK_BYTES // 8):
        _logistic_steps(state, weyl, increment, stream[start:])
    draws = stream.view(np.uint32)
    order = np.arange(n_parts)
    for draw in range(n_parts - 1):
        last = n_parts - 1 - draw
        chosen = np.int64((np.uint64(draws[draw]) * np.uint64(last + 1)) >> np.uint64(32))
        order[last], order[chosen] = order[chosen], order[last]
    return order


@_kernel
def _copy_run(
    left: Samples,
    right: Samples,
    lead: int,
    n_left: int,
    source_start: int,
    output: Samples,
    output_start: int,
    count: int,
) -> None:
    """Copy words of left + right, which a run may straddle."""
    n_first = min(max(n_left - source_start, 0), count)
    first = left[lead + source_start :]
    rest = right[lead + source_start + n_first - n_left :]
    to_first, to_rest = output[output_start:], output[output_start + n_first :]
    # Loops: a slice assignment looks for overlap first, which costs more than a short run.
    for i in range(n_first):
        to_first[i] = first[i]
    for i in range(count - n_first):
        to_rest[i] = rest[i]


@_kernel
def move(
    left: Samples,
    right: Samples,
    lead: int,
    n_left: int,
    run_length: int,
    n_parts: int,
    seeds: _U32,
    decrypting: bool,
    output: Samples,
) -> None:
    """Write the words of both halves to `output` in the new order, or in the old one if `decrypting`."""
    order = _run_order(n_parts, seeds)
    for place in range(n_parts):
        if decrypting:
            here, there = place, order[place]
        else:
            here, there = order[place], place
        _copy_run(left, right, lead, n_left, here * run_length, output, there * run_length, run_length)
    tail = n_parts * run_length
    _copy_run(left, right, lead, n_left, tail, output, tail, output.size - tail)
