"""Shannon entropy of a whole image and of blocks of it, against what a finite image of an ideal cipher shows.

n words drawn from k = 2^b values never show b bits, because no sample is perfectly flat: the expectation for a 16-bit
image of 512 x 512 is 15.808. Expectation: exact. Variance: counts as independent Poisson variables, given their sum
(L. Holst, Asymptotic normality and efficiency for certain goodness-of-fit tests, Biometrika 59, 1972). Shape: gamma,
which for large n/k is the chi-square law of 2 n ln(2) (b - H). The usual correction of G. Miller (1955),
(k - 1) / (2 n ln 2), is its limit for n >> k.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, sqrt

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.metric.law import binomial_weights, gamma_quantile, poisson_quantile, poisson_weights
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, check_alpha, check_image

#: Words for which `entropy_range` holds its level: tested against simulated ideal images from here on.
MINIMUM_SAMPLES = 1024
#: Blocks of the local entropy: 30 of 44 x 44, as recommended in the paper.
LOCAL_BLOCKS = 30
LOCAL_SIDE = 44
#: Below this many expected pairs of equal words, entropy is a count of pairs.
_FEW_PAIRS = 10.0


@dataclass(frozen=True, slots=True)
class IdealEntropy:
    """Expectation and standard deviation of the entropy of n uniform words, in bits."""

    mean: float
    deviation: float


def entropy_bits(image: Samples) -> float:
    """Return the Shannon entropy of the words, over the values that occur: 0 to the bits of a cell.

    Parameters
    ----------
    image
        uint8 or uint16, any shape, 1 sample or more.
    """
    counts = np.bincount(image.reshape(-1), minlength=1 << check_image(image))
    counts = counts[counts > 0].astype(np.float64)
    return float(log2(image.size) - (counts * np.log2(counts)).sum() / image.size)


def ideal_entropy(n_samples: int, word_bits: int) -> IdealEntropy:
    """Return mean and deviation of the entropy of `n_samples` independent uniform words.

    The mean is exact: E[H] = log2(n) - E[log2(1 + C)], with C binomial over n - 1 draws of probability 2^-b.

    Raises
    ------
    ValueError
        n_samples or word_bits is below 1.
    """
    if n_samples < 1 or word_bits < 1:
        raise ValueError(f"n_samples and word_bits must be 1 or more, got {n_samples}, {word_bits}")
    n_values = 1 << word_bits
    rate = n_samples / n_values
    counts = np.arange(max(0, int(rate - 12 * sqrt(rate) - 30)), int(rate + 12 * sqrt(rate) + 60), dtype=np.float64)
    others = binomial_weights(counts, n_samples - 1, 1 / n_values)
    mean = log2(n_samples) - float((others * np.log2(1 + counts)).sum())
    # What is left of c log2(c) behind its regression on c: the sum of all counts is fixed.
    share = poisson_weights(counts, rate)
    term = _c_log_c(counts)
    centred = counts - rate
    slope = float((share * term * centred).sum()) / rate
    rest = term - float((share * term).sum()) - slope * centred
    variance = (n_values - 1) * float((share * rest**2).sum()) / n_samples**2
    return IdealEntropy(mean, sqrt(max(0.0, variance)))


def entropy_range(n_samples: int, word_bits: int, *, alpha: float = 0.05, n_blocks: int = 1) -> tuple[float, float]:
    """Return bounds that the entropy of an ideal image keeps with probability 1 - alpha, two-sided.

    Parameters
    ----------
    n_samples
        Words of each block, 1024 or more for the level to hold.
    n_blocks
        The bounds are those of the mean over so many independent blocks.
    """
    check_alpha(alpha)
    expected_pairs = n_samples * (n_samples - 1) / 2 ** (word_bits + 1) * n_blocks
    if expected_pairs <= _FEW_PAIRS:
        # Each pair of equal words takes 2/n bits; three of a kind are rarer still.
        few, many = (poisson_quantile(level, expected_pairs) for level in (alpha / 2, 1 - alpha / 2))
        full, step = log2(n_samples), 2 / (n_samples * n_blocks)
        # Half a step of room, or a value that lies on a bound would fail by its last bit.
        return full - (many + 0.5) * step, full - (few - 0.5) * step
    ideal = ideal_entropy(n_samples, word_bits)
    deficit = word_bits - ideal.mean
    variance = ideal.deviation**2 / n_blocks
    shape, scale = deficit**2 / variance, variance / deficit
    high, low = (word_bits - scale * gamma_quantile(level, shape) for level in (alpha / 2, 1 - alpha / 2))
    return low, high


def global_entropy(image: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure the entropy of all words of an image.

    Raises
    ------
    ValueError
        Fewer than 1024 samples.
    """
    word_bits = check_image(image, MINIMUM_SAMPLES)
    lower, upper = entropy_range(image.size, word_bits, alpha=alpha)
    return Measurement(
        "Shannon entropy, global",
        entropy_bits(image),
        ideal_entropy(image.size, word_bits).mean,
        lower,
        upper,
        alpha,
        unit="bit",
        reference="Shannon 1948; Miller 1955; exact expectation",
        note=f"{image.size} words of {word_bits} bits",
    )


def local_entropy(plane: Samples, *, rng: np.random.Generator, alpha: float = 0.05) -> Measurement:
    """Measure the mean entropy of random blocks of 44 x 44 words that do not overlap.

    Y. Wu, Y. Zhou, G. Saveriades, S. Agaian, J. P. Noonan, P. Natarajan: Local Shannon entropy measure with statistical
    tests for image randomness. Information Sciences 222, 2013, pp. 323-342. Critical values for this word size.

    Parameters
    ----------
    plane
        uint8 or uint16 (rows, columns), with room for one block at least. 30 blocks are taken, or as many as fit.
    rng
        Chooses the blocks: cells of a grid whose origin is random as well.

    Raises
    ------
    ValueError
        The plane is not two-dimensional, or a side is below 44.
    """
    word_bits = check_image(plane)
    blocks = _random_blocks(plane, rng)
    n_words = LOCAL_SIDE * LOCAL_SIDE
    lower, upper = entropy_range(n_words, word_bits, alpha=alpha, n_blocks=len(blocks))
    return Measurement(
        "Shannon entropy, local",
        float(np.mean([entropy_bits(block) for block in blocks])),
        ideal_entropy(n_words, word_bits).mean,
        lower,
        upper,
        alpha,
        unit="bit",
        reference="Wu et al. 2013",
        note=f"mean of {len(blocks)} blocks of {LOCAL_SIDE} x {LOCAL_SIDE} words of {word_bits} bits",
    )


def _random_blocks(plane: Samples, rng: np.random.Generator) -> list[Samples]:
    if plane.ndim != 2 or min(plane.shape) < LOCAL_SIDE:
        raise ValueError(f"the plane must have two dimensions of {LOCAL_SIDE} or more, got {plane.shape}")
    n_down, n_across = (side // LOCAL_SIDE for side in plane.shape)
    top, left = (int(rng.integers(side % LOCAL_SIDE + 1)) for side in plane.shape)
    chosen = rng.permutation(n_down * n_across)[:LOCAL_BLOCKS]
    corners = [(top + LOCAL_SIDE * int(c // n_across), left + LOCAL_SIDE * int(c % n_across)) for c in chosen]
    return [plane[row : row + LOCAL_SIDE, column : column + LOCAL_SIDE] for row, column in corners]


def _c_log_c(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return counts * np.log2(np.maximum(counts, 1))
