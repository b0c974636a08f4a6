"""Does a linear system predict what the cipher does? Codebooks of differences, and fits to random images.

The codebook asks for an image of zeros and for every image with one sample (or bit) set: if encryption is affine, the
differences of the cipher images are a basis in which every other cipher image can be written. F. Yu, X. Gong, H. Li, X.
Zhao, S. Wang: Differential cryptanalysis of image cipher using block-based scrambling and image filtering. arXiv
1812.11693, 2018. The fit uses random images instead, of which an attacker needs only to know the content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from iomt_crypt.analysis.attack.algebra import solve_gf2, solve_mod256, solve_real
from iomt_crypt.analysis.attack.material import LAWS, Effort, windows
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge

_Solver = Callable[[Image, Image, Image], Image]

#: Random images beyond those that determine a system: with random bits, fewer leave it singular now and then.
_SPARE = 64
_SEED = 20180101


def codebook(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Write the target's difference from the cipher image of zeros in the differences that single bits make."""
    start = perf_counter()
    (target,) = windows(images, effort.codebook_side, 1)
    shape, n_samples = target.shape, target.size
    units = (np.eye(n_samples, dtype=np.uint8)[:, np.newaxis] << np.arange(8, dtype=np.uint8)[:, np.newaxis]).swapaxes(
        0, 1
    )
    by_bit = [unit.reshape(shape) for bit in units for unit in bit]
    zeros = oracle(np.zeros_like(target))
    answers = [oracle(unit) for unit in by_bit]
    # One image more tells which law holds; it is not the target.
    check = np.random.default_rng(_SEED).integers(0, 256, shape, dtype=np.uint8)
    sealed_check, sealed = oracle(check), oracle(target)
    tried = []
    for law, solver, n_used in zip(LAWS, (solve_gf2, solve_mod256), (8 * n_samples, n_samples), strict=True):
        differences = _rows([law.remove(answer, zeros) for answer in answers[:n_used]])
        plain = _rows(by_bit[:n_used])
        found = [solver(differences, plain, law.remove(image, zeros).reshape(-1)) for image in (sealed_check, sealed)]
        tried.append((_bits_right(found[0], check), law.name, found[1]))
    right, name, best = max(tried, key=lambda entry: entry[0])
    return judge(
        "codebook of differences", "chosen plaintext", f"{name}; {right:.1%} of the bits of an unseen image",
        best.reshape(shape), target, n_images=len(by_bit) + 2, seconds=perf_counter() - start,
    )  # fmt: skip


def superposition(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Write the target as an affine combination of random known images: over GF(2), modulo 256, or by least squares."""
    start = perf_counter()
    (target,) = windows(images, effort.codebook_side, 1)
    n_known = 8 * target.size + 1 + _SPARE
    known = np.random.default_rng(_SEED).integers(0, 256, (n_known + 1, *target.shape), dtype=np.uint8)
    answers = _rows([oracle(image) for image in known])
    sealed, plain = oracle(target).reshape(-1), _rows(known)
    tried = []
    for name, solver, n_used in _systems(target.size):
        # A column of ones (bytes 1: one bit, and the number 1) makes linear systems affine.
        inputs = np.append(answers[:n_used], np.ones((n_used, 1), np.uint8), axis=1)
        check, found = (
            solver(inputs, plain[:n_used], np.append(image, np.uint8(1))) for image in (answers[-1], sealed)
        )
        tried.append((_bits_right(check, known[-1]), name, found))
    right, name, best = max(tried, key=lambda entry: entry[0])
    return judge(
        "linear system of known images", "known plaintext", f"{name}; {right:.1%} of the bits of an unseen image",
        best.reshape(target.shape), target, n_images=len(known), seconds=perf_counter() - start,
    )  # fmt: skip


def _systems(n_samples: int) -> list[tuple[str, _Solver, int]]:
    """Name, solver, and how many images it takes."""
    return [
        ("GF(2)", solve_gf2, 8 * n_samples + 1 + _SPARE),
        ("modulo 256", solve_mod256, n_samples + 1 + _SPARE),
        ("least squares", solve_real, 8 * n_samples),
    ]


def _rows(images: Sequence[Image] | Image) -> Image:
    return np.stack([image.reshape(-1) for image in images])


def _bits_right(found: Image, truth: Image) -> float:
    return 1 - float(np.unpackbits(found.reshape(-1) ^ truth.reshape(-1)).mean())
