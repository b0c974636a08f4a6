"""The network that tells encrypted images from others: convolution, ReLU, pooling, fully connected, softmax.

It measures how far an image is from noise. The mean of every feature over a piece of the image is compared with what it
is for noise, in standard deviations; the fully connected part weighs these deviations, and can only find that more of
them is more plain. So an image unlike all that the training had is called plain, and never encrypted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from monai.networks.blocks.convolutions import Convolution
from monai.networks.layers.factories import Pool
from torch import Tensor, nn
from torch.nn import functional

from iomt_crypt.checks.channel import N_CHANNELS
from iomt_crypt.checks.patch import SIDES

Pooling = Literal["average", "max", "l2"]
#: Deviations beyond its root count less and less.
_KNEE = 64.0
#: Of a feature of noise, in its own units.
SMALLEST_DEVIATION = 1e-4
#: Deviations of the largest of some 10,000 to 100,000 normal values.
_LARGEST_OF_NOISE = 4.5
#: Of the mean of the deviations of a block.
_LEAST_OF_BLOCK = 0.5


class Network(nn.Module):
    """Three blocks of convolution and ReLU with pooling between them, two fully connected layers, softmax.

    Parameters
    ----------
    channels
        Features of the three blocks.
    pooling
        Of 2 x 2 features into one, between the blocks.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, channels: Sequence[int] = (16, 24, 32), pooling: Pooling = "average") -> None:
        super().__init__()
        self._channels = first, second, third = tuple(channels)
        self.blocks = nn.ModuleList(
            [
                _block(N_CHANNELS, first, kernel_size=4, stride=2),
                nn.Sequential(_pool(pooling), _block(first, second, kernel_size=3, stride=1)),
                nn.Sequential(_pool(pooling), _block(second, third, kernel_size=2, stride=1)),
            ]
        )
        # Without the containers around them, which take a tenth of the time.
        self._layers = [[m for m in block.modules() if not any(m.children())] for block in self.blocks]
        n_features = first + second + third
        self.mix = nn.Linear(n_features, n_features, bias=False)
        # At the start noise scores n_features / 20, so this is what it is told from.
        self.weigh = nn.Parameter(torch.full((n_features,), -3.0))
        self.bias = nn.Parameter(torch.full((), -2 - n_features / 20))
        nn.init.eye_(self.mix.weight)
        self.register_buffer("mean", torch.zeros(len(SIDES), n_features))
        self.register_buffer("deviation", torch.ones(len(SIDES), n_features))

    def features(self, patches: Tensor) -> Tensor:
        """Means of all features over each piece.

        Parameters
        ----------
        patches
            float32 (n, 4, rows, columns), see `iomt_crypt.checks.channel`; 32 rows and columns at least.

        Returns
        -------
        Tensor
            float32 (n, n_features).
        """
        x, found = patches, []
        for layers in self._layers:
            for layer in layers:
                x = layer(x)
            found.append(x.mean((2, 3)))
        return torch.cat(found, 1)

    def deviations(self, features: Tensor, side: int) -> Tensor:
        """Features in standard deviations of noise, for pieces of ``side``; shape unchanged."""
        row = SIDES.index(side)
        return (features - self.mean[row]) / self.deviation[row]

    def measure_noise(self, features: Tensor, side: int) -> None:
        """Set what the features of noise are, for pieces of ``side``."""
        row = SIDES.index(side)
        self.mean[row] = features.mean(0)
        # A filter that noise hardly ever passes has almost no deviation, and once in a while one that is far too large.
        # It counts as if its largest one were what one has to expect of normal values, and with its block.
        found = torch.maximum(features.std(0), (features - features.mean(0)).abs().amax(0) / _LARGEST_OF_NOISE)
        blocks = found.split(list(self._channels))  # type: ignore[no-untyped-call]
        least = torch.cat([block.mean().mul(_LEAST_OF_BLOCK).expand_as(block) for block in blocks])
        self.deviation[row] = torch.maximum(found, least).clamp(min=SMALLEST_DEVIATION)

    def plainness(self, deviations: Tensor) -> Tensor:
        """Logarithm of the odds that a piece is not encrypted, before calibration: (n, n_features) to (n,)."""
        mixed = self.mix(deviations)
        distance = _KNEE * torch.log1p(mixed * mixed / _KNEE)
        return distance @ functional.softplus(self.weigh) + self.bias

    def forward(self, patches: Tensor, side: int) -> Tensor:
        """Probabilities (n, 2) of each piece on its own: encrypted, not encrypted."""
        plainness = self.plainness(self.deviations(self.features(patches), side))
        return torch.stack([torch.zeros_like(plainness), plainness], 1).softmax(1)


def _block(n_in: int, n_out: int, *, kernel_size: int, stride: int) -> nn.Module:
    # No padding: a border of zeros would make the mean depend on the size of the piece.
    block: nn.Module = Convolution(
        2, n_in, n_out, strides=stride, kernel_size=kernel_size, padding=0, norm=None, act="RELU"
    )
    return block


def _pool(pooling: Pooling) -> nn.Module:
    if pooling == "l2":
        return nn.LPPool2d(2, 2)
    pool: nn.Module = Pool["MAX" if pooling == "max" else "AVG", 2](2)
    return pool
