"""Attacks on the variants: those of `iomt_crypt.analysis.attack` that are cheap, and one on three rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.ablation.measurement import Cipher, Make
from iomt_crypt.analysis.attack import ATTACKS, QUICK, Effort
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.schedule import Geometry

#: The decryption of an image with the cipher image of zeros is the first; index images also undo a permutation.
NAMES = ("chosen_plaintext", "codebook", "two_rounds")
EFFORT = Effort(side=64, n_known=QUICK.n_known, codebook_side=QUICK.codebook_side, feistel_side=QUICK.feistel_side)
_SIGMAS = 5
#: Of the image for `three_queries`: the repositioning then moves runs of 16 samples, which chance rarely repeats.
_SIDE = 128


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attack on one variant under one key.

    Parameters
    ----------
    attack
        Name.
    share, chance
        What it got right of what it wanted, 0 to 1, and what guessing gets.
    gained
        Whether that is more than guessing by five standard deviations.
    """

    attack: str
    share: float
    chance: float
    gained: bool


def attack(make: Make, key: bytes, images: list[Samples], *, names: Sequence[str] = NAMES) -> list[Outcome]:
    """Run attacks, `three_queries` last. `images` are uint8 (rows, columns) of 128 or more; the last is the target."""
    oracle = _oracle(make, key)
    outcomes = []
    for name in names:
        result = ATTACKS[name](oracle, images, EFFORT)
        outcomes.append(Outcome(name, result.share, result.chance, result.gained))
    return [*outcomes, three_queries(make, key, np.ascontiguousarray(images[-1][:_SIDE, :_SIDE]))]


def three_queries(make: Make, key: bytes, image: Samples) -> Outcome:
    """Tell three rounds from more with two chosen plain images and one chosen cipher image.

    Two images that differ in the top bit of every word of the right half give C and D. Top bits pass addition and
    exclusive or alike, so after round 0 the right halves still differ by them alone. D with the top bits of its right
    half flipped then has, before the last of three rounds, the right half of C with the left half of D. Undoing round 1
    gives a left half whose lowest bits are those of the plain one, of C and of D added up: no carry reaches the lowest
    bit. The repositioning only moves whole runs of those bits. The distinguisher is that of M. Luby, C. Rackoff: How to
    construct pseudorandom permutations from pseudorandom functions. SIAM Journal on Computing 17, 1988.

    Returns
    -------
    Outcome
        The share of runs of lowest bits that are found among the predicted ones.
    """
    cipher = make(key, image)
    half, top = image.size // 2, image.dtype.type(1 << (8 * image.dtype.itemsize - 1))
    flip = np.zeros_like(image)
    flip.reshape(-1)[half:] = top
    first, second = cipher.encrypt(image), cipher.encrypt(image ^ flip)
    back = cipher.decrypt(second ^ flip)
    predicted = _lowest(first, half) ^ _lowest(second, half)
    shown = _lowest(back, half) ^ _lowest(image, half)
    run = Geometry.of(image.size, image.shape[1], 8).run_length
    names = [_runs(bits, run) for bits in (predicted, shown)]
    share = float(np.mean(np.isin(names[1], names[0])))
    # Every run is found by chance if one of the predicted ones has its pattern.
    chance = float(len(np.unique(names[0]))) / 2.0**run
    deviation = (max(chance, 1 / names[1].size) / names[1].size) ** 0.5
    return Outcome("three_queries", share, chance, share > chance + _SIGMAS * deviation)


def _lowest(image: Samples, half: int) -> npt.NDArray[np.uint8]:
    return (image.reshape(-1)[:half] & 1).astype(np.uint8)


def _runs(bits: npt.NDArray[np.uint8], run: int) -> npt.NDArray[np.int64]:
    """Number each run of bits by its pattern."""
    rows = bits[: bits.size // run * run].reshape(-1, run).astype(np.int64)
    return rows @ (1 << np.arange(run, dtype=np.int64))


def _oracle(make: Make, key: bytes) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]:
    """One key and tweak for all images; what does not depend on the image is computed once for each shape."""
    ciphers: dict[tuple[int, ...], Cipher] = {}

    def encrypt(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if image.shape not in ciphers:
            ciphers[image.shape] = make(key, image)
        return ciphers[image.shape].encrypt(image).astype(np.uint8, copy=False)

    return encrypt
