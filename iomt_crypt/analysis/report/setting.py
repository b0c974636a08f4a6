"""What a report can be told."""

from __future__ import annotations

from dataclasses import dataclass

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import DEFAULT_SUITE, SUITES

MAXIMUM_TRIALS = 10_000


@dataclass(frozen=True, slots=True)
class Settings:
    """How the measurements are made.

    Parameters
    ----------
    suite
        Suite that the sections about tags and stored objects use.
    frame
        Frame of the input, from 1.
    n_trials
        Trials with one changed bit, each with keys of its own; 1 to 10000.
    alpha
        Level of significance of each single figure, 0.0001 to 0.5.
    seed
        Of everything random: the keys of the measurements, the places of changed bits, the choice of blocks and points.

    Raises
    ------
    ConfigurationError
        A value is outside its range.
    """

    suite: str = DEFAULT_SUITE
    frame: int = 1
    n_trials: int = 50
    alpha: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise ConfigurationError(f"suite {self.suite!r} is unknown", hint=f"one of: {', '.join(SUITES)}")
        if self.frame < 1:
            raise ConfigurationError(f"frame must be 1 or more, got {self.frame}", hint="frames are counted from 1")
        if not 1 <= self.n_trials <= MAXIMUM_TRIALS:
            raise ConfigurationError(f"trials must be 1 to {MAXIMUM_TRIALS}, got {self.n_trials}")
        if not 0.0001 <= self.alpha <= 0.5:
            raise ConfigurationError(f"alpha must be 0.0001 to 0.5, got {self.alpha}", hint="usual is 0.05")
        if self.seed < 0:
            raise ConfigurationError(f"seed must be 0 or more, got {self.seed}")
