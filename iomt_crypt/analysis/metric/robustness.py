"""Cipher images that were damaged on their way, and what is left of the plain image.

Papers ask that a damaged cipher image still decrypts to something recognisable. A cipher whose every output bit depends
on every input bit cannot do that, and an authenticated one must not: this is a property to know, not one to pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np

from iomt_crypt.analysis.metric.fidelity import psnr_db
from iomt_crypt.analysis.metric.measurement import Samples, Transform, check_image


@dataclass(frozen=True, slots=True)
class Survival:
    """What a damaged cipher image decrypts to.

    Parameters
    ----------
    damage
        In words.
    damaged_percent
        Share of the cipher samples that were changed.
    psnr_db
        Of the decrypted and the plain image.
    intact_percent
        Share of the decrypted samples that equal the plain ones.
    image
        What was decrypted.
    """

    damage: str
    damaged_percent: float
    psnr_db: float
    intact_percent: float
    image: Samples


def salt_and_pepper(image: Samples, *, share: float, rng: np.random.Generator) -> Samples:
    """Return the image with `share` (0 to 1) of its samples replaced by 0 or the largest word, at least one of them."""
    check_image(image)
    damaged = image.copy()
    count = max(1, round(share * image.size))
    where = rng.choice(image.size, count, replace=False)
    damaged.reshape(-1)[where] = rng.integers(0, 2, count).astype(image.dtype) * np.iinfo(image.dtype).max
    return damaged


def gaussian_noise(image: Samples, *, deviation: float, rng: np.random.Generator) -> Samples:
    """Return the image with normal noise added and clipped; `deviation` in shares of the largest word."""
    check_image(image)
    largest = np.iinfo(image.dtype).max
    noisy = np.rint(image + rng.normal(0, deviation * largest, image.shape))
    return np.clip(noisy, 0, largest).astype(image.dtype)


def crop(image: Samples, *, share: float) -> Samples:
    """Return the image with a rectangle of about `share` (0 to 1) of its area in the upper left corner set to 0.

    Parameters
    ----------
    image
        uint8 or uint16 (rows, columns) or (rows, columns, channels).
    """
    check_image(image)
    damaged = image.copy()
    side = sqrt(share)
    damaged[: max(1, round(side * image.shape[0])), : max(1, round(side * image.shape[1]))] = 0
    return damaged


def flip_one_bit(image: Samples, *, rng: np.random.Generator) -> Samples:
    """Return the image with one bit of one sample flipped: the smallest damage there is."""
    damaged = image.copy()
    damaged.reshape(-1)[int(rng.integers(image.size))] ^= image.dtype.type(1 << int(rng.integers(check_image(image))))
    return damaged


#: Damages of the report: in words, and how to do it.
DAMAGES: Final[tuple[tuple[str, Callable[[Samples, np.random.Generator], Samples]], ...]] = (
    ("one bit flipped", lambda image, rng: flip_one_bit(image, rng=rng)),
    ("salt and pepper, 1 % of samples", lambda image, rng: salt_and_pepper(image, share=0.01, rng=rng)),
    ("Gaussian noise, deviation 1 % of the cell", lambda image, rng: gaussian_noise(image, deviation=0.01, rng=rng)),
    ("a corner of 25 % cut out", lambda image, rng: crop(image, share=0.25)),
)


def survive(
    encrypt: Transform,
    decrypt: Transform,
    image: Samples,
    *,
    rng: np.random.Generator,
    key: bytes,
    nonce: bytes,
) -> list[Survival]:
    """Encrypt the image, do each of `DAMAGES` to the cipher image, decrypt, and compare with the plain image."""
    encrypted = encrypt(image, key, nonce)
    found = []
    for name, damage in DAMAGES:
        damaged = damage(encrypted, rng)
        back = decrypt(damaged, key, nonce)
        changed = 100 * int(np.count_nonzero(damaged != encrypted)) / image.size
        intact = 100 * int(np.count_nonzero(back == image)) / image.size
        found.append(Survival(name, changed, psnr_db(image, back), intact, back))
    return found
