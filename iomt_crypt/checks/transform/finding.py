"""Array transforms that look at an object, its frames or an image, and leave it as it is.

Images are channel first, (C, H, W[, D]); what is said of frames is said of channels then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import NdarrayOrTensor
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import Transform

from iomt_crypt.checks.cell import Cells, Frame, read_cells
from iomt_crypt.checks.key import Given, opener_of
from iomt_crypt.checks.statistic import CellStatistics, measure
from iomt_crypt.checks.transform.array import BACKENDS, Seal, seal_of
from iomt_crypt.checks.transform.integrity import Integrity, check_image, check_object
from iomt_crypt.checks.transform.word import Raw
from iomt_crypt.errors import PlainImageError
from iomt_crypt.seal import Identity, Keyring

if TYPE_CHECKING:
    from iomt_crypt.checks.classifier import Classifier


class CheckIntegrity(Transform):
    """Finding on an object (path or seekable stream) or an image; what is wrong with it is reported, not raised.

    Of an object: structure, tags, number of frames, binding of record and object; with a key also every frame's
    authenticity, and what was changed in the clear header. Of an image: its record. A batch is faulty: it has several.

    Parameters
    ----------
    identities, key
        Keys for authentication, or none.
    """

    backend = BACKENDS

    def __init__(
        self,
        identities: Sequence[Identity | Given] | Identity | Given | Keyring = (),
        *,
        key: bytes | None = None,
    ) -> None:
        self._opener = opener_of(identities, key)

    def __call__(self, img: NdarrayOrTensor | str | Path | BinaryIO, seal: Seal | None = None) -> Integrity:
        keyring = self._opener.keyring() if self._opener else None
        if isinstance(seal, list | tuple) or (isinstance(img, MetaTensor) and img.is_batch):
            return Integrity("faulty", ("a batch: check its images one by one (monai.data.decollate_batch)",))
        if isinstance(img, np.ndarray | torch.Tensor):
            return check_image(Raw.of(img), seal_of(img) if seal is None else seal, keyring)
        return check_object(img, keyring)


class LoadCells(Transform):
    """Cells of an object (path or seekable stream); see `iomt_crypt.checks.read_cells` for argument and errors."""

    def __init__(self, n_frames: int | None = None) -> None:
        self._n_frames = n_frames

    def __call__(self, filename: str | Path | BinaryIO) -> Cells:
        return read_cells(filename, n_frames=self._n_frames)


class CipherStatistics(Transform):
    """Statistics of each frame of `Cells`, or of each channel of an image, at the true word size.

    32- and 64-bit values are looked at as 16-bit words, as the cipher takes them.
    """

    backend = BACKENDS

    def __call__(self, img: NdarrayOrTensor | Cells) -> tuple[CellStatistics, ...]:
        return tuple(measure(frame) for frame in frames_of(img))


class ClassifyEncrypted(Transform):
    """Probability that each frame of `Cells`, or each channel of an image, is encrypted: float64 (n,).

    Parameters
    ----------
    weights
        Folder of a classifier that was trained by ``iomt-crypt train``; None: the one of the package. It is loaded
        at first use, by each process.
    """

    backend = BACKENDS

    def __init__(self, weights: str | Path | None = None) -> None:
        self._weights = None if weights is None else Path(weights).expanduser().absolute()
        self._classifier: Classifier | None = None

    def __call__(self, img: NdarrayOrTensor | Cells) -> npt.NDArray[np.float64]:
        return self.classifier.probabilities(frames_of(img))

    @property
    def classifier(self) -> Classifier:
        """The trained network. Raises ConfigurationError when its files are damaged or missing."""
        if self._classifier is None:
            from iomt_crypt.checks.classifier import Classifier

            self._classifier = Classifier.load(self._weights)
        return self._classifier

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_classifier": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> ClassifyEncrypted:
        return self  # holds nothing that a call changes


class RejectPlain(Transform):
    """Images and cells pass as they are; PlainImageError when a finding says that they are not encrypted.

    Plain is what has a statistical alarm in any frame, or any frame whose probability is below the threshold. Without
    findings the statistics are made here. The node weighs its findings otherwise: see `iomt_crypt.checks.Guard`.

    Parameters
    ----------
    threshold
        Smallest probability of an encrypted frame; None: the one of the package's classifier.
    """

    backend = BACKENDS

    def __init__(self, threshold: float | None = None) -> None:
        self._threshold = threshold

    def __call__(
        self,
        img: Any,
        statistics: Sequence[CellStatistics] | None = None,
        probability: npt.NDArray[np.float64] | None = None,
    ) -> Any:
        """Return ``img`` itself.

        Raises
        ------
        PlainImageError
            Naming the frame and what showed it.
        """
        if statistics is None and probability is None:
            statistics = CipherStatistics()(img)
        for index, found in enumerate(statistics or ()):
            if found.alarms:
                raise PlainImageError(f"frame {index} does not look encrypted: {', '.join(found.alarms)}")
        if probability is not None:
            threshold = self._smallest()
            for index, p in enumerate(probability):
                if not p >= threshold:  # NaN is no pass
                    raise PlainImageError(f"frame {index} does not look encrypted: probability {p:.3g} < {threshold:g}")
        return img

    def _smallest(self) -> float:
        if self._threshold is None:
            from iomt_crypt.checks.card import CARD, SHIPPED, read_card

            self._threshold = read_card(SHIPPED / CARD).threshold
        return self._threshold


def frames_of(img: NdarrayOrTensor | Cells) -> tuple[Frame, ...]:
    """Frames of cells, or the channels of an image as the cipher takes them."""
    return Raw.of(img).frames() if isinstance(img, np.ndarray | torch.Tensor) else img.frames
