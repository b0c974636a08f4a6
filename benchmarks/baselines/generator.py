"""The networks of `benchmarks.baselines.deepedn`: two generators of one form, and a discriminator."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

_LAST_GAIN = 0.3


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one training is made of.

    Parameters
    ----------
    seed
        Of initial weights, patches and noise.
    steps, batch, patch
        Updates, patches in each, and their rows and columns (a multiple of 4).
    warm_up
        Steps at the beginning without a discriminator; otherwise F learns little.
    width, n_blocks
        Channels behind the first layer, residual blocks in the middle.
    learning_rate
        Of Adam, for all three networks.
    restoration
        Weight of the mean absolute error of F(G(x)) against the adversarial loss, 10 as in Cycle-GAN.
    """

    seed: int = 20200512
    steps: int = 1600
    warm_up: int = 200
    batch: int = 4
    patch: int = 64
    width: int = 16
    n_blocks: int = 3
    learning_rate: float = 3e-4
    restoration: float = 10.0


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, image: Tensor) -> Tensor:
        return image + self.body(image)


def make_generator(recipe: Recipe) -> nn.Sequential:
    """Strided convolutions, residual blocks, transposed convolutions; float32 (n, 1, rows, columns) in [-1, 1]."""
    width = recipe.width
    return nn.Sequential(
        nn.Conv2d(1, width, 7, padding=3),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        *(_Residual(4 * width) for _ in range(recipe.n_blocks)),
        nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 1, 7, padding=3),
        nn.Tanh(),
    )


def make_discriminator(recipe: Recipe) -> nn.Sequential:
    """One judgement for each field of 22 x 22 samples (PatchGAN, Isola et al., arXiv 1611.07004)."""
    width = recipe.width
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 4, padding=1),
    )


def initialize(network: nn.Sequential) -> None:
    """Keep the variance from layer to layer (He et al., arXiv 1502.01852), and the last one out of the ends of tanh."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        # Of a strided transposed convolution only every fourth tap meets a sample.
        share = 4 if isinstance(layer, nn.ConvTranspose2d) else 1
        nn.init.normal_(layer.weight, std=(2 * share / (layer.weight[0, 0].numel() * layer.in_channels)) ** 0.5)
        nn.init.zeros_(layer.bias)
    for layer in [*(block.body[-1] for block in network if isinstance(block, _Residual)), layers[-1]]:
        layer.weight.data *= _LAST_GAIN
