"""Dictionary transforms: the array transforms over the keys of an item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import InvertibleTransform, MapTransform

from iomt_crypt.checks.transform.array import _BACKENDS
from iomt_crypt.seal import DEFAULT_SUITE, Identity, Keyring, Recipient

Item = Mapping[Hashable, Any]


class EncryptPixelsd(MapTransform, InvertibleTransform):
    backend = _BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        recipients: Sequence[Recipient | str | Path] = (),
        *,
        key: bytes | None = None,
        identities: Sequence[Identity | str | Path] = (),
        suite: str | None = DEFAULT_SUITE,
        seal_postfix: str = "seal",
        allow_missing_keys: bool = False,
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError

    def inverse(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


class DecryptPixelsd(MapTransform):
    backend = _BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        identities: Sequence[Identity | str | Path] = (),
        *,
        key: bytes | None = None,
        suite: str | None = DEFAULT_SUITE,
        seal_postfix: str = "seal",
        allow_missing_keys: bool = False,
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


class CheckIntegrityd(MapTransform):
    """Adds ``d["object_integrity"]``, an `Integrity`, for the key "object"."""

    backend = _BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        identities: Sequence[Identity | str | Path] | Keyring = (),
        *,
        key: bytes | None = None,
        postfix: str = "integrity",
        seal_postfix: str = "seal",
        allow_missing_keys: bool = False,
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


class LoadCellsd(MapTransform):
    """Adds ``d["cells"]``, a `Cells`, from the path or stream at the key "object"."""

    def __init__(
        self,
        keys: KeysCollection,
        n_frames: int | None = None,
        *,
        cells_keys: KeysCollection = "cells",
        allow_missing_keys: bool = False,
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


class CipherStatisticsd(MapTransform):
    """Adds ``d["cells_statistics"]``, one `CellStatistics` for each frame, for the key "cells"."""

    backend = _BACKENDS

    def __init__(
        self, keys: KeysCollection, *, postfix: str = "statistics", allow_missing_keys: bool = False
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


class ClassifyEncryptedd(MapTransform):
    """Adds ``d["cells_probability"]``, float64, one for each frame, for the key "cells"."""

    backend = _BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        classifier: str | Path | None = None,
        *,
        postfix: str = "probability",
        allow_missing_keys: bool = False,
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


class RejectPlaind(MapTransform):
    """Raises PlainImageError when ``d["cells_statistics"]`` or ``d["cells_probability"]`` say plain."""

    backend = _BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float | None = None,
        *,
        statistics_postfix: str = "statistics",
        probability_postfix: str = "probability",
        allow_missing_keys: bool = False,
    ) -> None: ...

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        raise NotImplementedError


EncryptPixelsD = EncryptPixelsDict = EncryptPixelsd
DecryptPixelsD = DecryptPixelsDict = DecryptPixelsd
CheckIntegrityD = CheckIntegrityDict = CheckIntegrityd
LoadCellsD = LoadCellsDict = LoadCellsd
CipherStatisticsD = CipherStatisticsDict = CipherStatisticsd
ClassifyEncryptedD = ClassifyEncryptedDict = ClassifyEncryptedd
RejectPlainD = RejectPlainDict = RejectPlaind
