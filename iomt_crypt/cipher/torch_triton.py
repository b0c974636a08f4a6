"""The stages of torch_stage.py as Triton kernels for CUDA: one launch for each instead of many.

PyTorch's builds for CUDA bring Triton along. One program of `_steps` runs all lanes of a frame through time, so that
their states never leave the registers; `_combine` reads every word of a source once for both filters. Arithmetic is on
int32, uint32 and uint64, which wrap; words of 8 and 16 bits are what remains of them. Tests run the kernels in Triton's
interpreter, and translate them to machine code for the H200; nobody has run them on a device yet.
"""

# Triton translates annotations too, and knows no others than its own.
# mypy: allow-untyped-defs, allow-incomplete-defs
# ruff: noqa: ANN001

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]
from torch import Tensor

from iomt_crypt.cipher import constant as const

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Words of a target that one program changes.
_BLOCK = 1024


def _kernel(function: _Function) -> Any:
    """Compile for a device on first use; with TRITON_INTERPRET=1, run by numpy."""
    return cast(Any, triton.jit(function))


@_kernel
def _pool(
    source,
    stride,
    size,
    keys,
    features,
    n_blocks,
    word_bits: tl.constexpr,
    pairs: tl.constexpr,
    passes: tl.constexpr,
) -> None:
    """One program for each block: the sums of `reference.pool`."""
    program = tl.program_id(0)
    frame = (program // n_blocks).to(tl.int64)
    pair = tl.arange(0, pairs)
    words_each: tl.constexpr = 32 // word_bits
    at = ((program % n_blocks) * 2 * pairs + pair) * words_each
    first = tl.zeros((pairs,), tl.uint32)
    second = tl.zeros((pairs,), tl.uint32)
    for part in tl.static_range(words_each):
        here = at + part
        there = here + pairs * words_each
        one = tl.load(source + frame * stride + here, mask=here < size, other=0).to(tl.int32)
        other = tl.load(source + frame * stride + there, mask=there < size, other=0).to(tl.int32)
        # words are signed: what their signs fill is cut off again
        first |= (one & ((1 << word_bits) - 1)).to(tl.uint32) << (part * word_bits)
        second |= (other & ((1 << word_bits) - 1)).to(tl.uint32) << (part * word_bits)
    first_keys = keys + frame * 2 * (pairs + passes - 1) + pair
    second_keys = first_keys + pairs + passes - 1
    for shift in tl.static_range(passes):
        a = first + tl.load(first_keys + shift).to(tl.uint32, bitcast=True)
        b = second + tl.load(second_keys + shift).to(tl.uint32, bitcast=True)
        total = tl.sum(a.to(tl.uint64) * b.to(tl.uint64), axis=0)
        tl.store(features + program.to(tl.int64) * passes + shift, total.to(tl.int64, bitcast=True))


@_kernel
def _steps(seeds, words, veils, n_steps, lanes: tl.constexpr) -> None:
    """One program for each frame: words and veils of all steps, not yet combined."""
    frame = tl.program_id(0).to(tl.int64)
    even = 2 * tl.arange(0, lanes // 2)
    start = seeds + frame * 3 * lanes + even
    x = tl.load(start).to(tl.uint32, bitcast=True)
    y = tl.load(start + 1).to(tl.uint32, bitcast=True)
    w = tl.load(start + lanes).to(tl.uint32, bitcast=True)
    v = tl.load(start + lanes + 1).to(tl.uint32, bitcast=True)
    w_step = tl.load(start + 2 * lanes).to(tl.uint32, bitcast=True) | 1
    v_step = tl.load(start + 2 * lanes + 1).to(tl.uint32, bitcast=True) | 1
    at = frame * n_steps * lanes + even
    for _ in range(n_steps):
        w += w_step
        v += v_step
        p = x.to(tl.uint64) * (~x).to(tl.uint64)
        q = y.to(tl.uint64) * (~y).to(tl.uint64)
        tl.store(words + at, ((p >> 8).to(tl.uint32) ^ w).to(tl.int32, bitcast=True))
        tl.store(words + at + 1, ((q >> 8).to(tl.uint32) ^ v).to(tl.int32, bitcast=True))
        tl.store(veils + at, (p >> 24).to(tl.uint32).to(tl.int32, bitcast=True))
        tl.store(veils + at + 1, (q >> 24).to(tl.uint32).to(tl.int32, bitcast=True))
        # the partners exchange their states
        x = (q >> 30).to(tl.uint32) + w
        y = (p >> 30).to(tl.uint32) + v
        at += lanes


@_kernel
def _combine(
    source,
    target,
    stride,
    size,
    n_target,
    row_length,
    weights,
    words,
    veils,
    stream_stride,
    n_blocks,
    decrypting: tl.constexpr,
    word_bits: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """One program for each block of a target: the network, and its sum or difference with target and key stream.

    `weights`, int32 (B, 24): nine taps and the bias of either filter, then their output weights.
    """
    program = tl.program_id(0)
    frame = (program // n_blocks).to(tl.int64)
    i = (program % n_blocks) * block + tl.arange(0, block)
    inside = i < n_target
    weights += frame * 24
    total = tl.zeros((block,), tl.int32)
    if size > 0:  # the network of nothing is zero
        h = tl.zeros((block,), tl.int32) + tl.load(weights + 9)
        g = tl.zeros((block,), tl.int32) + tl.load(weights + 19)
        for tap in tl.static_range(9):
            # positive before the remainder: no tap is further than two halves from its word
            at = (i + (tap // 3 - 1) * row_length + (tap % 3 - 1) + 2 * size) % size
            word = tl.load(source + frame * stride + at, mask=inside, other=0).to(tl.int32)
            h += tl.load(weights + tap) * word
            g += tl.load(weights + 10 + tap) * word
        above = tl.where((h >> (word_bits - 1)) & 1 == 1, 0, h)
        total += tl.load(weights + 20) * above + tl.load(weights + 21) * (above - h)
        above = tl.where((g >> (word_bits - 1)) & 1 == 1, 0, g)
        total += tl.load(weights + 22) * above + tl.load(weights + 23) * (above - g)
    stream = tl.load(words + frame * stream_stride + i, mask=inside, other=0).to(tl.int32)
    stream ^= tl.load(veils + frame * stream_stride + i, mask=inside, other=0).to(tl.int32)
    place = target + frame * stride + i
    changed = tl.load(place, mask=inside, other=0).to(tl.int32)
    changed = (changed ^ stream) - total if decrypting else (changed + total) ^ stream
    tl.store(place, changed.to(target.dtype.element_ty), mask=inside)


def pool(source: Tensor, keys: Tensor) -> Tensor:
    """Pool halves as `torch_stage.pool`."""
    n_frames, size = source.shape
    n_blocks = -(-size * source.element_size() // const.POOL_BLOCK_BYTES)
    features = torch.empty(n_frames, n_blocks, const.POOL_PASSES, dtype=torch.int64, device=source.device)
    if features.numel():
        word_bits = 8 * source.element_size()
        arguments = (source, source.stride(0), size, keys, features, n_blocks)
        _pool[(n_frames * n_blocks,)](*arguments, word_bits, const.POOL_PAIRS, const.POOL_PASSES)
    return features


def run_round(
    source: Tensor, target: Tensor, row_length: int, kernels: Tensor, mixes: Tensor, seeds: Tensor, *, decrypting: bool
) -> None:
    """Apply or undo one round on `target` as `torch_stage.run_round`; both halves are of one tensor (B, n)."""
    n_frames, n_target = target.shape
    word_bits = 8 * target.element_size()
    n_steps = -(-n_target * target.element_size() // const.LANE_STEP_BYTES) + 1
    words = torch.empty(n_frames, n_steps * const.LANES, dtype=torch.int32, device=target.device)
    veils = torch.empty_like(words)
    _steps[(n_frames,)](seeds, words, veils, n_steps, const.LANES, num_warps=const.LANES // 64)
    weights = torch.cat([kernels.reshape(n_frames, -1), mixes.reshape(n_frames, -1)], dim=1).to(torch.int32)
    n_blocks = -(-n_target // _BLOCK)
    _combine[(n_frames * n_blocks,)](
        source,
        target,
        target.stride(0),
        source.shape[1],
        n_target,
        row_length,
        weights,
        # the first step gives nothing but veils
        words[:, const.LANES :].view(target.dtype),
        veils[:, const.LANES - const.VEIL_LANES :].view(target.dtype),
        words.shape[1] * 32 // word_bits,
        n_blocks,
        decrypting,
        word_bits,
        _BLOCK,
    )
