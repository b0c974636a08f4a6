"""What the tables show of one variant under one key on one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from math import sqrt
from statistics import NormalDist
from typing import Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.ablation.picture import Picture
from iomt_crypt.analysis import metric
from iomt_crypt.cipher.constant import Samples

#: Trials at random places of random bits, in the direction of encryption and in that of decryption.
N_PLAIN = 4
N_CIPHER = 2
ALPHA = 0.05


class Cipher(Protocol):
    """A variant under one key, or what it is compared with."""

    def encrypt(self, samples: Samples) -> Samples:
        """Return the cipher samples."""
        ...

    def decrypt(self, samples: Samples) -> Samples:
        """Undo `encrypt`."""
        ...

    def reach(self, start: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Say which samples of the cipher image could depend on the marked ones."""
        ...


class Make(Protocol):
    """Makes the cipher of a key for frames like `samples`."""

    def __call__(self, key: bytes, samples: Samples) -> Cipher: ...


@dataclass(frozen=True, slots=True)
class Record:
    """One variant, key and image. Shares are from 0 to 1.

    Parameters
    ----------
    plain, plain_edge
        Trials that pass both NPCR and UACI after one bit of one sample has changed: at random, and the lowest bit of
        the first and of the last sample of each half.
    cipher, cipher_edge
        The same when a random cipher image is changed and decrypted.
    flipped
        Bits of the cipher image that a random changed bit flips.
    reached
        The same among the samples that could depend on the changed one.
    reached_low
        The same of their lowest bits, to which no carry comes.
    worst_bit
        Of the bits of a word, how far the one furthest from one half is from it, over the random trials.
    entropy_deficit
        Bits of entropy that the cipher image has less than the expectation for random words.
    flat, uncorrelated
        Whether chi-square of the histogram, and all three correlations of neighbours, are within their limits.
    correlation
        The largest absolute correlation of neighbours; 1 for a constant image.
    key_change
        Whether NPCR and UACI pass after one bit of the key has changed, and decryption with the changed key is not
        correlated with the image.
    """

    plain: float
    plain_edge: float
    cipher: float
    cipher_edge: float
    flipped: float
    reached: float
    reached_low: float
    worst_bit: float
    entropy_deficit: float
    flat: float
    uncorrelated: float
    correlation: float
    key_change: float


METRICS = tuple(field.name for field in fields(Record))


def measure(make: Make, key: bytes, picture: Picture, rng: np.random.Generator) -> Record:
    """Measure a variant under one key on one image; `rng` chooses places, bits and the changed bit of the key."""
    samples = picture.samples
    cipher = make(key, samples)
    encrypted = cipher.encrypt(samples)
    changes = list(_random_changes(samples, N_PLAIN, rng))
    outputs = [cipher.encrypt(changed) for changed, _ in changes]
    edges = [cipher.encrypt(changed) for changed in _edge_changes(samples)]
    # Of a random image, because what it decrypts to must be random itself for UACI to mean anything.
    noise = rng.integers(1 << 8 * samples.dtype.itemsize, size=samples.shape).astype(samples.dtype)
    decrypted = cipher.decrypt(noise)
    plains = [cipher.decrypt(changed) for changed, _ in _random_changes(noise, N_CIPHER, rng)]
    plain_edges = [cipher.decrypt(changed) for changed in _edge_changes(noise)]
    reached, reached_low = _reached(cipher, encrypted, outputs, changes)
    other = make(metric.flip_key_bit(key, rng), samples)
    correlations = [_correlation(encrypted, direction) for direction in metric.DIRECTIONS]
    return Record(
        plain=_share_passing(encrypted, outputs),
        plain_edge=_share_passing(encrypted, edges),
        cipher=_share_passing(decrypted, plains),
        cipher_edge=_share_passing(decrypted, plain_edges),
        flipped=float(np.mean([metric.flipped_share(encrypted, output) for output in outputs])),
        reached=reached,
        reached_low=reached_low,
        worst_bit=_worst_bit(encrypted, outputs),
        entropy_deficit=_entropy_deficit(encrypted),
        flat=float(bool(metric.chi_square(encrypted, alpha=ALPHA).passed)),
        uncorrelated=float(max(correlations) <= _correlation_limit(encrypted)),
        correlation=max(correlations),
        key_change=_key_change(samples, encrypted, other),
    )


