"""The cipher with switches: the stage functions of the reference, put together with parts left out or changed.

With every switch on it is the cipher, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.ablation.weight import Network, Source
from iomt_crypt.cipher import constant as const
from iomt_crypt.cipher import reference
from iomt_crypt.cipher.constant import Samples
from iomt_crypt.cipher.schedule import Geometry, Schedule, make_schedule, round_seeds

#: Domain separation of what a variant needs beyond the schedule of the cipher.
_LABEL_EXTENSION = b"ablation/extension"
_LABEL_WEIGHTS = b"ablation/weights"
_Word = TypeVar("_Word", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Variant:
    """One composition of the stages.

    Parameters
    ----------
    name
        As in the tables.
    rounds
        1 or more. The repositioning follows the first half of them, and the odd one if there is one.
    filters
        Of each round's network, 1 or more.
    network
        False: nothing is added to the target.
    pooling
        False: the key stream of a round depends on the key alone, not on its source half.
    stream
        False: nothing is combined with exclusive or.
    move
        False: no repositioning.
    source
        Where weights come from; None: the key schedule of the cipher.
    """

    name: str
    rounds: int = const.ROUNDS
    filters: int = const.FILTERS
    network: bool = True
    pooling: bool = True
    stream: bool = True
    move: bool = True
    source: Source | None = None

    @property
    def rounds_before_move(self) -> int:
        """Rounds that the repositioning follows."""
        return (self.rounds + 1) // 2


@dataclass(frozen=True)
class Machine:
    """A variant under one key and tweak, for one geometry.

    Parameters
    ----------
    variant
        What is left out or changed.
    key
        32 bytes.
    geometry
        Of the frames; all calls must be given samples of this size and word size.
    tweak
        As for `iomt_crypt.cipher.encrypt`.
    """

    variant: Variant
    key: bytes
    geometry: Geometry
    tweak: bytes = b""
    _streams: dict[int, Samples] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, variant: Variant, key: bytes, samples: Samples, *, tweak: bytes = b"") -> Machine:
        """Make the machine for frames of the shape and dtype of `samples` (two dimensions)."""
        geometry = Geometry.of(samples.size, samples.shape[1], 8 * samples.dtype.itemsize)
        return cls(variant, key, geometry, tweak)

    def encrypt(self, samples: Samples) -> Samples:
        """Return the cipher samples, in the shape of `samples`, which are left unchanged."""
        vector = samples.reshape(-1).copy()
        for index in range(self.variant.rounds):
            source, target = self._halves(vector, index)
            if self.variant.network:
                target += reference.convolve(source, target.size, index, self.geometry, self.schedule)
            if self.variant.stream:
                target ^= self._stream(source, target, index)
            if self.variant.move and index + 1 == self.variant.rounds_before_move:
                vector[:] = vector[self._order]
        return vector.reshape(samples.shape)

    def decrypt(self, samples: Samples) -> Samples:
        """Undo `encrypt`: the same steps, inverted, in reverse order."""
        vector = samples.reshape(-1).copy()
        for index in reversed(range(self.variant.rounds)):
            if self.variant.move and index + 1 == self.variant.rounds_before_move:
                moved = vector.copy()
                vector[self._order] = moved
            source, target = self._halves(vector, index)
            if self.variant.stream:
                target ^= self._stream(source, target, index)
            if self.variant.network:
                target -= reference.convolve(source, target.size, index, self.geometry, self.schedule)
        return vector.reshape(samples.shape)

    def reach(self, start: npt.NDArray[np.bool_], *, decrypting: bool = False) -> npt.NDArray[np.bool_]:
        """Say which samples of the output could depend on the marked samples of the input, by the wiring alone.

        Parameters
        ----------
        start
            bool, the shape of a frame.
        decrypting
            Whether the way is that of `decrypt`.
        """
        vector = start.reshape(-1).copy()
        indexes = range(self.variant.rounds)
        for index in reversed(indexes) if decrypting else indexes:
            moves = self.variant.move and index + 1 == self.variant.rounds_before_move
            if moves and decrypting:
                moved = vector.copy()
                vector[self._order] = moved
            source, target = self._halves(vector, index)
            target |= self._touched(source, target.size)
            if moves and not decrypting:
                vector[:] = vector[self._order]
        return vector.reshape(start.shape)

    @cached_property
    def schedule(self) -> Schedule:
        """The cipher's schedule, with as many rounds and filters as the variant has and with its weights."""
        blocks = list(self._blocks())
        first = blocks[0]
        kernels, mixes = self._weights(blocks)
        round_keys = tuple(key for block in blocks for key in block.round_keys)
        return Schedule(round_keys, first.move_key, first.pool_keys, kernels, mixes)

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        return reference.move_order(self.geometry, self.schedule)

    def _blocks(self) -> Iterator[Schedule]:
        """Schedules of four rounds and two filters each; the first is the cipher's."""
        n_blocks = -(-self.variant.rounds // const.ROUNDS) * -(-self.variant.filters // const.FILTERS)
        for number in range(n_blocks):
            tweak = self.tweak + (_LABEL_EXTENSION + number.to_bytes(1, "little") if number else b"")
            yield make_schedule(self.key, tweak, self.geometry)

    def _weights(self, blocks: list[Schedule]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
        """Kernels (rounds, filters, 10) and output weights (rounds, filters, 2)."""
        rounds, filters = self.variant.rounds, self.variant.filters
        if self.variant.source is None:
            side_by_side = -(-filters // const.FILTERS)
            rows = [blocks[start : start + side_by_side] for start in range(0, len(blocks), side_by_side)]
            kernels = np.concatenate([np.concatenate([block.kernels for block in row], axis=1) for row in rows])
            mixes = np.concatenate([np.concatenate([block.mixes for block in row], axis=1) for row in rows])
            return kernels[:rounds, :filters], mixes[:rounds, :filters]
        digest = hashlib.shake_256(_LABEL_WEIGHTS + self.key + self.tweak).digest(32)
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
        network: Network = self.variant.source(rng, rounds * filters, self.geometry.word_bits)
        return network.kernels.reshape(rounds, filters, -1), network.mixes.reshape(rounds, filters, 2)

    def _halves(self, vector: npt.NDArray[_Word], index: int) -> tuple[npt.NDArray[_Word], npt.NDArray[_Word]]:
        """Source and target of a round: even rounds change the right half and odd ones the left."""
        left, right = vector[: self.geometry.n_left], vector[self.geometry.n_left :]
        return (right, left) if index % 2 else (left, right)

    def _stream(self, source: Samples, target: Samples, index: int) -> Samples:
        if self.variant.pooling:
            return reference.round_stream(source, target, index, self.schedule)
        if index not in self._streams:
            seeds = round_seeds(self.schedule.round_keys[index], source.size, b"")
            data = reference.logistic(seeds, target.nbytes)
            self._streams[index] = np.frombuffer(data, target.dtype.newbyteorder("<"))
        return self._streams[index]

    def _touched(self, source: npt.NDArray[np.bool_], n_target: int) -> npt.NDArray[np.bool_]:
        """Say which of the target's samples have a marked one among what their round reads."""
        if self.variant.stream and self.variant.pooling:
            return np.full(n_target, source.any())
        touched = np.zeros(n_target, bool)
        if self.variant.network:
            position = np.arange(n_target)
            for tap in range(const.TAPS):
                offset = (tap // 3 - 1) * self.geometry.row_length + tap % 3 - 1
                touched |= source[(position + offset) % source.size]
        return touched
