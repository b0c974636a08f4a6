"""What all sections are about: a frame, its cipher image, and random numbers that no section takes from another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iomt_crypt.analysis.image import Frame, read_frame
from iomt_crypt.analysis.metric import Samples
from iomt_crypt.analysis.metric.entropy import MINIMUM_SAMPLES
from iomt_crypt.analysis.metric.sensitivity import KEY_BYTES, NONCE_BYTES
from iomt_crypt.analysis.report.engine import Engine
from iomt_crypt.analysis.report.setting import Settings


@dataclass(frozen=True)
class Subject:
    """One report's frame.

    Parameters
    ----------
    key, nonce
        Under which `encrypted` was made by the image cipher; for measuring only.
    encrypted
        Cipher image, of the shape of the frame's image.
    """

    path: Path
    frame: Frame
    settings: Settings
    engine: Engine
    key: bytes
    nonce: bytes
    encrypted: Samples

    @classmethod
    def read(cls, path: Path, settings: Settings) -> Subject:
        """Read the frame and encrypt it; see `read_frame` for the errors."""
        frame = read_frame(path, number=settings.frame)
        engine = Engine(frame, settings.suite, _generator(settings.seed, "suite"))
        rng = _generator(settings.seed, "image")
        key, nonce = rng.bytes(KEY_BYTES), rng.bytes(NONCE_BYTES)
        return cls(path, frame, settings, engine, key, nonce, engine.encrypt(frame.image, key, nonce))

    @property
    def image(self) -> Samples:
        """Words of the frame, read-only."""
        return self.frame.image

    @property
    def measurable(self) -> bool:
        """Whether there are enough words for statistics."""
        return self.image.size >= MINIMUM_SAMPLES

    def rng(self, purpose: str) -> np.random.Generator:
        """Return the generator of one purpose; the same one in every run."""
        return _generator(self.settings.seed, purpose)


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, *purpose.encode()])
