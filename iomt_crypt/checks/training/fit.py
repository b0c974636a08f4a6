"""Training of the network, the same for the same images, recipe and seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from iomt_crypt.checks.card import CARD, WEIGHTS, Card, is_sound
from iomt_crypt.checks.channel import channels_of
from iomt_crypt.checks.network import SMALLEST_DEVIATION, Network
from iomt_crypt.checks.patch import SIDES
from iomt_crypt.checks.training.bank import Bank, noise
from iomt_crypt.checks.training.corpus import Plain
from iomt_crypt.checks.training.evaluation import Track
from iomt_crypt.checks.training.recipe import Recipe
from iomt_crypt.durable import appearing_file
from iomt_crypt.errors import ConfigurationError

_CHUNK = 256
_PIECES = 16  # of a frame for the limit: most frames have fewer
_CALIBRATION = 1  # a stream of random numbers of its own


@dataclass(frozen=True)
class Trained:
    """What comes out: the network as safetensors, and its card."""

    weights: bytes
    card: Card


def train(plains: Sequence[Plain], recipe: Recipe, seed: int, track: Track, about: dict[str, Any]) -> Trained:
    """Train on ``plains`` and set the limit by noise alone.

    Parameters
    ----------
    track
        Given a sequence and a label, yields the sequence; a place for a progress bar.
    about
        For the card.

    Raises
    ------
    InputError
        There is no image to train on.
    ConfigurationError
        What comes out is no network: its numbers are not finite.
    """
    rng = np.random.default_rng(seed)
    with _deterministic(recipe.n_threads, seed):
        network = Network(channels=recipe.channels, pooling=recipe.pooling)
        bank = Bank(plains, recipe, rng, track)
        _optimise(network, bank, recipe, track)
        network.eval()
        with torch.inference_mode():
            limits = _calibrate(network, recipe, np.random.default_rng([seed, _CALIBRATION]), track)
        weights = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    about = {**about, "seed": seed, "recipe": recipe.to_dict(), "pieces": bank.n_pieces}
    card = Card(digest, recipe.channels, recipe.pooling, *limits, 0.5, about)
    if not is_sound(card):
        raise ConfigurationError(
            f"the training came to no finite numbers: rate {recipe.rate:g}, steps {recipe.steps}",
            hint="the recipe's rate is too high, most likely",
        )
    return Trained(weights, card)


def write(trained: Trained, folder: Path) -> None:
    """Write weights and card.

    Raises
    ------
    StorageError
        One of them exists, or cannot be written.
    """
    with appearing_file(folder / WEIGHTS, folders=True, hint="name another folder") as file:
        file.write(trained.weights)
    trained.card.write(folder / CARD)


class _deterministic:  # noqa: N801 - used as a function
    """Settings of torch for as long as it trains."""

    def __init__(self, n_threads: int, seed: int) -> None:
        self._before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state()
        self._n_threads, self._seed = n_threads, seed

    def __enter__(self) -> None:
        torch.manual_seed(self._seed)
        torch.set_num_threads(self._n_threads)
        torch.use_deterministic_algorithms(True)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before[0])
        torch.use_deterministic_algorithms(self._before[1])
        torch.set_rng_state(self._before[2])


def _optimise(network: Network, bank: Bank, recipe: Recipe, track: Track) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=recipe.rate, total_steps=recipe.steps)
    for step in track(range(recipe.steps), "training"):
        row = step % len(SIDES)
        side, n = SIDES[row], recipe.batch[row] // 2
        features = network.features(channels_of(np.concatenate([bank.good(n, side), bank.bad(n, side)])))
        # The noise of this very step is the measure, as in batch normalisation: filters change with every step.
        mean, deviation = features[:n].mean(0), features[:n].std(0).clamp(min=SMALLEST_DEVIATION)
        plainness = network.plainness((features - mean) / deviation)
        labels = torch.arange(2 * n) >= n
        loss = functional.binary_cross_entropy_with_logits(plainness, labels.to(plainness.dtype))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def _calibrate(
    network: Network, recipe: Recipe, rng: np.random.Generator, track: Track
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure noise exactly, then find the plainness that so few noise images exceed, and the slope there."""
    limits = []
    for side in SIDES:
        chunks = range(-(-recipe.noise_pieces // _CHUNK))
        found = [network.features(channels_of(noise(_CHUNK, side, rng))) for _ in track(chunks, f"noise, side {side}")]
        features = torch.cat(found)
        network.measure_noise(features, side)
        limits.append(_limit(_frame_scores(network, network.deviations(features, side)), recipe.false_alarms))
    offsets, scales = zip(*limits, strict=True)
    return offsets, scales


def _frame_scores(network: Network, deviations: Tensor) -> npt.NDArray[np.float64]:
    """Plainness of noise frames, of `_PIECES` pieces each, as the classifier has it."""
    frames = deviations[: len(deviations) // _PIECES * _PIECES].reshape(-1, _PIECES, deviations.shape[1])
    together = network.plainness(frames.mean(1) * math.sqrt(_PIECES))
    pieces = network.plainness(deviations)[: frames.shape[0] * _PIECES].reshape(-1, _PIECES)
    return torch.maximum(pieces.max(1).values, together).numpy().astype(np.float64)


def _limit(scores: npt.NDArray[np.float64], share: float) -> tuple[float, float]:
    """The score that ``share`` of frames exceed, and the mean excess there.

    The tail of a sum of squares falls exponentially, and is followed from its last twentieth on.
    """
    start = float(np.quantile(scores, 0.95))
    slope = 1e-6
    with suppress(ValueError):
        slope = max(slope, float(np.mean(scores[scores > start] - start)))
    return start + slope * math.log(0.05 / share), slope
