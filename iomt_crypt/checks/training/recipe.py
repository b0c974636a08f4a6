"""The declared recipe of the training."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from iomt_crypt.checks.network import Pooling
from iomt_crypt.checks.patch import SIDES
from iomt_crypt.errors import ConfigurationError

RECIPE = Path(__file__).with_name("recipe.json")


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


def read_recipe(path: Path = RECIPE) -> Recipe:
    """Read a recipe.

    Raises
    ------
    ConfigurationError
        It cannot be read, or does not name each field of `Recipe` and nothing else.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: no recipe ({type(error).__name__})", hint=f"start from {RECIPE}") from None
    names = {field.name for field in fields(Recipe)}
    if not isinstance(found, dict) or found.keys() != names:
        odd = sorted(found.keys() ^ names) if isinstance(found, dict) else ["no JSON object"]
        raise ConfigurationError(f"{path}: missing or unknown: {', '.join(odd)}", hint=f"start from {RECIPE}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    recipe = Recipe(**values)
    if len(recipe.channels) != 3 or len(recipe.batch) != len(SIDES) or recipe.pooling not in ("average", "max", "l2"):
        raise ConfigurationError(f"{path}: channels, batch or pooling out of range", hint=f"start from {RECIPE}")
    return recipe
