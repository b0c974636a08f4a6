"""What one changed bit does: of the plain image, of the key that encrypts, of the key that decrypts.

Each trial has its own random key and nonce, so trials are independent and their counts binomial. The keys come from
the generator that is passed in: they are for measuring only.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.metric.difference import (
    critical_range,
    ideal_npcr_percent,
    ideal_uaci_percent,
    npcr_level,
    npcr_percent,
    uaci_deviation_percent,
    uaci_percent,
)
from iomt_crypt.analysis.metric.law import binomial_quantile
from iomt_crypt.analysis.metric.measurement import Measurement, Samples, Transform, check_alpha, check_image

KEY_BYTES = 32
NONCE_BYTES = 12
_WU = "Wu, Noonan, Agaian 2011"
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


@dataclass(frozen=True, slots=True)
class Trials:
    """Pairs of images that one changed bit separates: what they differ by, one value for each trial.

    Parameters
    ----------
    n_samples, word_bits
        Of each image.
    npcr, uaci
        float64 (trials,), percent.
    flipped
        float64 (trials,): share of the bits that differ, 0 to 1.
    """

    n_samples: int
    word_bits: int
    npcr: npt.NDArray[np.float64]
    uaci: npt.NDArray[np.float64]
    flipped: npt.NDArray[np.float64]

    def measurements(self, *, alpha: float = 0.05) -> list[Measurement]:
        """Means without bias, shares within Wu's ranges, and the avalanche."""
        return [
            self._mean_npcr(alpha),
            self._inside_npcr(alpha),
            self._mean_uaci(alpha),
            self._inside_uaci(alpha),
            self.avalanche(alpha=alpha),
        ]

    def inside(self, *, alpha: float = 0.05) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return for each trial whether NPCR is above its exact bound, and whether UACI is in its range."""
        limits = critical_range(self.n_samples, self.word_bits, alpha=alpha, exact=True)
        return self.npcr >= limits.npcr_minimum, (self.uaci >= limits.uaci_minimum) & (self.uaci <= limits.uaci_maximum)

    def avalanche(self, *, alpha: float = 0.05) -> Measurement:
        """Measure the mean share of flipped bits (avalanche effect, Feistel 1973), binomial about a half."""
        check_alpha(alpha)
        n_bits = self.n_samples * self.word_bits * self.flipped.size
        reach = 100 * NormalDist().inv_cdf(1 - alpha / 2) / 2 / sqrt(n_bits)
        low, high = 100 * self.flipped.min(), 100 * self.flipped.max()
        note = f"{self.flipped.size} trials, single ones from {low:.4f} to {high:.4f} %"
        value = 100 * float(self.flipped.mean())
        return Measurement("Flipped bits", value, 50.0, 50 - reach, 50 + reach, alpha, "%", "Feistel 1973", note)

    def _mean_npcr(self, alpha: float) -> Measurement:
        total = self.n_samples * self.npcr.size
        few, many = (binomial_quantile(q, total, 0.5**self.word_bits) for q in (alpha / 2, 1 - alpha / 2))
        # Sums of equal samples are whole numbers; half a sample of room keeps a bound from failing by rounding.
        lower, upper = 100 - 100 * (many + 0.5) / total, 100 - 100 * (few - 0.5) / total
        ideal, note = ideal_npcr_percent(self.word_bits), f"{self.npcr.size} trials; exact binomial, two-sided"
        return Measurement("NPCR, mean", float(self.npcr.mean()), ideal, lower, upper, alpha, "%", _WU, note)

    def _mean_uaci(self, alpha: float) -> Measurement:
        ideal = ideal_uaci_percent(self.word_bits)
        reach = NormalDist().inv_cdf(1 - alpha / 2) * uaci_deviation_percent(self.n_samples, self.word_bits)
        reach /= sqrt(self.uaci.size)
        note = f"{self.uaci.size} trials; normal, two-sided"
        value = float(self.uaci.mean())
        return Measurement("UACI, mean", value, ideal, ideal - reach, ideal + reach, alpha, "%", _WU, note)

    def _inside_npcr(self, alpha: float) -> Measurement:
        level = npcr_level(self.n_samples, self.word_bits, alpha=alpha)
        bound = critical_range(self.n_samples, self.word_bits, alpha=alpha, exact=True).npcr_minimum
        return _share("NPCR within its bound", self.inside(alpha=alpha)[0], level, alpha, f"at least {bound:.5f} %")

    def _inside_uaci(self, alpha: float) -> Measurement:
        limits = critical_range(self.n_samples, self.word_bits, alpha=alpha)
        text = f"from {limits.uaci_minimum:.4f} to {limits.uaci_maximum:.4f} %"
        return _share("UACI within its range", self.inside(alpha=alpha)[1], 1 - alpha, alpha, text)


def plain_trials(encrypt: Transform, image: Samples, *, n_trials: int, rng: np.random.Generator) -> Trials:
    """Encrypt the image and the image with one flipped bit, both under one key and nonce; new ones for each trial.

    The bit is any of any sample: the smallest change there is (the differential attack's).
    """
    word_bits = check_image(image)
    changed = image.copy()
    flat = changed.reshape(-1)
    pairs = _Pairs(image.size, word_bits)
    for _ in range(n_trials):
        key, nonce = rng.bytes(KEY_BYTES), rng.bytes(NONCE_BYTES)
        position, bit = int(rng.integers(image.size)), flat.dtype.type(1 << int(rng.integers(word_bits)))
        flat[position] ^= bit
        pairs.add(encrypt(image, key, nonce), encrypt(changed, key, nonce))
        flat[position] ^= bit
    return pairs.trials()


def key_trials(encrypt: Transform, image: Samples, *, n_trials: int, rng: np.random.Generator) -> Trials:
    """Encrypt the image under a key and under the key with one flipped bit, with one nonce; new ones for each trial."""
    pairs = _Pairs(image.size, check_image(image))
    for _ in range(n_trials):
        key, nonce = rng.bytes(KEY_BYTES), rng.bytes(NONCE_BYTES)
        pairs.add(encrypt(image, key, nonce), encrypt(image, flip_key_bit(key, rng), nonce))
    return pairs.trials()


def wrong_key_image(
    encrypt: Transform, decrypt: Transform, image: Samples, *, rng: np.random.Generator
) -> tuple[Samples, Samples]:
    """Return the cipher image, and what a key with one flipped bit decrypts it to."""
    key, nonce = rng.bytes(KEY_BYTES), rng.bytes(NONCE_BYTES)
    encrypted = encrypt(image, key, nonce)
    return encrypted, decrypt(encrypted, flip_key_bit(key, rng), nonce)


def flip_key_bit(key: bytes, rng: np.random.Generator) -> bytes:
    """Return `key` with one randomly chosen bit flipped."""
    bit = int(rng.integers(8 * len(key)))
    return (int.from_bytes(key, "little") ^ 1 << bit).to_bytes(len(key), "little")


def flipped_share(first: Samples, second: Samples) -> float:
    """Return the share of the bits of two images of one shape and dtype that differ, 0 to 1."""
    different = np.ascontiguousarray(first ^ second).reshape(-1).view(np.uint8)
    return int(_ONES[different].sum(dtype=np.int64)) / (8 * different.size)


class _Pairs:
    """Collects what pairs of images differ by."""

    def __init__(self, n_samples: int, word_bits: int) -> None:
        self._size = n_samples, word_bits
        self._rows: list[tuple[float, float, float]] = []

    def add(self, first: Samples, second: Samples) -> None:
        self._rows.append((npcr_percent(first, second), uaci_percent(first, second), flipped_share(first, second)))

    def trials(self) -> Trials:
        if not self._rows:
            raise ValueError("n_trials must be 1 or more")
        npcr, uaci, flipped = np.array(self._rows, np.float64).T
        return Trials(*self._size, npcr, uaci, flipped)


def _share(name: str, inside: npt.NDArray[np.bool_], level: float, alpha: float, bound: str) -> Measurement:
    """A share of trials that succeed with probability `level`, against its lower binomial bound."""
    lower = 100 * binomial_quantile(alpha, inside.size, level) / inside.size
    note = f"{np.count_nonzero(inside)} of {inside.size} trials {bound}; one-sided"
    value = 100 * int(np.count_nonzero(inside)) / inside.size
    return Measurement(name, value, 100 * level, lower, None, alpha, "%", _WU, note)
