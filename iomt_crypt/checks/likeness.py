"""Do two encrypted frames share a key stream? No look at one of them shows it; their exclusive or is the images'.

The oldest mistake with stream ciphers, known as the two-time pad: what remains is plain image against plain image.
"""

from __future__ import annotations

import numpy as np

from iomt_crypt.checks import tally
from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.limit import square_limits
from iomt_crypt.checks.statistic import MINIMUM_WORDS

#: Probability that two frames of noise seem to share one.
LEVEL = 1e-10
#: Words of the beginning that are compared.
COMPARED_WORDS = 1 << 16


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
