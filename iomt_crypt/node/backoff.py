"""How long to wait before the next attempt: exponential, bounded, with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """The waiting times of a series of failed attempts.

    ``first_s`` and ``limit_s`` are seconds, 0 < first_s <= limit_s. ``jitter`` in [0, 1) is the part of each wait that
    is random, so that several nodes do not come back to a recovered archive in the same instant.
    """

    first_s: float
    limit_s: float
    jitter: float = 0.5

    def delay_s(self, failures: int, *, uniform: Callable[[], float] = random.random) -> float:
        """Seconds to wait after ``failures`` (1, 2, ...) failed attempts in a row.

        ``uniform`` gives numbers in [0, 1). The result lies in ``((1 - jitter) * full, full]`` where full doubles from
        ``first_s`` and stops at ``limit_s``.
        """
        # The exponent is bounded because 2.0 ** 1024 overflows, and a destination may be down for months.
        full = min(self.first_s * 2.0 ** min(max(failures, 1) - 1, 60), self.limit_s)
        return full * (1.0 - self.jitter * uniform())
