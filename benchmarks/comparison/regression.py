"""A known-plaintext attack for ciphers that are local: what a sample was is fitted from what stands around its place.

Networks without a key stream are such ciphers. For each place of a 4 x 4 grid, as generators shrink an image twice, one
linear model takes the samples around it and their squares to the plain sample (ridge regression, A. Hoerl, R. Kennard
1970). Three known images are plenty. A cipher that is not local shows it nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.scheme import Image
from iomt_crypt.analysis.attack import AttackResult, Oracle
from iomt_crypt.analysis.attack.result import SIGMAS, judge, pearson

GRID: Final = 4
#: Samples around a place on each side, and the penalty on weights for each known sample.
_REACH: Final = 5
_RIDGE: Final = 1e-3
_CONTROLS: Final = 12

_Table = npt.NDArray[np.float64]


def local_regression(oracle: Oracle, images: Sequence[Image]) -> AttackResult:
    """Fit the models on all images but the last, and apply them to the cipher image of the last.

    Models of noise are smooth, and so are images: by chance their correlation is far from 0 more often than that of
    single samples. So here it must be beyond five deviations of what the same models make of noise.

    Parameters
    ----------
    oracle
        The cipher under the key that is attacked.
    images
        uint8 (rows, columns), two or more.
    """
    start = perf_counter()
    *known, target = images
    pairs = [(oracle(image), image) for image in known]
    models = {place: _fit(pairs, place) for place in np.ndindex(GRID, GRID)}
    result = judge(
        "local regression", "known plaintext", "a linear model of what stands around", _apply(models, oracle(target)),
        target, n_images=len(known), seconds=perf_counter() - start,
    )  # fmt: skip
    rng = np.random.default_rng(1970)
    controls = (_apply(models, rng.integers(0, 256, target.shape, np.uint8)) for _ in range(_CONTROLS))
    by_chance = [pearson(control, target) for control in controls]
    return replace(result, gained=result.correlation > SIGMAS * float(np.sqrt(np.mean(np.square(by_chance)))))


def _fit(pairs: Sequence[tuple[Image, Image]], place: tuple[int, ...]) -> _Table:
    features = np.concatenate([_features(encrypted, place) for encrypted, _ in pairs])
    plain = np.concatenate([image[place[0] :: GRID, place[1] :: GRID].reshape(-1) for _, image in pairs])
    gram = features.T @ features
    gram[np.diag_indices_from(gram)] += _RIDGE * len(features)
    return np.linalg.solve(gram, features.T @ plain.astype(np.float64))


def _apply(models: Mapping[tuple[int, ...], _Table], encrypted: Image) -> Image:
    found = np.empty(encrypted.shape)
    for place, model in models.items():
        part = found[place[0] :: GRID, place[1] :: GRID]
        part[:] = (_features(encrypted, place) @ model).reshape(part.shape)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _features(encrypted: Image, place: tuple[int, ...]) -> _Table:
    """Surroundings of every fourth sample from `place` on, about -1 to 1, their squares, and a one."""
    padded = np.pad(encrypted, _REACH, mode="reflect") / 127.5 - 1
    side = 2 * _REACH + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side))[place[0] :: GRID, place[1] :: GRID]
    around = windows.reshape(-1, side * side)
    return np.hstack([around, around**2, np.ones((len(around), 1))])
