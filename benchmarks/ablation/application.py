"""One application of the network with different weights: the losses of training, and how much it covers.

No other stage, no second round: here weights matter most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.ablation.loss import CENTRE, NEIGHBOURS, Batch, Losses
from benchmarks.ablation.picture import Picture
from benchmarks.ablation.relaxation import neighbourhoods, quantise
from benchmarks.ablation.training import Bank, Sampler, in_turns, network_losses
from benchmarks.ablation.weight import Identity, Keyed, Small, Source, Uniform
from iomt_crypt.analysis import metric
from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher import reference
from iomt_crypt.cipher.schedule import Geometry, Schedule

#: Networks for each kind of weights, and random ones of which the best are chosen.
N_NETWORKS = 32
N_CANDIDATES = 1024
N_COVER = 8
_SEED = 11
#: Kinds of weights that the verdict of the document is about.
SMALL = "small random weights"
KEY = "from the key (the cipher)"
ODD = "from the key, odd taps"
BEST = f"best {N_NETWORKS} of {N_CANDIDATES} random networks, odd taps"


@dataclass(frozen=True)
class Row:
    """One kind of weights for one word size.

    Parameters
    ----------
    kind
        What they are.
    training, held_out
        Losses (networks,) on images of the training sources, other patches than in training, and on held-out ones.
    cover, cover_zero
        Mean entropy of the network's output on the measured images and on zeros, in bits; NaN for weights that are no
        words, or where there is no such image.
    """

    kind: str
    training: Losses
    held_out: Losses
    cover: float
    cover_zero: float


def rows(
    banks: dict[str, dict[int, Bank]],
    word_bits: int,
    training: list[Picture],
    held_out: list[Picture],
    measured: list[Picture],
) -> list[Row]:
    """Compare all kinds of weights for one word size."""
    samplers = [Sampler(pictures, word_bits) for pictures in (training, held_out)]
    batches = [sampler.draw(np.random.default_rng([_SEED, word_bits]), 32, 64) for sampler in samplers]
    measured = [picture for picture in measured if 8 * picture.samples.dtype.itemsize == word_bits]
    small, uniform = ({w: bank.filters for w, bank in banks[start].items()} for start in ("small", "uniform"))
    sources: dict[str, Source] = {
        "identity": Identity(),
        SMALL: Small(),
        KEY: Uniform(),
        ODD: Uniform(odd_taps=True),
        "trained bank, keyed": Keyed(small),
        "trained bank, keyed without multiplier": Keyed(small, multiply=False),
        "bank started uniform, keyed without multiplier": Keyed(uniform, multiply=False),
    }
    found = [
        _row(kind, batches, *_turns(source, 2 * N_NETWORKS, word_bits), _covers(source, word_bits, measured))
        for kind, source in sources.items()
    ]
    nothing = (float("nan"), float("nan"))
    for start in ("small", "uniform"):
        bank = banks[start][word_bits]
        relaxed = torch.from_numpy(bank.relaxed)
        taps, mixes = relaxed[:, : const.TAPS], relaxed[:, const.TAPS :]
        name = f"trained from {start} weights"
        found.append(_row(f"{name}: real numbers", batches, taps, mixes, nothing))
        found.append(_row(f"{name}: the same, rounded", batches, *quantise(taps, mixes, word_bits), nothing))
        found.append(_row(f"{name}: trained on, rounded", batches, *in_turns(bank.filters, word_bits), nothing))
    choosing = samplers[0].draw(np.random.default_rng([_SEED + 1, word_bits]), 32, 64)
    return [*found, _row(BEST, batches, *_best(choosing, word_bits), nothing)]


def floor(sampler: Sampler, word_bits: int) -> float:
    """Return the total loss of a random function of what the network and the target give: equal inputs stay equal."""
    batch = sampler.draw(np.random.default_rng([_SEED, word_bits]), 32, 64)
    windows, changed, target = neighbourhoods(batch.source), neighbourhoods(batch.changed), batch.target[..., None]
    inputs = torch.cat([windows, target], -1)
    alone = _collisions(inputs[:, :, CENTRE])
    pairs = [_collisions(torch.cat([inputs[:, :, CENTRE], inputs[:, :, place]], -1)) for place in NEIGHBOURS]
    changes = [_collisions(torch.cat([windows[:, :, k], changed[:, :, k]], -1)) for k in range(const.TAPS)]
    return alone + float(np.mean(pairs)) + float(np.mean(changes))


def _row(kind: str, batches: list[Batch], taps: Tensor, mixes: Tensor, cover: tuple[float, float]) -> Row:
    training, held_out = (network_losses(batch, taps, mixes) for batch in batches)
    return Row(kind, training, held_out, *cover)


def _turns(source: Source, count: int, word_bits: int) -> tuple[Tensor, Tensor]:
    network = source(np.random.default_rng(_SEED), count, word_bits)
    mask = (1 << word_bits) - 1
    return in_turns(np.hstack([network.kernels[:, : const.TAPS], network.mixes]).astype(np.int64) & mask, word_bits)


def _best(batch: Batch, word_bits: int) -> tuple[Tensor, Tensor]:
    """The networks of uniformly random odd weights with the smallest losses on a batch."""
    taps, mixes = _turns(Uniform(odd_taps=True), 2 * N_CANDIDATES, word_bits)
    step = 2 * N_NETWORKS
    parts = [
        network_losses(batch, taps[start : start + step], mixes[start : start + step]).total
        for start in range(0, len(taps), step)
    ]
    chosen = torch.cat(parts).argsort()[:N_NETWORKS]
    places = torch.stack([2 * chosen, 2 * chosen + 1], dim=1).reshape(-1)
    return taps[places], mixes[places]


def _covers(source: Source, word_bits: int, pictures: list[Picture]) -> tuple[float, float]:
    """Mean entropy of the first round's network output over networks and images: of all but zeros, and of zeros."""
    network = source(np.random.default_rng(_SEED + 2), N_COVER * const.FILTERS, word_bits)
    kernels = network.kernels.reshape(N_COVER, const.FILTERS, -1)
    mixes = network.mixes.reshape(N_COVER, const.FILTERS, 2)
    schedule = Schedule((), b"", np.zeros(0, np.uint32), kernels, mixes)
    found: dict[bool, list[float]] = {False: [], True: []}
    for picture in pictures:
        samples = picture.samples
        geometry = Geometry.of(samples.size, samples.shape[1], word_bits)
        left = samples.reshape(-1)[: geometry.n_left]
        for index in range(N_COVER):
            output = reference.convolve(left, left.size, index, geometry, schedule)
            found[picture.name == "zero"].append(metric.entropy_bits(output))
    first, second = (float(np.mean(values)) if values else float("nan") for values in found.values())
    return first, second


def _collisions(inputs: Tensor) -> float:
    """Share of pairs of patches of one image with equal inputs; inputs (images, patches, values)."""
    shares = []
    for image in inputs.numpy():
        _, counts = np.unique(image, axis=0, return_counts=True)
        shares.append(float((counts * (counts - 1)).sum()) / (len(image) * (len(image) - 1)))
    return float(np.mean(shares))
