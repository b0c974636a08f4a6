"""The key stream of the cipher, lane by lane, as long as a test wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from iomt_crypt.analysis.randomness.kernel import compiled
from iomt_crypt.cipher.constant import LANES, VEIL_LANES
from iomt_crypt.cipher.schedule import Geometry, make_schedule, round_seeds

#: Words of the key stream: uint32 (n_steps, 128), a row for each step, a column for each lane.
Words = npt.NDArray[np.uint32]
_U32 = npt.NDArray[np.uint32]

_PIECE_STEPS: Final = 8192


class LaneStream:
    """The lanes of one round, as a generator of 32-bit words.

    Written once more, apart from the cipher's backends, because these stop at the end of a frame and never show a lane
    without its veil; the tests compare the two.

    Parameters
    ----------
    seeds
        uint32 (3, 128), as `round_seeds` returns them.
    veiled
        Whether each word is veiled by another lane, as it is in the cipher. Without the veil the lanes have the
        structure that decision 0008 describes, and serve as a failing control.
    """

    def __init__(self, seeds: _U32, *, veiled: bool = True) -> None:
        if seeds.shape != (3, LANES):
            raise ValueError(f"seeds must have the shape (3, {LANES}), got {seeds.shape}")
        self._state, self._weyl = seeds[0].copy(), seeds[1].copy()
        self._increment: _U32 = seeds[2] | np.uint32(1)
        self._veils = np.zeros(VEIL_LANES, np.uint32)
        self._veiled = veiled
        self.steps(1)  # gives only the first veils

    @classmethod
    def of(cls, key: bytes, *, tweak: bytes = b"", veiled: bool = True) -> LaneStream:
        """Make the lanes of the first round of a 16-bit frame of 512 x 512 zeros under a key of 32 bytes."""
        geometry = Geometry.of(512 * 512, 512, 16)
        schedule = make_schedule(key, tweak, geometry)
        # What features an image has does not matter here: they are hashed with the round key.
        seeds = round_seeds(schedule.round_keys[0], geometry.n_left, bytes(geometry.n_left * 2 // 128))
        return cls(seeds, veiled=veiled)

    def steps(self, count: int) -> Words:
        """Return the next `count` steps of all lanes, uint32 (count, 128)."""
        words = np.empty((count, LANES), np.uint32)
        self.fill(words)
        return words

    def fill(self, words: Words) -> None:
        """Write the next steps of all lanes to uint32 (n_steps, 128)."""
        _steps(self._state, self._weyl, self._increment, self._veils, words, self._veiled)

    def pieces(self, lanes: slice = slice(None)) -> Iterator[bytes]:
        """Give the key stream, or that of some lanes alone, without end; up to 4 MiB at a time."""
        words = np.empty((_PIECE_STEPS, LANES), np.uint32)
        while True:
            self.fill(words)
            yield words[:, lanes].astype("<u4").tobytes()


@compiled
def _steps(state: _U32, weyl: _U32, increment: _U32, veils: _U32, words: Words, veiled: bool) -> None:
    """Take one step of all lanes for each row of `words`; `veils` are those of the last 32 lanes, one step before."""
    own = np.empty(VEIL_LANES + LANES, np.uint32)
    own[:VEIL_LANES] = veils
    for step in range(words.shape[0]):
        row = words[step]
        for lane in range(0, LANES, 2):
            x, y = np.uint64(state[lane]), np.uint64(state[lane + 1])
            w, v = weyl[lane] + increment[lane], weyl[lane + 1] + increment[lane + 1]
            p, q = x * (np.uint64(0xFFFFFFFF) - x), y * (np.uint64(0xFFFFFFFF) - y)
            row[lane], row[lane + 1] = np.uint32(p >> np.uint64(8)) ^ w, np.uint32(q >> np.uint64(8)) ^ v
            own[VEIL_LANES + lane] = np.uint32(p >> np.uint64(24))
            own[VEIL_LANES + lane + 1] = np.uint32(q >> np.uint64(24))
            state[lane], state[lane + 1] = np.uint32(q >> np.uint64(30)) + w, np.uint32(p >> np.uint64(30)) + v
            weyl[lane], weyl[lane + 1] = w, v
        if veiled:
            for lane in range(LANES):
                row[lane] ^= own[lane]
        for lane in range(VEIL_LANES):
            own[lane] = own[LANES + lane]
    veils[:] = own[:VEIL_LANES]
