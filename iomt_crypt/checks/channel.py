"""What the network sees of words: their bytes, and the low halves of these once more by themselves.

What is plain in the low halves drowns under encrypted high ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iomt_crypt.checks.patch import Words, tiled
from iomt_crypt.checks.tally import channels

#: Low byte, high byte, and the low halves of both.
N_CHANNELS = 4
_BYTE_MEAN, _BYTE_DEVIATION = 127.5, 73.9


def _scaled(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """As of noise: mean 0, deviation 1."""
    return (values - np.float32(_BYTE_MEAN)) / np.float32(_BYTE_DEVIATION)


_WHOLE = _scaled(np.arange(256, dtype=np.float32))
_LOW = _scaled(np.arange(256, dtype=np.float32) % 16 * 17)


def channels_of(words: Words) -> Tensor:
    """Pieces as the network takes them.

    Parameters
    ----------
    words
        uint16 (n, side, side); small ones are laid side by side, see `tiled`. Not changed.

    Returns
    -------
    Tensor
        float32 (n, `N_CHANNELS`, rows, columns), channels last in memory.
    """
    seen = np.ascontiguousarray(tiled(words))
    found = np.empty((*seen.shape, N_CHANNELS), np.float32)
    channels(seen.reshape(-1), _WHOLE, _LOW, found.reshape(-1, N_CHANNELS))
    return torch.from_numpy(found).permute(0, 3, 1, 2)
