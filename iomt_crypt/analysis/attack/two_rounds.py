"""Two rounds of our own structure, pooling and all, decrypted sample by sample with chosen images.

A round changes one half, each sample by itself, in a way that depends on the whole other half. After two rounds the
right half has been changed once: R' = (R + f) ^ s with f and s from L; then the left one: L' = (L + g) ^ t with g and t
from R'. So the attacker fixes L to a constant v and steers R, bit by bit from below, until R' is the target's: eight
images. Now g and t are the target's, and L' shows for every place what v becomes. All 256 v give a table in which the
target's L is looked up; with L known, R is steered once more. About 2300 images, whatever their size.
This is why the cipher has four rounds; that two rounds fall is the general observation of M. Luby, C. Rackoff: How to
construct pseudorandom permutations from pseudorandom functions. SIAM Journal on Computing 17, 1988.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from iomt_crypt.analysis.attack.material import Effort, windows
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge


def two_rounds(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Look the left half up in a table of constants, then steer the right half."""
    start = perf_counter()
    (target,) = windows(images, effort.feistel_side, 1)
    half = target.size // 2
    sealed = oracle(target).reshape(-1)
    left = np.zeros(half, np.uint8)
    matched = np.zeros(half, np.bool_)
    for value in range(256):
        right = _steer(oracle, np.full(half, value, np.uint8), sealed[half:], target.shape)
        shown = _ask(oracle, np.full(half, value, np.uint8), right, target.shape)[:half]
        left[shown == sealed[:half]] = value
        matched |= shown == sealed[:half]
    right = _steer(oracle, left, sealed[half:], target.shape)
    what = f"{np.count_nonzero(matched) / half:.1%} of the left half looked up"
    found = np.concatenate([left, right]).reshape(target.shape)
    return judge(
        "two-round codebook", "adaptively chosen plaintext", what,
        found, target, n_images=256 * 9 + 8, seconds=perf_counter() - start,
    )  # fmt: skip


def _steer(oracle: Oracle, left: Image, wanted: Image, shape: tuple[int, ...]) -> Image:
    """Choose a right half that becomes `wanted`; carries run upwards, so a bit is set when those below are right."""
    right = np.zeros(wanted.size, np.uint8)
    for bit in range(8):
        shown = _ask(oracle, left, right, shape)[left.size :]
        right ^= (shown ^ wanted) & np.uint8(1 << bit)
    return right


def _ask(oracle: Oracle, left: Image, right: Image, shape: tuple[int, ...]) -> Image:
    return oracle(np.concatenate([left, right]).reshape(shape)).reshape(-1)
