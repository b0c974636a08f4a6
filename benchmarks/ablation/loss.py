"""What training minimises: squared characteristic functions, which are 0 for a uniform word and 1 for a constant.

For a word y of w bits and a whole k, phi_k(y) = E exp(2 pi i k y / 2^w); all of them are 0 if and only if y is uniform.
Expectations run over the patches of one image and the squares are averaged over images: a network that merely spreads
the images over the range is not rewarded. The squares are unbiased: |mean|^2 of n independent uniform words is 1/n.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.ablation.relaxation import neighbourhoods, output_turns

#: Characteristic functions are those of k = 1 to this. Low ones are coarse intensity, high ones fine.
FREQUENCIES = 8
CENTRE = 4
#: Places to the right of the centre and below it among the nine inner samples of a patch.
NEIGHBOURS = (5, 7)


@dataclass(frozen=True)
class Batch:
    """Patches of images.

    Parameters
    ----------
    source, changed
        float64 (images, patches, 5, 5): samples of the source half, and the same with the middle one changed.
    target
        float64 (images, patches, 9): samples of the target half at the places of the nine inner ones, in turns.
    """

    source: Tensor
    changed: Tensor
    target: Tensor


@dataclass(frozen=True)
class Losses:
    """Means over images, of networks (networks,); each 0 to 1 but for the noise of the estimate.

    Parameters
    ----------
    uniformity
        Of the coupled samples.
    decorrelation
        Of the differences of neighbouring coupled samples.
    avalanche
        Of what a changed sample changes in the nine outputs that read it.
    """

    uniformity: Tensor
    decorrelation: Tensor
    avalanche: Tensor

    @property
    def total(self) -> Tensor:
        """The sum, which training minimises."""
        return self.uniformity + self.decorrelation + self.avalanche


def losses(batch: Batch, taps: Tensor, mixes: Tensor, biases: Tensor) -> Losses:
    """Return the losses of networks of two filters: the first and the second, the third and the fourth, and so on."""
    coupled = pair_up(output_turns(neighbourhoods(batch.source), taps, mixes, biases))
    change = pair_up(output_turns(neighbourhoods(batch.changed), taps, mixes, biases)) - coupled
    target = batch.target[..., None]
    centre = coupled[:, :, CENTRE] + target[:, :, CENTRE]
    steps = [centre - coupled[:, :, place] - target[:, :, place] for place in NEIGHBOURS]
    return Losses(
        _flatness(centre[:, :, None]),
        _flatness(torch.stack(steps, dim=2)),
        _flatness(change),
    )


def pair_up(outputs: Tensor) -> Tensor:
    """Add the outputs of neighbouring filters: (..., filters) to (..., filters / 2)."""
    return outputs.reshape(*outputs.shape[:-1], -1, 2).sum(-1)


def _flatness(turns: Tensor) -> Tensor:
    """Return the mean of |phi_k|^2 over images, places and frequencies; (images, patches, places, networks)."""
    n_patches = turns.shape[1]
    turn = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    power, total = turn, torch.zeros(turns.shape[-1], dtype=turns.dtype)
    for frequency in range(1, FREQUENCIES + 1):
        mean = power.mean(1)
        square = mean.real**2 + mean.imag**2
        total = total + ((n_patches * square - 1) / (n_patches - 1)).mean((0, 1))
        if frequency < FREQUENCIES:
            power = power * turn
    return total / FREQUENCIES
