"""The numbers that fix the chaos+CNN cipher; changing one makes another cipher.

docs/SPEC.md describes the algorithm they belong to.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Samples of one frame: uint8 or uint16, in the machine's byte order.
Samples = npt.NDArray[np.unsignedinteger[Any]]

KEY_BYTES: Final = 32
ROUNDS: Final = 4

#: The repositioning sits between the two rounds before it and the two after it.
ROUNDS_BEFORE_MOVE: Final = 2

#: Filters of the hidden layer and taps of a 3x3 kernel in reading order; each filter has a bias and two weights behind
#: its rectifier, one for each sign.
FILTERS: Final = 2
TAPS: Final = 9

#: Logistic maps that run side by side, coupled in pairs; lane l gives words l, l + 128, l + 256 ... of the key stream.
LANES: Final = 128
LANE_STEP_BYTES: Final = LANES * 4
#: A word of the key stream is veiled by the word of the lane this far before it.
VEIL_LANES: Final = 32

#: One pooled block is 512 words of 32 bits, paired as (i, i + 256).
POOL_BLOCK_BYTES: Final = 2048
POOL_PAIRS: Final = 256
#: Two hashes of a block use keys shifted by one pair (Toeplitz), hence one key pair more than pairs of words.
POOL_PASSES: Final = 2
POOL_KEY_PAIRS: Final = POOL_PAIRS + POOL_PASSES - 1

#: The repositioning moves runs of samples; there are at most this many.
MAX_PARTS: Final = 1024

#: Domain separation of the three uses of SHAKE-256: 16 bytes each, so that no input of one is an input of another.
LABEL_KEYS: Final = b"chaos-cnn-1/keys"
LABEL_SEED: Final = b"chaos-cnn-1/seed"
LABEL_MOVE: Final = b"chaos-cnn-1/move"
