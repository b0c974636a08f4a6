"""The cipher with fewer rounds, another repositioning or weaker features, from the stages of the reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.reference import convolve, logistic, move_order, pool, round_stream
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule, move_seeds, round_seeds

#: Where runs may go: within their half as in the cipher, over the whole frame as up to decision 8, or nowhere.
Order = Literal["within", "across", "none"]


@dataclass(frozen=True, slots=True)
class Reduced:
    """A cipher of some rounds under one key and tweak.

    Parameters
    ----------
    geometry, schedule
        As the cipher has them.
    n_rounds
        0 to 4; the repositioning comes after the second round, if there is one.
    order
        What the repositioning does.
    feature_bits
        Bits of the pooled features that reach the seeds; None: all. Small ones make collisions that can be watched.
    """

    geometry: Geometry
    schedule: Schedule
    n_rounds: int = 4
    order: Order = "within"
    feature_bits: int | None = None

    @classmethod
    def of(cls, key: bytes, n_samples: int, word_bits: int, *, row_length: int = 0, **options: object) -> Reduced:
        """Derive the schedule for a frame without a tweak; row_length 0: a flat one."""
        geometry = Geometry.of(n_samples, row_length, word_bits)
        return cls(geometry, make_schedule(key, b"", geometry), **options)  # type: ignore[arg-type]

    def encrypt(self, left: Samples, right: Samples) -> tuple[Samples, Samples]:
        """Encrypt two halves."""
        vector = np.concatenate([left, right])
        halves = vector[: self.geometry.n_left], vector[self.geometry.n_left :]
        for index in range(self.n_rounds):
            source, target = halves if index % 2 == 0 else halves[::-1]
            target += self.network(source, target.size, index)
            target ^= self.stream(source, target, index)
            if index == 1:
                vector[:] = vector[self.positions()]
        return halves

    def decrypt(self, left: Samples, right: Samples) -> tuple[Samples, Samples]:
        """Undo `encrypt`."""
        vector = np.concatenate([left, right])
        halves = vector[: self.geometry.n_left], vector[self.geometry.n_left :]
        for index in reversed(range(self.n_rounds)):
            source, target = halves if index % 2 == 0 else halves[::-1]
            if index == 1:
                moved = vector.copy()
                vector[self.positions()] = moved
            target ^= self.stream(source, target, index)
            target -= self.network(source, target.size, index)
        return halves

    def positions(self) -> npt.NDArray[np.int64]:
        """For each word after the repositioning, where it was before."""
        orders: dict[Order, Callable[[Geometry, Schedule], npt.NDArray[np.int64]]] = {
            "within": move_order,
            "across": across_order,
            "none": lambda geometry, _: np.arange(geometry.n_samples),
        }
        return orders[self.order](self.geometry, self.schedule)

    def network(self, source: Samples, n_target: int, index: int) -> Samples:
        """What a round adds."""
        return convolve(source, n_target, index, self.geometry, self.schedule)

    def stream(self, source: Samples, target: Samples, index: int) -> Samples:
        """What a round combines by exclusive or."""
        if self.feature_bits is None:
            return round_stream(source, target, index, self.schedule)
        digest = hashlib.shake_256(pool(source, self.schedule.pool_keys)).digest(8)
        feature = int.from_bytes(digest, "little") % (1 << self.feature_bits)
        seeds = round_seeds(self.schedule.round_keys[index], source.size, feature.to_bytes(8, "little"))
        return np.frombuffer(logistic(seeds, target.nbytes), target.dtype.newbyteorder("<"))


def across_order(geometry: Geometry, schedule: Schedule) -> npt.NDArray[np.int64]:
    """Put the runs of the whole frame in one order, as up to decision 8."""
    run_length = geometry.run_length
    n_parts = geometry.n_samples // run_length
    draws = np.frombuffer(logistic(move_seeds(schedule.move_key), 4 * n_parts), "<u4").tolist()
    order = np.arange(n_parts)
    for draw, last in zip(draws, range(n_parts - 1, 0, -1), strict=False):
        chosen = draw * (last + 1) >> 32
        order[[last, chosen]] = order[[chosen, last]]
    positions = np.arange(geometry.n_samples)
    positions[: n_parts * run_length] = (order[:, np.newaxis] * run_length + np.arange(run_length)).reshape(-1)
    return positions
