"""This project's cipher with stages taken away, to see that the attacks bite where a stage is missing.

Put together from the stages of `iomt_crypt.cipher.reference`; with nothing taken away it is the cipher itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.baselines.scheme import Image
from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher import reference
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule, round_seeds


@dataclass(frozen=True)
class Reduced:
    """See `benchmarks.baselines.scheme.Scheme`; the nonce is the tweak.

    Parameters
    ----------
    name
        As in the tables.
    n_rounds
        0 to 4; the repositioning comes behind round 1, or at the end if there are fewer rounds.
    use_cnn
        Whether the coupling network is added.
    use_stream
        Whether the key stream is combined.
    use_pooling
        Whether the key stream depends on the source half, or on key, tweak and geometry alone.
    use_move
        Whether parts are repositioned.
    """

    name: str
    n_rounds: int = const.ROUNDS
    use_cnn: bool = True
    use_stream: bool = True
    use_pooling: bool = True
    use_move: bool = True
    source: str = "docs/SPEC.md with stages taken away"
    lossless: bool = True
    uses_nonce: bool = True

    def encrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Return the cipher image."""
        geometry, schedule = self._prepare(image, key, nonce)
        vector = image.reshape(-1).copy()
        for index in range(self.n_rounds):
            if index == const.ROUNDS_BEFORE_MOVE:
                vector = self._move(vector, geometry, schedule)
            source, target = _halves(vector, index, geometry)
            target += self._network(source, target, index, geometry, schedule)
            target ^= self._stream(source, target, index, schedule)
        if self.n_rounds <= const.ROUNDS_BEFORE_MOVE:
            vector = self._move(vector, geometry, schedule)
        return vector.reshape(image.shape)

    def decrypt(self, image: Image, key: bytes, nonce: bytes) -> Image:
        """Undo `encrypt`."""
        geometry, schedule = self._prepare(image, key, nonce)
        vector = image.reshape(-1).copy()
        if self.n_rounds <= const.ROUNDS_BEFORE_MOVE:
            vector = self._move_back(vector, geometry, schedule)
        for index in reversed(range(self.n_rounds)):
            source, target = _halves(vector, index, geometry)
            target ^= self._stream(source, target, index, schedule)
            target -= self._network(source, target, index, geometry, schedule)
            if index == const.ROUNDS_BEFORE_MOVE:
                vector = self._move_back(vector, geometry, schedule)
        return vector.reshape(image.shape)

    def _prepare(self, image: Image, key: bytes, nonce: bytes) -> tuple[Geometry, Schedule]:
        geometry = Geometry.of(image.size, image.shape[1], 8)
        return geometry, make_schedule(key, nonce, geometry)

    def _network(self, source: Image, target: Image, index: int, geometry: Geometry, schedule: Schedule) -> Image:
        if not self.use_cnn:
            return np.zeros_like(target)
        return reference.convolve(source, target.size, index, geometry, schedule).astype(np.uint8)

    def _stream(self, source: Image, target: Image, index: int, schedule: Schedule) -> Image:
        if not self.use_stream:
            return np.zeros_like(target)
        if self.use_pooling:
            return reference.round_stream(source, target, index, schedule).astype(np.uint8)
        seeds = round_seeds(schedule.round_keys[index], source.size, b"")
        return np.frombuffer(reference.logistic(seeds, target.nbytes), np.uint8)

    def _move(self, vector: Image, geometry: Geometry, schedule: Schedule) -> Image:
        return vector[reference.move_order(geometry, schedule)] if self.use_move else vector

    def _move_back(self, vector: Image, geometry: Geometry, schedule: Schedule) -> Image:
        if not self.use_move:
            return vector
        back = np.empty_like(vector)
        back[reference.move_order(geometry, schedule)] = vector
        return back


def _halves(vector: Image, index: int, geometry: Geometry) -> tuple[Image, Image]:
    """Source and target of a round; they are parts of the vector."""
    left, right = vector[: geometry.n_left], vector[geometry.n_left :]
    return (left, right) if index % 2 == 0 else (right, left)