def _random_changes(samples: Samples, count: int, rng: np.random.Generator) -> Iterator[tuple[Samples, int]]:
    """Flip a random bit of a random sample; with the place."""
    for _ in range(count):
        place = int(rng.integers(samples.size))
        yield _flip(samples, place, int(rng.integers(8 * samples.dtype.itemsize))), place


def _edge_changes(samples: Samples) -> Iterator[Samples]:
    half = samples.size // 2
    for place in (0, half - 1, half, samples.size - 1):
        yield _flip(samples, place, 0)


def _flip(samples: Samples, place: int, bit: int) -> Samples:
    changed = samples.copy()
    changed.reshape(-1)[place] ^= samples.dtype.type(1 << bit)
    return changed


def _share_passing(first: Samples, others: list[Samples]) -> float:
    return float(np.mean([_passes(first, other) for other in others]))


def _passes(first: Samples, second: Samples) -> bool:
    """Whether NPCR (exact bound) and UACI are where those of independent random images are."""
    limits = _limits(first.size, 8 * first.dtype.itemsize)
    uaci = metric.uaci_percent(first, second)
    return (
        metric.npcr_percent(first, second) >= limits.npcr_minimum and limits.uaci_minimum <= uaci <= limits.uaci_maximum
    )


@cache
def _limits(n_samples: int, word_bits: int) -> metric.CriticalRange:
    return metric.critical_range(n_samples, word_bits, alpha=ALPHA, exact=True)


@cache
def _ideal_entropy(n_samples: int, word_bits: int) -> float:
    return metric.ideal_entropy(n_samples, word_bits).mean


def _reached(
    cipher: Cipher, first: Samples, outputs: list[Samples], changes: list[tuple[Samples, int]]
) -> tuple[float, float]:
    """Shares of all bits, and of the lowest bits, that flip in the samples which could depend on the changed one."""
    shares = []
    for output, (_, place) in zip(outputs, changes, strict=True):
        start = np.zeros(first.shape, bool)
        start.reshape(-1)[place] = True
        there = cipher.reach(start)
        low = float(np.mean((first[there] ^ output[there]) & 1))
        shares.append((metric.flipped_share(first[there], output[there]), low))
    whole, lowest = np.mean(shares, axis=0).tolist()
    return whole, lowest


def _worst_bit(first: Samples, outputs: list[Samples]) -> float:
    different = np.stack(outputs) ^ first
    word_bits = 8 * first.dtype.itemsize
    shares = [float(np.mean(different >> first.dtype.type(bit) & first.dtype.type(1))) for bit in range(word_bits)]
    return max(abs(share - 0.5) for share in shares)


def _entropy_deficit(image: Samples) -> float:
    return _ideal_entropy(image.size, 8 * image.dtype.itemsize) - metric.entropy_bits(image)


def _correlation(image: Samples, direction: metric.Direction) -> float:
    value = metric.coefficient(*metric.adjacent(image, direction))
    return abs(value) if value == value else 1.0


def _correlation_limit(image: Samples) -> float:
    """Three directions within this together have probability 1 - alpha (Sidak)."""
    return NormalDist().inv_cdf((1 + (1 - ALPHA) ** (1 / 3)) / 2) / sqrt(image.size)


def _key_change(samples: Samples, encrypted: Samples, other: Cipher) -> float:
    wrong = other.decrypt(encrypted)
    # A constant image or a constant result is correlated with nothing, and a right one with everything.
    value = metric.coefficient(wrong, samples)
    alike = np.array_equal(wrong, samples) or abs(value) * samples.size**0.5 > 5
    return float(_passes(encrypted, other.encrypt(samples)) and not alike)
