"""The stages of the cipher over batches of frames as tensors, on any device of PyTorch.

Words of 8 and 16 bits are int8 and int16, whose sums and products wrap to the same bits as those of unsigned words, and
whose sign is the one that the rectifier looks at. Words of 32 bits are int64 between 0 and 2^32 - 1 where they are
multiplied or shifted, because a right shift of a negative number drags its sign along. No stage uses floating point.

All tensors of one call are on one device; B is the number of frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iomt_crypt.cipher import constant as const

_MASK = 0xFFFFFFFF


def run_round(
    source: Tensor, target: Tensor, row_length: int, kernels: Tensor, mixes: Tensor, seeds: Tensor, *, decrypting: bool
) -> None:
    """Apply or undo one round on `target`.

    Parameters
    ----------
    source, target
        int8 or int16 (B, s) and (B, 1 or more); rows may lie apart, words of a row do not.
    kernels, mixes, seeds
        As for `couple` and `logistic`.
    """
    n_target = target.shape[1]
    stream = logistic(seeds, n_target * target.element_size()).view(target.dtype)[:, :n_target]
    if decrypting:
        target.bitwise_xor_(stream)
    if source.shape[1]:  # the network of nothing is zero
        coupled = couple(source, n_target, row_length, kernels, mixes)
        target.sub_(coupled) if decrypting else target.add_(coupled)
    if not decrypting:
        target.bitwise_xor_(stream)


def couple(source: Tensor, n_target: int, row_length: int, kernels: Tensor, mixes: Tensor) -> Tensor:
    """The coupling network: 3x3 convolution on a helix, concatenated ReLU, 1x1 convolution.

    Parameters
    ----------
    source
        int8 or int16 (B, s), s > 0.
    kernels
        (B, 2 filters, 10), of the dtype of `source`: nine taps, then the bias.
    mixes
        (B, 2 filters, 2), of the same dtype.

    Returns
    -------
    Tensor
        (B, n_target), of the dtype of `source`.
    """
    margin = row_length + 1
    ring = _ring(source, -margin, n_target + 2 * margin).unsqueeze(1)
    *weights, bias = kernels.unsqueeze(3).unbind(2)
    hidden = bias.expand(-1, -1, n_target).contiguous()
    for tap, weight in enumerate(weights):
        start = margin + (tap // 3 - 1) * row_length + tap % 3 - 1
        hidden.addcmul_(ring.narrow(2, start, n_target), weight)
    above, below = mixes.unsqueeze(3).unbind(2)
    # above * relu(h) + below * (relu(h) - h), with the rectifier in place
    total = hidden * -below
    total.addcmul_(hidden.clamp_min_(0), above + below)
    first, second = total.unbind(1)
    return first.add_(second)


def _ring(source: Tensor, start: int, length: int) -> Tensor:
    """`length` words from index `start` on, which may be negative, as if `source` (B, s) went on for ever."""
    size = source.shape[1]
    position, pieces = start % size, []
    while length > 0:
        piece = source[:, position : position + length]
        pieces.append(piece)
        length -= piece.shape[1]
        position = 0
    return torch.cat(pieces, dim=1)


def pool(source: Tensor, keys: Tensor) -> Tensor:
    """Pool halves into two NH values for each 2048 bytes (RFC 4418, section 5.2).

    Parameters
    ----------
    source
        int8 or int16 (B, s).
    keys
        int32 (B, 2, 257).

    Returns
    -------
    Tensor
        int64 (B, blocks, 2): the bits of the unsigned values.
    """
    n_frames, size = source.shape
    block_words = const.POOL_BLOCK_BYTES // source.element_size()
    n_blocks = -(-size // block_words)
    padded = source.new_zeros(n_frames * n_blocks * block_words)
    padded.view(n_frames, n_blocks * block_words)[:, :size] = source
    words = padded.view(torch.int32).view(n_frames, n_blocks, 2, const.POOL_PAIRS)
    features = torch.empty(n_frames, n_blocks, const.POOL_PASSES, dtype=torch.int64, device=source.device)
    for shift in range(const.POOL_PASSES):
        # sums wrap in 32 bits, products and their sum in 64
        keyed = words + keys[:, None, :, shift : shift + const.POOL_PAIRS]
        wide = keyed.to(torch.int64).bitwise_and_(_MASK)
        torch.sum(wide[:, :, 0] * wide[:, :, 1], dim=-1, out=features[:, :, shift])
    return features


def logistic(seeds: Tensor, size_bytes: int) -> Tensor:
    """The key streams of `reference.logistic`, all frames side by side.

    Parameters
    ----------
    seeds
        int32 (B, 3, 128): start values, Weyl words, Weyl increments.
    size_bytes
        Length of a key stream.

    Returns
    -------
    Tensor
        int8 (B, at least `size_bytes`).
    """
    n_frames, n_steps = seeds.shape[0], -(-size_bytes // const.LANE_STEP_BYTES) + 1
    wide = seeds.to(torch.int64).bitwise_and_(_MASK)
    state = wide[:, 0].clone()
    count = torch.arange(1, n_steps + 1, dtype=torch.int64, device=seeds.device).view(-1, 1, 1)
    weyl = (count * (wide[:, 2] | 1)).add_(wide[:, 1]).bitwise_and_(_MASK)
    products = torch.empty_like(weyl)
    complement = torch.empty_like(state)
    even, odd = state[:, 0::2], state[:, 1::2]
    from_even, from_odd = products[:, :, 0::2].unbind(), products[:, :, 1::2].unbind()
    # The only loop in time: few and small operations, nothing allocated.
    for step, (product, word) in enumerate(zip(products.unbind(), weyl.unbind(), strict=True)):
        torch.bitwise_xor(state, _MASK, out=complement)
        torch.mul(state, complement, out=product)  # below 2^62, so that shifts see no sign
        torch.bitwise_right_shift(from_odd[step], 30, out=even)
        torch.bitwise_right_shift(from_even[step], 30, out=odd)
        state.add_(word).bitwise_and_(_MASK)
    words = _rows((products >> 8).bitwise_xor_(weyl), n_frames)
    veils = _rows(products >> 24, n_frames)
    first = const.LANES
    stream = words[:, first:] ^ veils[:, first - const.VEIL_LANES : veils.shape[1] - const.VEIL_LANES]
    return stream.view(torch.int8)


def _rows(steps: Tensor, n_frames: int) -> Tensor:
    """int64 (steps, B, 128) as int32 (B, steps * 128): the lower 32 bits, frame by frame."""
    return steps.to(torch.int32).transpose(0, 1).reshape(n_frames, -1)


def move(words: Tensor, run_length: int, order: Tensor) -> None:
    """Put run `order[b, k]` of frame b to place k, in place; what is behind the last run stays.

    Parameters
    ----------
    words
        int8 or int16 (B, s), a half of each frame.
    order
        int64 (B, parts).
    """
    n_frames, n_parts = order.shape
    n_moved = n_parts * run_length
    runs = words[:, :n_moved].reshape(n_frames * n_parts, run_length)
    first = torch.arange(n_frames, dtype=torch.int64, device=words.device).mul_(n_parts)
    rows = (order + first[:, None]).view(-1)
    words[:, :n_moved] = runs.index_select(0, rows).view(n_frames, n_moved)
