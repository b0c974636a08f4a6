"""What an attack found, and when that is more than guessing.

An attack returns an image; here it is compared with the true one. "Gained" is decided at five standard deviations, and
never by the attack itself. Two things count:

- the *share* of samples that are exactly right, against the share that an image with the same histogram would have by
  chance: the sum over values v of (how often the attack says v) * (how often v is true). Whoever always says the most
  frequent value gets exactly the share of that value, whoever says noise gets 2^-8. One-sided, exact binomial tail.
- the *correlation* with the true image, against 0. One-sided; for uncorrelated noise its deviation is 1 / sqrt(n).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, lgamma, log, log1p, log10, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

#: uint8 (rows, columns).
Image = npt.NDArray[np.uint8]

#: Encrypts an image under one key that the attacker does not know; whether two calls use the same tweak is up to it.
Oracle = Callable[[Image], Image]

SIGMAS: Final = 5.0
#: One-sided tail of the normal distribution beyond five standard deviations.
TAIL: Final = 2.866515719235352e-07


@dataclass(frozen=True, slots=True)
class AttackResult:
    """One attack on one cipher.

    Parameters
    ----------
    attack
        Name of the attack.
    setting
        What the attacker is given: "known plaintext", "chosen plaintext" ...
    recovered
        What came out, in a few words.
    share
        Share of the target's samples that the attack told exactly, 0 to 1.
    chance
        The share that guessing gives for as many samples (see the module), 0 to 1.
    psnr_db
        Peak signal-to-noise ratio of the recovered image in dB; infinite if it is exact.
    correlation
        Pearson's coefficient of recovered and true samples; 0 where one of them is constant.
    n_claimed
        Samples of the target that the attack made a statement about.
    n_images
        Known or chosen images that were used, the target not counted.
    seconds
        Time that the attack took, the oracle's encryptions included.
    gained
        Whether share or correlation are beyond chance by five standard deviations.
    """

    attack: str
    setting: str
    recovered: str
    share: float
    chance: float
    psnr_db: float
    correlation: float
    n_claimed: int
    n_images: int
    seconds: float
    gained: bool


def judge(
    attack: str,
    setting: str,
    recovered: str,
    found: Image,
    truth: Image,
    *,
    n_images: int,
    seconds: float,
    claimed: npt.NDArray[np.bool_] | None = None,
) -> AttackResult:
    """Compare what an attack says with what is true.

    Parameters
    ----------
    attack, setting, recovered, n_images, seconds
        As in `AttackResult`.
    found, truth
        The attack's image and the true one, of the same shape.
    claimed
        Samples that the attack says something about, of the same shape; None: all. Only these count for the share;
        the others are what the attacker fills in.
    """
    if found.shape != truth.shape:
        raise ValueError(f"found and truth must have one shape, got {found.shape} and {truth.shape}")
    told, right = (found, truth) if claimed is None else (found[claimed], truth[claimed])
    n_right = int(np.count_nonzero(told == right))
    # Against the histogram of the whole truth: to know where the background lies is a gain.
    chance = agreement_by_chance(told, truth)
    correlation = pearson(found, truth)
    gained = binomial_tail(n_right, told.size, chance) < TAIL or correlation * sqrt(truth.size) > SIGMAS
    return AttackResult(
        attack=attack,
        setting=setting,
        recovered=recovered,
        share=n_right / truth.size,
        chance=chance * told.size / truth.size,
        psnr_db=psnr_db(found, truth),
        correlation=correlation,
        n_claimed=told.size,
        n_images=n_images,
        seconds=seconds,
        gained=gained,
    )


def agreement_by_chance(first: Image, second: Image) -> float:
    """Return the share of equal samples of two images with these histograms and nothing else in common, 0 to 1."""
    if first.size == 0 or second.size == 0:
        return 0.0
    histograms = [np.bincount(image.reshape(-1), minlength=256).astype(np.int64) for image in (first, second)]
    return int(histograms[0] @ histograms[1]) / (first.size * second.size)


def binomial_tail(n_hits: int, n_trials: int, probability: float) -> float:
    """Return the probability of `n_hits` or more hits in `n_trials` independent trials."""
    if n_hits <= 0 or probability >= 1:
        return 1.0
    if probability <= 0:
        return 0.0
    if n_hits <= n_trials * probability:
        return 1.0  # below the mean; no tail of interest
    logs = [
        lgamma(n_trials + 1) - lgamma(k + 1) - lgamma(n_trials - k + 1) + k * log(probability)
        + (n_trials - k) * log1p(-probability)
        for k in range(n_hits, min(n_trials, n_hits + 2000) + 1)
    ]  # fmt: skip
    # Terms above the mean fall at least geometrically; those behind the first 2000 do not matter to a decision at 1e-7.
    return min(1.0, sum(exp(value) for value in logs))


def psnr_db(first: Image, second: Image) -> float:
    """Return the peak signal-to-noise ratio of 8-bit samples in dB; infinite for equal ones."""
    error = float(np.mean((first.astype(np.float64) - second) ** 2))
    return inf if error == 0 else 10 * log10(255**2 / error)


def pearson(first: Image, second: Image) -> float:
    """Return the correlation coefficient, -1 to 1; 0 if either is constant."""
    one, other = first.reshape(-1).astype(np.float64), second.reshape(-1).astype(np.float64)
    one, other = one - one.mean(), other - other.mean()
    norm = sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / norm if norm > 0 else 0.0
