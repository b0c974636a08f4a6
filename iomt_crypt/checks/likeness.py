"""Do two encrypted frames share a key stream, or is one of them plain? No look at one frame alone shows it.

Two under one stream are the oldest mistake with stream ciphers, the two-time pad: their exclusive or is that of the
images, plain image against plain image.
"""

from __future__ import annotations

import math

import numpy as np

from iomt_crypt.checks import tally
from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.limit import square_limits
from iomt_crypt.checks.statistic import MINIMUM_WORDS

#: Probability that two frames of noise seem to share one.
LEVEL = 1e-10
#: Words of the beginning that are compared.
COMPARED_WORDS = 1 << 16
_UNTOUCHED = -math.log(1e-15)


def share_stream(first: Frame, second: Frame) -> bool:
    """Tell whether two frames resemble each other more than noise does.

    Parameters
    ----------
    first, second
        uint8 or uint16, any shape. Frames of different dtype or fewer than 64 common words share nothing.
    """
    n_words = min(first.size, second.size, COMPARED_WORDS)
    if first.dtype != second.dtype or n_words < MINIMUM_WORDS:
        return False
    counts = np.zeros((2, 256), np.int64)
    tally.differences(first.reshape(-1)[:n_words], second.reshape(-1)[:n_words], counts)
    lower, upper = square_limits(n_words, 256, LEVEL / 4)
    squares = (counts.astype(np.float64) ** 2).sum(axis=1)
    # 8-bit words have no high byte: its row is empty.
    return any(not lower <= square <= upper for square in squares[: first.dtype.itemsize].tolist())


def is_untouched(stored: bytes | memoryview, plain: bytes | memoryview) -> bool:
    """Tell whether more bytes of an encrypted image are those of the plain one, in their places, than chance leaves.

    Under a good cipher each byte is the plain one with probability 1/256, whatever the image shows. Seven equal bytes
    tell, where there are no others; of more, a share that noise has once in 10^15 times at most (Chernoff's bound).

    Parameters
    ----------
    stored, plain
        As many bytes of either as the shorter one has are compared.
    """
    n_bytes = min(len(stored), len(plain))
    if not n_bytes:
        return False
    first, second = np.frombuffer(stored, np.uint8, n_bytes), np.frombuffer(plain, np.uint8, n_bytes)
    share, by_chance = int(np.count_nonzero(first == second)) / n_bytes, 1 / 256
    if share <= by_chance:
        return False
    rest = (1 - share) * math.log((1 - share) / (1 - by_chance)) if share < 1 else 0.0
    return n_bytes * (share * math.log(share / by_chance) + rest) > _UNTOUCHED
