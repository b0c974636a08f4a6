"""Is the histogram of a cipher image flat? Pearson's chi-square, with bins that hold enough words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.metric.law import chi_square_quantile, chi_square_tail
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, check_alpha, check_image

#: Expected words of a bin below which the chi-square law is not to be trusted (W. G. Cochran, 1954).
MINIMUM_EXPECTED = 5


def histogram(image: Samples, *, n_bins: int | None = None) -> npt.NDArray[np.int64]:
    """Return how many words fall into each of `n_bins` equal ranges of the cell; None: one for each value.

    Raises
    ------
    ValueError
        n_bins is not a power of two from 1 to 2^8 or 2^16.
    """
    word_bits = check_image(image, 0)
    bins = n_bins if n_bins is not None else 1 << word_bits
    if not 1 <= bins <= 1 << word_bits or bins & (bins - 1):
        raise ValueError(f"n_bins must be a power of two up to {1 << word_bits}, got {n_bins}")
    shift = word_bits + 1 - bins.bit_length()
    return np.bincount(image.reshape(-1) >> shift, minlength=bins)


def fold(image: Samples) -> tuple[Samples, int, str]:
    """Choose the bins for an image: words with 5 or more expected in each bin.

    Returns
    -------
    words, n_bins, description
        One bin for each value where n / 2^b >= 5. Where there are fewer, 16-bit words become their bytes (both bytes of
        a uniform word are uniform and independent), and bytes keep only as many top bits as it takes.
    """
    word_bits = check_image(image, MINIMUM_EXPECTED * 2)
    words = image.reshape(-1)
    if words.size >= MINIMUM_EXPECTED << word_bits:
        return words, 1 << word_bits, f"{1 << word_bits} values of {word_bits}-bit words"
    what = "values of bytes"
    if word_bits == 16:
        words = np.ascontiguousarray(words).view(np.uint8)
        what = "values of bytes (16-bit words taken as two bytes each: fewer than 5 words for each value)"
    n_bins = min(256, 1 << (words.size // MINIMUM_EXPECTED).bit_length() - 1)
    if n_bins < 256:
        what = f"ranges of bytes (too few for all 256 values{'; 16-bit words as two bytes' if word_bits == 16 else ''})"
    return words, n_bins, f"{n_bins} {what}"


def chi_square(image: Samples, *, alpha: float = 0.05) -> Measurement:
    """Measure how far the histogram is from flat, against the upper quantile of chi-square.

    Parameters
    ----------
    image
        uint8 or uint16, any shape, 10 samples or more. How the words are binned, see `fold`; the note says it.

    Raises
    ------
    ValueError
        There are fewer than 10 samples.
    """
    check_alpha(alpha)
    words, n_bins, description = fold(image)
    expected = words.size / n_bins
    counts = histogram(words, n_bins=n_bins)
    value = float(((counts - expected) ** 2).sum() / expected)
    freedom = n_bins - 1
    return Measurement(
        "Histogram, chi-square",
        value,
        float(freedom),
        None,
        chi_square_quantile(1 - alpha, freedom),
        alpha,
        reference="Pearson 1900; Cochran 1954",
        note=f"{description}; {freedom} degrees of freedom; one-sided; P = {chi_square_tail(value, freedom):.4f}",
    )
