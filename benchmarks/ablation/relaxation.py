"""The coupling network over real numbers, so that gradients exist: angles in turns instead of words modulo 2^w.

A weight of w bits over 2^w is a fraction of a turn, and the sum over the taps modulo 1 is h / 2^w exactly, whatever the
samples are. What the relaxation adds is weights between the w-bit ones. The signed value is u = h - round(h) in
[-1/2, 1/2], whose derivative is taken as that of h. Output weights that are odd and equal modulo 4 make the network
continuous where u wraps: the jump is (V+ - V-) / 2 turns, a whole number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from iomt_crypt.cipher import constant as const


def output_turns(windows: Tensor, taps: Tensor, mixes: Tensor, biases: Tensor) -> Tensor:
    """Return what each filter adds to the target, in turns.

    Parameters
    ----------
    windows
        float64 (..., 9): samples under the taps, whole numbers.
    taps, mixes, biases
        float64 (filters, 9) in turns, (filters, 2), and (filters,) in turns.

    Returns
    -------
    Tensor
        float64 (..., filters), not reduced modulo 1.
    """
    hidden = windows @ taps.T + biases
    signed = hidden - hidden.round()
    return mixes[:, 0] * signed.clamp(min=0) + mixes[:, 1] * (-signed).clamp(min=0)


def quantise(taps: Tensor, mixes: Tensor, word_bits: int) -> tuple[Tensor, Tensor]:
    """Round to the nearest weights that the cipher can use, in the same units.

    Taps become odd multiples of 2^-w, output weights odd, and the second of each pair equal to the first modulo 4.
    """
    words = taps * 2**word_bits
    odd = 2 * ((words - 1) / 2).round() + 1
    above = 2 * ((mixes[:, 0] - 1) / 2).round() + 1
    below = above + 4 * ((mixes[:, 1] - above) / 4).round()
    return odd / 2**word_bits, torch.stack([above, below], dim=1)


def straight_through(taps: Tensor, mixes: Tensor, word_bits: int) -> tuple[Tensor, Tensor]:
    """`quantise` whose derivative is that of the identity."""
    odd, whole = quantise(taps, mixes, word_bits)
    return taps + (odd - taps).detach(), mixes + (whole - mixes).detach()


def neighbourhoods(patches: Tensor) -> Tensor:
    """Return the nine windows (..., 9, 9) around the inner samples of patches (..., 5, 5)."""
    grown = patches.unfold(-2, 3, 1).unfold(-2, 3, 1)
    return grown.reshape(*grown.shape[:-4], const.TAPS, const.TAPS)
