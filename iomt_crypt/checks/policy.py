"""What the guard runs on each object before it leaves, and what a finding leads to. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["block", "warn", "off"]

#: Frames of one object that are looked at, at most: the false alarms of `statistic` are counted for so many.
MAXIMUM_FRAMES = 1000


@dataclass(frozen=True)
class GuardPolicy:
    """How objects are checked before they are forwarded.

    action
        ``"block"``: an object with an alarm, or one that a check fails on, does not leave; ``"warn"``: it leaves, and
        the alarm is noted; ``"off"``: nothing is checked
    n_frames
        frames of an object that statistics and classifier look at, 2 to 1000; the first and the last are among them
    classifier
        ask the trained classifier too
    own
        a site's own checks, ``"package.module:Class"``: MONAI transforms that get the dictionary after all others
    n_threads
        threads of PyTorch
    """

    action: Action = "block"
    n_frames: int = 16
    classifier: bool = True
    own: tuple[str, ...] = ()
    n_threads: int = 1
