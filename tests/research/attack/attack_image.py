"""Images for the attacks: smooth shapes with noise on a flat background, all different, 208 x 208."""

from __future__ import annotations

from functools import cache

import numpy as np

SIDE = 208


@cache
def images() -> list[np.ndarray]:
    return [_image(seed) for seed in range(4)]


def _image(seed: int) -> np.ndarray:
    rng = np.random.default_rng([7, seed])
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    shade = np.zeros((SIDE, SIDE))
    for _ in range(8):
        row, column = rng.uniform(40, SIDE - 40, 2)
        shade += rng.uniform(20, 70) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / rng.uniform(200, 1500))
    noisy = shade + rng.normal(0, 2, shade.shape)
    return np.where(shade > 8, np.clip(noisy, 0, 255), 0).astype(np.uint8)
