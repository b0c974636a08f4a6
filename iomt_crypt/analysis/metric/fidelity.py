"""How far an image is from the plain one: MSE, PSNR, UACI and SSIM, against what noise without relation would show.

The expectations take the plain image as it is and the other one as uniform: there is no "the larger the better", but
one value for each plain image. The peak is the largest word of the cell, for plain and cipher image alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from iomt_crypt.analysis.metric.difference import uaci_percent
from iomt_crypt.analysis.metric.law import student_quantile
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, check_alpha, check_image, word_bits_of

#: Sides that the Gaussian window of SSIM needs, and the largest region that is compared.
MINIMUM_SSIM_SIDE = 11
_MAXIMUM_SSIM_SIDE = 1024
_SSIM_REFERENCES = 12


@dataclass(frozen=True, slots=True)
class _Law:
    """Mean of a statistic over uniform images, and the deviation of its mean over all samples."""

    mean: float
    deviation: float


def mean_squared_error(first: Samples, second: Samples) -> float:
    """Return the mean of the squared differences, in squared words.

    Raises
    ------
    ValueError
        Shapes or dtypes differ, or there are no samples.
    """
    if first.shape != second.shape or first.dtype != second.dtype or first.size == 0:
        raise ValueError(
            f"images must have one shape and dtype and samples, got {first.shape} {first.dtype} and {second.shape} "
            f"{second.dtype}"
        )
    difference = first.reshape(-1).astype(np.float64) - second.reshape(-1)
    return float((difference * difference).mean())


def psnr_db(first: Samples, second: Samples) -> float:
    """Return the peak signal-to-noise ratio in dB, with the largest word of the cell as peak; infinite if equal."""
    return _decibels(mean_squared_error(first, second), first)


def squared_error(plain: Samples, other: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure the MSE, against that of this plain image and uniform noise."""
    law, reach = _squared_law(plain), NormalDist().inv_cdf(1 - alpha / 2)
    note = f"{plain.size} words of {word_bits_of(plain)} bits; expectation for this very plain image"
    lower, upper = law.mean - reach * law.deviation, law.mean + reach * law.deviation
    return Measurement("MSE", mean_squared_error(plain, other), law.mean, lower, upper, alpha, "", "", note)


def signal_to_noise(plain: Samples, other: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure the PSNR, against that of this plain image and uniform noise."""
    error = squared_error(plain, other, alpha=alpha)
    lower, ideal, upper = (_decibels(bound or 0.0, plain) for bound in (error.upper, error.ideal, error.lower))
    note = f"peak {np.iinfo(plain.dtype).max}; expectation for this very plain image"
    return Measurement("PSNR", _decibels(error.value, plain), ideal, lower, upper, alpha, "dB", "", note)


def mean_difference(plain: Samples, other: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure UACI of two images of which only `other` should be noise, against this plain image's expectation."""
    check_alpha(alpha)
    largest = np.iinfo(plain.dtype).max
    law, reach = _absolute_law(plain), NormalDist().inv_cdf(1 - alpha / 2)
    lower, ideal, upper = (100 * (law.mean + k * law.deviation) / largest for k in (-reach, 0, reach))
    note = "expectation for this very plain image"
    value = uaci_percent(plain, other)
    return Measurement("UACI", value, ideal, lower, upper, alpha, "%", "after Wu, Noonan, Agaian 2011", note)


def ssim(first: Samples, second: Samples) -> float:
    """Return the mean structural similarity of two planes, -1 to 1, over their whole area.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli: Image quality assessment: from error visibility to structural
    similarity. IEEE Transactions on Image Processing 13, 2004. Gaussian window and constants of the paper, data range
    of the cell; scikit-image computes.

    Parameters
    ----------
    first, second
        uint8 or uint16 (rows, columns), both sides 11 or more.
    """
    # Importing scikit-image takes a second.
    from skimage.metrics import structural_similarity

    compare: Any = structural_similarity
    return float(
        compare(
            first,
            second,
            data_range=int(np.iinfo(first.dtype).max),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def similarity(plain: Samples, other: Samples, *, rng: np.random.Generator, alpha: float = 0.05) -> Measurement:
    """Measure SSIM, against the same plain plane and 12 planes of uniform noise (there is no closed form).

    Parameters
    ----------
    plain, other
        uint8 or uint16 (rows, columns). Of larger planes the middle 1024 x 1024 are compared.
    rng
        Draws the noise.
    """
    check_alpha(alpha)
    name, reference = "SSIM", "Wang et al. 2004"
    if plain.ndim != 2 or min(plain.shape) < MINIMUM_SSIM_SIDE:
        note = f"not defined: a side is below {MINIMUM_SSIM_SIDE} samples"
        return Measurement(name, nan, None, None, None, alpha, "", reference, note)
    plain, other = _middle(plain), _middle(other)
    largest = int(np.iinfo(plain.dtype).max)
    noise = (rng.integers(0, largest, plain.shape, plain.dtype, endpoint=True) for _ in range(_SSIM_REFERENCES))
    found = np.array([ssim(plain, image) for image in noise])
    reach = student_quantile(1 - alpha / 2, found.size - 1) * float(found.std(ddof=1)) * sqrt(1 + 1 / found.size)
    mean = float(found.mean())
    note = f"middle {plain.shape[0]} x {plain.shape[1]}; expectation from {_SSIM_REFERENCES} images of uniform noise"
    return Measurement(name, ssim(plain, other), mean, mean - reach, mean + reach, alpha, "", reference, note)


def _middle(plane: Samples) -> Samples:
    cut = [max(0, side - _MAXIMUM_SSIM_SIDE) // 2 for side in plane.shape]
    return plane[cut[0] : cut[0] + _MAXIMUM_SSIM_SIDE, cut[1] : cut[1] + _MAXIMUM_SSIM_SIDE]


def _squared_law(plain: Samples) -> _Law:
    """Of (U - p)^2 for uniform U: moments about the middle of the cell, where U has no odd ones."""
    check_image(plain)
    n_values = float(np.iinfo(plain.dtype).max) + 1
    second = (n_values**2 - 1) / 12
    fourth = (n_values**2 - 1) * (3 * n_values**2 - 7) / 240
    offset = (plain.reshape(-1).astype(np.float64) - (n_values - 1) / 2) ** 2
    mean = second + float(offset.mean())
    variance = fourth - second**2 + 4 * second * float(offset.mean())
    return _Law(mean, sqrt(variance / plain.size))


def _absolute_law(plain: Samples) -> _Law:
    """Of |U - p| for uniform U."""
    check_image(plain)
    largest = float(np.iinfo(plain.dtype).max)
    value = plain.reshape(-1).astype(np.float64)
    below, above = value, largest - value
    mean = (below * (below + 1) + above * (above + 1)) / (2 * (largest + 1))
    square = (largest * (largest + 2)) / 12 + (value - largest / 2) ** 2
    return _Law(float(mean.mean()), sqrt(float((square - mean**2).mean()) / plain.size))


def _decibels(error: float, image: Samples) -> float:
    peak = float(np.iinfo(image.dtype).max)
    return 10 * log10(peak * peak / error) if error > 0 else inf
