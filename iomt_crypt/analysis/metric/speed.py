"""How fast a cipher is beside AES-256-GCM, in the same run: absolute figures are the machine's, ratios the cipher's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from iomt_crypt.analysis.metric.measurement import Samples, Transform

_KEY, _NONCE = bytes(range(32)), bytes(12)
_ROUNDS = 9
_ROUND_SECONDS = 0.01
_MAXIMUM_REPEATS = 200


@dataclass(frozen=True, slots=True)
class Speed:
    """CPU time of one image in seconds, throughput in 10^6 bytes/s, and the latter over that of AES-256-GCM."""

    seconds: float
    megabytes_per_second: float
    of_aes_gcm: float


def measure_speed(transforms: dict[str, Transform], image: Samples) -> dict[str, Speed]:
    """Time transforms of an image and AES-256-GCM over as many bytes; they take turns, and medians count.

    Parameters
    ----------
    transforms
        By name; each is called with the image, a fixed key of 32 bytes and a fixed nonce of 12.
    image
        1 sample or more.

    Returns
    -------
    dict
        One row for each transform, and "AES-256-GCM".
    """
    data, gcm = image.tobytes(), AESGCM(_KEY)
    jobs: dict[str, Callable[[], object]] = {
        name: lambda transform=transform: transform(image, _KEY, _NONCE)  # type: ignore[misc]
        for name, transform in transforms.items()
    }
    jobs["AES-256-GCM"] = lambda: gcm.encrypt(_NONCE, data, None)
    repeats = {}
    for name, job in jobs.items():
        _seconds(job, 2)  # compiles what has to be compiled, and fills the caches
        repeats[name] = max(1, min(_MAXIMUM_REPEATS, int(_ROUND_SECONDS / max(_seconds(job, 1), 1e-7))))
    rounds = [[_seconds(job, repeats[name]) for name, job in jobs.items()] for _ in range(_ROUNDS)]
    times = dict(zip(jobs, (median(column) for column in zip(*rounds, strict=True)), strict=True))
    aes = times["AES-256-GCM"]
    return {name: Speed(seconds, image.nbytes / seconds / 1e6, aes / seconds) for name, seconds in times.items()}


def _seconds(job: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        job()
    # A clock with a coarse step may not have moved.
    return max(time.process_time() - start, 1e-9) / repeats
