"""When the node changes its epoch key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from iomt_crypt.seal import Epoch, Recipient


class EpochSource:
    """Gives the epoch for each object, and a new one after ``n_objects`` or ``hours``. Thread safe."""

    def __init__(
        self,
        recipients: Sequence[Recipient],
        *,
        n_objects: int,
        hours: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recipients = recipients
        self._n_objects = n_objects
        self._seconds = hours * 3600.0
        self._clock = clock
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._epoch = Epoch.create(self._recipients)
        self._since = self._clock()
        self._n_used = 0

    def current(self) -> Epoch:
        """The epoch for one more object."""
        with self._lock:
            if self._n_used >= self._n_objects or self._clock() - self._since >= self._seconds:
                self._begin()
            self._n_used += 1
            return self._epoch
