"""Training of a bank of filters: gradients through the relaxation, then through rounding to weights of w bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.ablation.loss import Batch, Losses, losses
from benchmarks.ablation.picture import Picture
from benchmarks.ablation.relaxation import quantise, straight_through
from iomt_crypt.cipher import constant as const

_PATCH = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how large.

    Parameters
    ----------
    filters
        Of the bank, even.
    steps
        Of the optimiser, in both phases together.
    rounded_share
        Of the steps, those of the second phase, in which weights are rounded forward.
    images, patches
        Of one batch, and patches of each image.
    tap_rate, mix_rate
        Step sizes of Adam for taps (in turns) and output weights (in ones).
    largest_tap, largest_mix
        Weights start uniformly between plus and minus these. The larger they are, the rougher the landscape.
    every
        Steps between two entries of the curve.
    """

    filters: int = 64
    steps: int = 400
    rounded_share: float = 0.4
    images: int = 12
    patches: int = 48
    tap_rate: float = 2e-3
    mix_rate: float = 0.1
    largest_tap: float = 0.02
    largest_mix: float = 4.0
    every: int = 40
    seed: int = 1


@dataclass(frozen=True)
class Point:
    """One entry of the training curve: losses on fixed batches, of weights as the forward pass used them."""

    step: int
    training: float
    held_out: float


@dataclass(frozen=True)
class Bank:
    """What training gives.

    Parameters
    ----------
    word_bits
        8 or 16.
    relaxed
        float64 (filters, 11) at the end of the first phase: taps in turns and output weights.
    filters
        int64 (filters, 11): nine odd taps, -2^(w-1) to 2^(w-1), and two odd output weights, equal modulo 4.
    curve
        Losses along the way.
    """

    word_bits: int
    relaxed: npt.NDArray[np.float64]
    filters: npt.NDArray[np.int64]
    curve: list[Point]


class Sampler:
    """Draws batches of patches from images of one word size."""

    def __init__(self, pictures: list[Picture], word_bits: int) -> None:
        """Keep the images whose words have `word_bits` bits."""
        self._halves = [_halves(p.samples) for p in pictures if 8 * p.samples.dtype.itemsize == word_bits]
        self._word_bits = word_bits

    def draw(self, rng: np.random.Generator, n_images: int, n_patches: int) -> Batch:
        """Draw patches of `n_images` images; each image has its own change: plus or minus 1, or one bit flipped."""
        source = np.empty((n_images, n_patches, _PATCH, _PATCH))
        target = np.empty((n_images, n_patches, const.TAPS))
        changed = np.empty_like(source)
        for index in range(n_images):
            first, second = self._halves[rng.integers(len(self._halves))]
            rows = rng.integers(first.shape[0] - _PATCH + 1, size=n_patches)[:, None, None] + np.arange(_PATCH)[:, None]
            columns = rng.integers(first.shape[1] - _PATCH + 1, size=n_patches)[:, None, None] + np.arange(_PATCH)
            source[index] = first[rows, columns]
            target[index] = second[rows, columns][:, 1:-1, 1:-1].reshape(n_patches, -1) / 2**self._word_bits
            changed[index] = source[index]
            middle = first[rows, columns][:, 2, 2].astype(np.int64)
            changed[index, :, 2, 2] = self._change(rng, middle)
        return Batch(torch.from_numpy(source), torch.from_numpy(changed), torch.from_numpy(target))

    def _change(self, rng: np.random.Generator, words: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        kind = rng.integers(4)
        if kind < 2:
            return (words + (1, -1)[kind]) % (1 << self._word_bits)
        return words ^ (1 << int(rng.integers(self._word_bits)))


def train(
    training: Sampler,
    held_out: Sampler,
    word_bits: int,
    settings: Settings,
    *,
    tell: Callable[[Point], None] = lambda point: None,
) -> Bank:
    """Train a bank. Equal arguments give equal banks on one machine.

    In each step filters are paired anew and given new biases, as a key will do. `tell` is given each entry of the
    curve.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng([settings.seed, word_bits])
    generator = torch.Generator().manual_seed(settings.seed)
    taps, mixes = start(generator, settings)
    optimiser = torch.optim.Adam(
        [{"params": [taps], "lr": settings.tap_rate}, {"params": [mixes], "lr": settings.mix_rate}]
    )
    fixed = [
        sampler.draw(np.random.default_rng(word_bits), 2 * settings.images, settings.patches)
        for sampler in (training, held_out)
    ]
    curve: list[Point] = []
    relaxed_steps = settings.steps - round(settings.steps * settings.rounded_share)
    relaxed = _joined(taps, mixes)
    for step in range(settings.steps + 1):
        used = (taps, mixes) if step < relaxed_steps else straight_through(taps, mixes, word_bits)
        if step == relaxed_steps:
            relaxed = _joined(taps, mixes)
        if step % settings.every == 0 or step == settings.steps:
            curve.append(Point(step, *(mean_loss(batch, *used) for batch in fixed)))
            tell(curve[-1])
        if step == settings.steps:
            break
        order, biases = torch.randperm(settings.filters, generator=generator), draw_biases(generator, settings.filters)
        batch = training.draw(rng, settings.images, settings.patches)
        optimiser.zero_grad()
        losses(batch, used[0][order], used[1][order], biases).total.mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    words, whole = quantise(taps.detach(), mixes.detach(), word_bits)
    filters = torch.hstack([words * 2**word_bits, whole]).round().to(torch.int64).numpy()
    return Bank(word_bits, relaxed, filters, curve)


def start(generator: torch.Generator, settings: Settings) -> tuple[Tensor, Tensor]:
    """Draw the weights that training starts from."""
    shares = 2 * torch.rand((settings.filters, const.TAPS + 2), generator=generator, dtype=torch.float64) - 1
    taps, mixes = shares[:, : const.TAPS] * settings.largest_tap, shares[:, const.TAPS :] * settings.largest_mix
    return taps.requires_grad_(), mixes.requires_grad_()


def draw_biases(generator: torch.Generator, count: int) -> Tensor:
    """Draw biases over the whole turn."""
    return torch.rand(count, generator=generator, dtype=torch.float64)


@torch.no_grad()
def network_losses(batch: Batch, taps: Tensor, mixes: Tensor) -> Losses:
    """Return the losses of each network of two neighbouring filters, with biases that are the same on every call."""
    return losses(batch, taps, mixes, draw_biases(torch.Generator().manual_seed(0), len(taps)))


def mean_loss(batch: Batch, taps: Tensor, mixes: Tensor) -> float:
    """Return the mean total loss over the networks of neighbouring filters."""
    return float(network_losses(batch, taps, mixes).total.mean())


def in_turns(filters: npt.NDArray[np.int64], word_bits: int) -> tuple[Tensor, Tensor]:
    """Return taps and output weights of whole filters (filters, 11) as the relaxation takes them."""
    whole = torch.from_numpy(filters.astype(np.float64))
    return whole[:, : const.TAPS] / 2**word_bits, whole[:, const.TAPS :]


def _joined(taps: Tensor, mixes: Tensor) -> npt.NDArray[np.float64]:
    joined: npt.NDArray[np.float64] = torch.hstack([taps, mixes]).detach().numpy().copy()
    return joined


def _halves(samples: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """The two halves of an image, as the first round sees them, and of equal size."""
    middle = samples.shape[0] // 2
    return samples[:middle], samples[middle : 2 * middle]
