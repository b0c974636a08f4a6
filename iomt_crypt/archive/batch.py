"""Batches of about equal time, whatever an object costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

from iomt_crypt.archive.tree import Found

TARGET_S = 0.3  # long beside the cost of sending a batch, short beside what is lost with one
MAX_BATCH = 2048
_FIRST = 4


class Pace:
    """How many objects make a batch of about the same time, from how long the last ones took: ``most`` at the most."""

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, *, target_s: float = TARGET_S, first: int = _FIRST
    ) -> None:
        self.clock = clock
        self.size = first
        self._target_s = target_s
        self.most = round(MAX_BATCH * target_s / TARGET_S)

    def observe(self, n_objects: int, seconds: float) -> None:
        """A batch of ``n_objects`` took ``seconds``. The size follows, at most twofold a step up and at once down."""
        fitting = int(self._target_s * n_objects / seconds) if seconds > 0 else self.most
        self.size = max(1, min(fitting, 2 * max(self.size, _FIRST), self.most))


def batches(stream: Iterator[Found], pace: Pace) -> Iterator[list[Found]]:
    """``stream`` in lists of the size that fits when each is taken."""
    while batch := list(islice(stream, pace.size)):
        yield batch
