"""What the guard runs on each object before it leaves, and what a finding leads to. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from iomt_crypt.errors import ConfigurationError

Action = Literal["block", "warn", "off"]

_PACKAGES = ("torch", "monai", "safetensors")

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

    def require_packages(self) -> None:
        """Check, without importing them, that the packages of the guard and the modules of own checks are there.

        Raises
        ------
        ConfigurationError
            One is missing.
        """
        if self.action == "off":
            return
        missing = [name for name in _PACKAGES if not _is_there(name)]
        if missing:
            raise ConfigurationError(
                f"the guard needs packages that are not installed: {', '.join(missing)}",
                hint="pip install 'iomt-crypt[checks]'; or do without it: checks.policy = \"off\"",
            )
        for name in self.own:
            if not _is_there(name.partition(":")[0]):
                raise ConfigurationError(
                    f"own check {name!r} cannot be loaded: there is no such module",
                    hint="checks.own: package.module:Class, installed where the node runs, or on its PYTHONPATH",
                )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a package above it is missing, or the name is none
        return False
