"""What is written beside the weights: how they were made, what they belong to, and from which probability to trust."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from iomt_crypt.checks.patch import SIDES
from iomt_crypt.durable import appearing_file
from iomt_crypt.errors import ConfigurationError

CARD, WEIGHTS = "card.json", "classifier.safetensors"
#: Of the folder in the package.
SHIPPED = Path(__file__).resolve().parent / "weight"
FORMAT = "iomt-crypt classifier 1"
#: Of a network that a card may describe, for each of its three layers; recipes keep to it too.
MAXIMUM_CHANNELS = 256
POOLINGS = ("average", "max", "l2")
_MAXIMUM_BYTES = 1 << 20
_LARGEST = 1e9
_HINT = "take both files from one 'iomt-crypt train', or leave --weights away for those of the package"


@dataclass(frozen=True)
class Card:
    """Of one trained network.

    Parameters
    ----------
    sha256
        Of the file of weights, in hexadecimal digits.
    channels, pooling
        Of the network.
    offsets, scales
        For each of `SIDES`: probability of "encrypted" = 1 / (1 + exp((plainness - offset) / scale)).
    threshold
        Frames of this probability or more are called encrypted, in (0, 1).
    about
        Data, licences, recipe, seed, command, figures: for people.
    """

    sha256: str
    channels: tuple[int, int, int]
    pooling: str
    offsets: tuple[float, ...]
    scales: tuple[float, ...]
    threshold: float
    about: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write as JSON that people can read, in place of one that is there. Raises StorageError."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        with appearing_file(path, replace=True) as file:
            file.write(text.encode())


def read_card(path: Path) -> Card:
    """Read a card strictly.

    Raises
    ------
    ConfigurationError
        It cannot be read, is too large, or its fields are missing, unknown or out of range.
    """
    try:
        if path.stat().st_size > _MAXIMUM_BYTES:
            raise ConfigurationError(f"{path}: over the limit of {_MAXIMUM_BYTES} bytes", hint=_HINT)
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: no card of a classifier ({type(error).__name__})", hint=_HINT) from None
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise ConfigurationError(f"{path}: not of the format {FORMAT!r}", hint=_HINT)
    try:
        lists = {name: tuple(fields[name]) for name in ("channels", "offsets", "scales")}
        card = Card(**{**fields, **lists})
        sound = is_sound(card)
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound:
        raise ConfigurationError(f"{path}: a field is missing, unknown or out of range", hint=_HINT)
    return card


def is_sound(card: Card) -> bool:
    """Tell whether every field is of its type and in its range: whether `read_card` would take it."""
    sizes = len(card.channels) == 3 and all(type(c) is int and 1 <= c <= MAXIMUM_CHANNELS for c in card.channels)
    kinds = card.pooling in POOLINGS and isinstance(card.sha256, str) and len(card.sha256) == 64
    numbers = all(type(v) in (int, float) for v in (*card.offsets, *card.scales, card.threshold))
    if not (sizes and kinds and numbers and isinstance(card.about, dict)):
        return False
    # NaN fails every comparison, and so does not pass.
    limits = all(abs(v) < _LARGEST for v in card.offsets) and all(0 < v < _LARGEST for v in card.scales)
    return limits and len(card.offsets) == len(card.scales) == len(SIDES) and 0 < card.threshold < 1
