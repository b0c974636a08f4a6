"""The declared recipe of the training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iomt_crypt.checks.card import MAXIMUM_CHANNELS, POOLINGS
from iomt_crypt.checks.network import Pooling
from iomt_crypt.checks.patch import SIDES
from iomt_crypt.checks.training.synthetic import SYNTHETIC
from iomt_crypt.errors import ConfigurationError

RECIPE = Path(__file__).with_name("recipe.json")
_SHOWN = 60  # characters of a value that is refused


@dataclass(frozen=True)
class Recipe:
    """What decides, with the data and the seed, what comes out.

    Parameters
    ----------
    channels, pooling
        Of the network.
    steps, rate
        Of the optimiser: how many, and the highest rate.
    batch
        Pieces in one step for each of `SIDES`, half of them noise.
    n_threads
        Of torch: the last bits of the weights depend on it.
    frames_of_an_object, objects_of_a_source, synthetic_frames
        So many are used at most; the last one for each kind.
    pieces_of_a_kind
        Pieces of one source and one kind of defect that are kept.
    noise_pieces
        Pieces of noise for the mean and the limit, for each side.
    false_alarms
        Share of properly encrypted frames that may be called plain.
    evaluations
        Proper encryptions of each frame that is evaluated on, for each way.
    held_out, held_out_synthetic
        Sources and kinds that are for evaluation alone.
    licences
        Of the sources that may be trained on, as their manifest words them.
    """

    channels: tuple[int, int, int]
    pooling: Pooling
    steps: int
    rate: float
    batch: tuple[int, ...]
    n_threads: int
    frames_of_an_object: int
    objects_of_a_source: int
    synthetic_frames: int
    pieces_of_a_kind: int
    noise_pieces: int
    false_alarms: float
    evaluations: int
    held_out: tuple[str, ...]
    held_out_synthetic: tuple[str, ...]
    licences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Numbers:
    """What a key of numbers takes: one, or a list of ``n``, all within the limits."""

    smallest: float
    largest: float
    whole: bool = True
    n: int | None = None

    def takes(self, value: Any) -> bool:
        if self.n is not None and not (isinstance(value, list) and len(value) == self.n):
            return False
        types = (int,) if self.whole else (int, float)  # bool is neither
        return all(
            type(v) in types and self.smallest <= v <= self.largest for v in ([value] if self.n is None else value)
        )

    def __str__(self) -> str:
        what = (
            ("a whole number" if self.whole else "a number") if self.n is None else f"a list of {self.n} whole numbers"
        )
        return f"{what} from {self.smallest:g} to {self.largest:g}"


@dataclass(frozen=True)
class _Words:
    """What a key of names takes: one of ``known``, or a list of them; of any where that is empty."""

    known: tuple[str, ...] = ()
    one: bool = False

    def takes(self, value: Any) -> bool:
        values = [value] if self.one else value
        return isinstance(values, list) and all(
            isinstance(v, str) and (not self.known or v in self.known) for v in values
        )

    def __str__(self) -> str:
        names = f": {', '.join(self.known)}" if self.known else ""
        return f"one of{names}" if self.one else f"a list of names{names}"


_COUNT = _Numbers(1, 1_000_000)
#: What each field takes. A step needs two pieces of noise at least for their deviation; a limit is set in the last
#: twentieth of the noise.
_LIMITS: dict[str, _Numbers | _Words] = {
    "channels": _Numbers(1, MAXIMUM_CHANNELS, n=3),
    "pooling": _Words(POOLINGS, one=True),
    "steps": _COUNT,
    "rate": _Numbers(1e-9, 1, whole=False),
    "batch": _Numbers(4, 4096, n=len(SIDES)),
    "n_threads": _Numbers(1, 256),
    "frames_of_an_object": _COUNT,
    "objects_of_a_source": _COUNT,
    "synthetic_frames": _COUNT,
    "pieces_of_a_kind": _COUNT,
    "noise_pieces": _COUNT,
    "false_alarms": _Numbers(1e-12, 0.05, whole=False),
    "evaluations": _COUNT,
    "held_out": _Words(),
    "held_out_synthetic": _Words(tuple(SYNTHETIC)),
    "licences": _Words(),
}


def read_recipe(path: Path = RECIPE) -> Recipe:
    """Read a recipe.

    Raises
    ------
    ConfigurationError
        It cannot be read, does not name each field of `Recipe` and nothing else, or a value is not of its type or out
        of its range.
    """
    hint = f"start from {RECIPE}"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: no recipe ({type(error).__name__})", hint=hint) from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: no recipe (not a JSON object)", hint=hint)
    for words, names in (("missing", _LIMITS.keys() - found.keys()), ("unknown", found.keys() - _LIMITS.keys())):
        if names:
            raise ConfigurationError(f"{path}: {words}: {', '.join(sorted(names))}", hint=hint)
    for name, limit in _LIMITS.items():
        if not limit.takes(found[name]):
            raise ConfigurationError(f"{path}: {name} is {_shown(found[name])}, and must be {limit}", hint=hint)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Recipe(**values)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
