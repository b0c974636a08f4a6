"""Where the cipher image equals that of a known image, so may the plain image: if samples depend on near ones only.

Finds the flat parts of the target by asking for flat images, and whatever else it has in common with known images. With
a repeated tweak this is the difference between a cipher whose samples depend on the whole image and one whose do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.attack.material import Effort, windows
from iomt_crypt.analysis.attack.permutation import most_frequent
from iomt_crypt.analysis.attack.result import AttackResult, Image, Oracle, judge

#: Equal samples in a row that are no accident: 2^-64 for a place and an image, if cipher samples are noise.
_RUN = 8


def equal_samples(oracle: Oracle, images: Sequence[Image], effort: Effort) -> AttackResult:
    """Take over from known and flat images what stands where their cipher images equal the target's."""
    start = perf_counter()
    # Large windows: of smaller ones hardly a place is far from everything that is not flat.
    side = min(2 * effort.side, *(length for image in images for length in image.shape))
    *known, target = windows(images, side, effort.n_known + 1)
    flat = [np.full_like(target, value) for value in range(256)]
    sealed = oracle(target)
    found = np.full_like(target, most_frequent(known))
    claimed = np.zeros(target.shape, np.bool_)
    for image in [*known, *flat]:
        equal = _in_runs(oracle(image) == sealed)
        found[equal], claimed[equal] = image[equal], True
    return judge(
        "equal samples", "chosen plaintext", f"{np.count_nonzero(claimed) / claimed.size:.1%} of the samples known",
        found, target, n_images=len(known) + len(flat), seconds=perf_counter() - start, claimed=claimed,
    )  # fmt: skip


def _in_runs(equal: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Keep what belongs to a run of equal samples, in C order, that is long enough."""
    flat = equal.reshape(-1)
    if flat.size < _RUN:
        return np.zeros_like(equal)
    starts = np.lib.stride_tricks.sliding_window_view(flat, _RUN).all(axis=1)
    kept = np.zeros_like(flat)
    for offset in range(_RUN):
        kept[offset : offset + starts.size] |= starts
    return kept.reshape(equal.shape)
