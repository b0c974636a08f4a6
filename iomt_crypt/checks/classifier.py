"""The trained network at work: the probability that a frame is properly encrypted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from iomt_crypt.checks.card import CARD, SHIPPED, WEIGHTS, Card, read_card
from iomt_crypt.checks.cell import Frame
from iomt_crypt.checks.channel import channels_of
from iomt_crypt.checks.network import Network
from iomt_crypt.checks.patch import SIDES, cut
from iomt_crypt.errors import ConfigurationError

#: Of a file of weights.
MAXIMUM_BYTES = 2_000_000
_LARGEST_EXPONENT = 700.0
_HINT = "take both files from one 'iomt-crypt train', or leave --weights away for those of the package"


class Classifier:
    """Tells properly encrypted frames from all others by their cells alone.

    Each frame is looked at by itself and in the same way at every call: pieces of it one by one and all together, and
    what looks least like noise decides. Equal frames have equal probabilities on one machine.

    Parameters
    ----------
    network
        Trained.
    card
        Of this network.
    n_threads
        Threads of torch while it works.
    """

    def __init__(self, network: Network, card: Card, *, n_threads: int = 1) -> None:
        self._network = network.eval().requires_grad_(False)
        self._n_threads = n_threads
        self.card = card

    @classmethod
    def load(cls, path: Path | None = None, *, n_threads: int = 1) -> Classifier:
        """The classifier in the folder ``path``: `WEIGHTS` and `CARD`; None: the one of the package.

        Raises
        ------
        ConfigurationError
            A file is missing, too large or damaged, or the two do not belong together.
        """
        folder = SHIPPED if path is None else path
        card = read_card(folder / CARD)
        network = Network(channels=card.channels, pooling=card.pooling)  # type: ignore[arg-type]
        network.load_state_dict(_read_weights(folder / WEIGHTS, card, network.state_dict()))
        return cls(network, card, n_threads=n_threads)

    @property
    def threshold(self) -> float:
        """Frames of this probability or more are called encrypted."""
        return self.card.threshold

    def probabilities(self, frames: Sequence[Frame]) -> npt.NDArray[np.float64]:
        """Probability that each frame is properly encrypted.

        Parameters
        ----------
        frames
            uint8 or uint16, (rows, columns) of cells, of any size. Not changed.

        Returns
        -------
        ndarray
            float64 (len(frames),), in [0, 1].

        Raises
        ------
        ValueError
            A frame of another type or shape, or without cells.
        """
        with _threads(self._n_threads), torch.inference_mode():
            # One by one: the result for a frame must not depend on its neighbours in the batch.
            found = np.array([self._plainness(frame) for frame in frames], np.float64)
        return 1 / (1 + np.exp(np.clip(found, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)))

    def _plainness(self, frame: Frame) -> float:
        """Logarithm of the odds that the frame is not encrypted."""
        patches = cut(frame)
        network = self._network
        found = network.deviations(network.features(channels_of(patches.words)), patches.side)
        # The mean of n pieces of noise deviates less than one piece, by the root of n.
        together = found.mean(0, keepdim=True) * math.sqrt(patches.n_distinct)
        row = SIDES.index(patches.side)
        score = float(network.plainness(torch.cat([found, together])).max())
        return (score - self.card.offsets[row]) / self.card.scales[row]


def _read_weights(path: Path, card: Card, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})", hint=_HINT) from None
    if len(data) > MAXIMUM_BYTES:
        raise ConfigurationError(f"{path}: over the limit of {MAXIMUM_BYTES} bytes", hint=_HINT)
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise ConfigurationError(f"{path}: not the weights that {CARD} was written for", hint=_HINT)
    try:
        found = load_tensors(data)
    except SafetensorError:
        raise ConfigurationError(f"{path}: not a file of safetensors", hint=_HINT) from None
    for name in wanted.keys() | found.keys():
        have, want = found.get(name), wanted.get(name)
        if have is None or want is None or have.shape != want.shape or have.dtype != want.dtype:
            raise ConfigurationError(f"{path}: tensor {name!r} is missing, unknown or of another shape", hint=_HINT)
        if not bool(torch.isfinite(have).all()):
            raise ConfigurationError(f"{path}: tensor {name!r} is not finite", hint=_HINT)
    return found


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if before == n_threads:
        yield
        return
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
