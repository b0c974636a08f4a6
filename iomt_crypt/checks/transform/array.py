"""Array transforms: one image, object or list of frames in, one result out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from monai.config import NdarrayOrTensor
from monai.transforms import InvertibleTransform, Transform
from monai.utils import TransformBackends

from iomt_crypt.checks.transform.integrity import Integrity
from iomt_crypt.seal import DEFAULT_SUITE, Identity, Keyring, Recipient

if TYPE_CHECKING:
    from iomt_crypt.checks.cell import Cells
    from iomt_crypt.checks.statistic import CellStatistics

_BACKENDS = [TransformBackends.TORCH, TransformBackends.NUMPY]


class EncryptPixels(InvertibleTransform):
    backend = _BACKENDS

    def __init__(
        self,
        recipients: Sequence[Recipient | str | Path] = (),
        *,
        key: bytes | None = None,
        identities: Sequence[Identity | str | Path] = (),
        suite: str | None = DEFAULT_SUITE,
    ) -> None: ...

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        raise NotImplementedError

    def inverse(self, data: Any) -> Any:
        raise NotImplementedError


class DecryptPixels(Transform):
    backend = _BACKENDS

    def __init__(
        self,
        identities: Sequence[Identity | str | Path] = (),
        *,
        key: bytes | None = None,
        suite: str | None = DEFAULT_SUITE,
    ) -> None: ...

    def __call__(self, img: NdarrayOrTensor, seal: bytes | None = None) -> NdarrayOrTensor:
        raise NotImplementedError


class CheckIntegrity(Transform):
    """Finding on an object (path or seekable stream) or an image; never raises for what is wrong with it."""

    backend = _BACKENDS

    def __init__(
        self, identities: Sequence[Identity | str | Path] | Keyring = (), *, key: bytes | None = None
    ) -> None: ...

    def __call__(self, img: NdarrayOrTensor | str | Path | BinaryIO, seal: bytes | None = None) -> Integrity:
        raise NotImplementedError


class LoadCells(Transform):
    """Cells of an object (path or seekable stream); see `iomt_crypt.checks.cell.read_cells`."""

    def __init__(self, n_frames: int | None = None) -> None: ...

    def __call__(self, filename: str | Path | BinaryIO) -> Cells:
        raise NotImplementedError


class CipherStatistics(Transform):
    """Statistics of each frame (of `Cells`), or of each channel (of an image, channel first)."""

    backend = _BACKENDS

    def __call__(self, img: NdarrayOrTensor | Cells) -> tuple[CellStatistics, ...]:
        raise NotImplementedError


class ClassifyEncrypted(Transform):
    """Probability that each frame (of `Cells`) or channel (of an image) is encrypted; float64."""

    backend = _BACKENDS

    def __init__(self, classifier: str | Path | None = None) -> None: ...

    def __call__(self, img: NdarrayOrTensor | Cells) -> npt.NDArray[np.float64]:
        raise NotImplementedError


class RejectPlain(Transform):
    """The image or cells as they are, or PlainImageError when a finding says that they are not encrypted."""

    backend = _BACKENDS

    def __init__(self, threshold: float | None = None) -> None: ...

    def __call__(
        self,
        img: NdarrayOrTensor | Cells,
        statistics: Sequence[CellStatistics] | None = None,
        probability: npt.NDArray[np.float64] | None = None,
    ) -> NdarrayOrTensor | Cells:
        raise NotImplementedError
