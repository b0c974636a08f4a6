"""What a variant costs: multiplications for each sample, and processor time where the product can run it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.ablation.variant import Machine, Variant
from iomt_crypt.cipher import constant as const

_WORD_BITS_OF_PRODUCTS = 32


@dataclass(frozen=True, slots=True)
class Cost:
    """Multiplications for one sample of the frame.

    Parameters
    ----------
    narrow
        Of the network, with 16-bit operands.
    wide
        Of pooling and key stream, 32 by 32 to 64 bits.
    """

    narrow: float
    wide: float


def multiplications(variant: Variant, word_bits: int) -> Cost:
    """Count from the specification; every round changes one half and reads the other.

    A 3x3 filter takes nine and its two output weights two. Pooling takes two products for each pair of 32-bit words of
    the source, the key stream one for each 32-bit word of the target. What does not grow with the frame is left out.
    """
    words = word_bits / _WORD_BITS_OF_PRODUCTS
    network = variant.filters * (const.TAPS + 2) * variant.network
    stream = words * (1 + variant.pooling) * variant.stream
    return Cost(variant.rounds / 2 * network, variant.rounds / 2 * stream)


def relative_seconds(variants: list[Variant], *, side: int = 512, n_turns: int = 31) -> list[float]:
    """Return the processor time of encryption by the product relative to the first variant's.

    For variants whose stages are the cipher's and whose weights alone are others: the compiled kernels are given their
    schedules. Variants take turns, and medians are taken.
    """
    from iomt_crypt.cipher import numba_backend

    frame = np.random.default_rng(1).integers(0, 1 << 12, (side, side)).astype(np.uint16)
    source, target = frame.reshape(-1), np.empty(frame.size, np.uint16)
    machines = [Machine.of(variant, bytes(const.KEY_BYTES), frame) for variant in variants]
    times: list[list[float]] = [[] for _ in machines]
    for turn in range(n_turns + 2):
        for machine, found in zip(machines, times, strict=True):
            start = time.process_time()
            numba_backend.encrypt_words(source, target, machine.geometry, machine.schedule)
            if turn >= 2:
                found.append(time.process_time() - start)
    medians = [median(found) for found in times]
    return [seconds / medians[0] for seconds in medians]
