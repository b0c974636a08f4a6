"""Which sample went where: permutations read from known and from chosen images.

A cipher that only moves samples keeps the columns of a stack of images together: the values that one position takes
over several images are its signature, and the position of the cipher images with the same signature is where it went.
S. Li, C. Li, G. Chen, N. G. Bourbakis, K.-T. Lo: A general quantitative cryptanalysis of permutation-only multimedia
ciphers against plaintext attacks. Signal Processing: Image Communication 23, 2008. Chosen images that number the
positions need ceil(log_256 n) of them: A. Jolfaei, X.-W. Wu, V. Muthukkumarasamy: On the Security of Permutation-Only
Image Encryption Schemes. IEEE Transactions on Information Forensics and Security 11, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.attack.material import Effort, windows
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge

#: For each position of the cipher image where it came from; -1 where that is not known.
Order = npt.NDArray[np.int64]


def known_permutation(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Undo a permutation of samples that is learned from known images."""
    start = perf_counter()
    *known, target = windows(images, effort.side, effort.n_known + 1)
    order = match(np.stack(known), np.stack([oracle(image) for image in known]))
    found, known_samples = put_back(oracle(target), order, most_frequent(known))
    placed = np.count_nonzero(order >= 0) / order.size
    return judge(
        "permutation, known images", "known plaintext", f"places of {placed:.1%} of the samples", found, target,
        n_images=len(known), seconds=perf_counter() - start, claimed=known_samples,
    )  # fmt: skip


def chosen_permutation(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Undo a permutation of samples that is read from images whose samples are the digits of their positions."""
    start = perf_counter()
    (target,) = windows(images, effort.side, 1)
    digits = index_images(target.shape)
    order = read_order([oracle(image) for image in digits])
    found, known_samples = put_back(oracle(target), order, 0)
    placed = np.count_nonzero(order >= 0) / order.size
    return judge(
        "permutation, chosen images", "chosen plaintext", f"places of {placed:.1%} of the samples", found, target,
        n_images=len(digits), seconds=perf_counter() - start, claimed=known_samples,
    )  # fmt: skip


def match(plain: Image, cipher: Image) -> Order:
    """Find where the samples of cipher images came from by the values they take over the whole stack.

    Parameters
    ----------
    plain, cipher
        uint8 (images, rows, columns), the same images in the same order.

    Returns
    -------
    ndarray
        int64 (samples,). If all signatures stand where they stood, nothing was moved. Positions with the same
        signature are matched in order of position, which is a guess.
    """
    n_samples = plain[0].size
    if np.array_equal(plain, cipher):
        return np.arange(n_samples)
    signatures = [stack.reshape(len(stack), -1).T for stack in (plain, cipher)]
    rows = np.ascontiguousarray(np.concatenate(signatures)).view(np.dtype((np.void, len(plain)))).reshape(-1)
    _, names = np.unique(rows, return_inverse=True)
    plain_names, cipher_names = names[:n_samples], names[n_samples:]
    plain_order, cipher_order = (np.argsort(part, kind="stable") for part in (plain_names, cipher_names))
    sorted_plain, sorted_cipher = plain_names[plain_order], cipher_names[cipher_order]
    rank = np.arange(n_samples) - np.searchsorted(sorted_cipher, sorted_cipher)
    place = np.searchsorted(sorted_plain, sorted_cipher) + rank
    exists = place < np.searchsorted(sorted_plain, sorted_cipher, side="right")
    order = np.full(n_samples, -1, np.int64)
    order[cipher_order[exists]] = plain_order[place[exists]]
    return order


def index_images(shape: tuple[int, ...]) -> list[Image]:
    """Make the images whose samples are the digits of their positions to base 256, the lowest digit first."""
    positions = np.arange(int(np.prod(shape))).reshape(shape)
    n_digits = max(1, -(-(positions.size - 1).bit_length() // 8))
    return [(positions >> 8 * digit).astype(np.uint8) for digit in range(n_digits)]


def read_order(digits: Sequence[Image]) -> Order:
    """Read the positions that stand in encrypted index images; a position that is none, or comes twice, is -1."""
    order = np.zeros(digits[0].size, np.int64)
    for number, image in enumerate(digits):
        order |= image.reshape(-1).astype(np.int64) << 8 * number
    order[order >= order.size] = -1
    counts = np.bincount(order[order >= 0], minlength=order.size)
    order[(order >= 0) & (counts[order] > 1)] = -1
    return order


def put_back(moved: Image, order: Order, otherwise: int) -> tuple[Image, npt.NDArray[np.bool_]]:
    """Move samples back to where they came from, and say which are known; the others get a value."""
    found, known = np.full(moved.size, otherwise, np.uint8), np.zeros(moved.size, np.bool_)
    placed = order >= 0
    found[order[placed]] = moved.reshape(-1)[placed]
    known[order[placed]] = True
    return found.reshape(moved.shape), known.reshape(moved.shape)


def most_frequent(images: Sequence[Image]) -> int:
    """Return the value that comes most often: the best guess for a sample about which nothing is known."""
    return int(np.bincount(np.concatenate([image.reshape(-1) for image in images])).argmax())
