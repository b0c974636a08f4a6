"""Dictionary transforms: the array transforms over the keys of an item.

A check adds what it found under the key's name and a postfix; the image stays as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform
from monai.utils.misc import ensure_tuple

from iomt_crypt.checks.key import Given
from iomt_crypt.checks.transform.array import BACKENDS, DecryptPixels, EncryptPixels
from iomt_crypt.checks.transform.finding import (
    CheckIntegrity,
    CipherStatistics,
    ClassifyEncrypted,
    LoadCells,
    RejectPlain,
)
from iomt_crypt.errors import ConfigurationError
from iomt_crypt.seal import DEFAULT_SUITE, Identity, Keyring, Recipient

Item = Mapping[Hashable, Any]


class EncryptPixelsd(MapTransform, InvertibleTransform):
    """Dictionary-based `EncryptPixels`.

    The record of a MetaTensor lies in its meta data, that of an array or tensor beside it: ``d["image_seal"]`` for the
    key "image". Their kind stays what it is. AlreadyEncryptedError if there is a record in either place.
    """

    backend = BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        recipients: Sequence[Recipient | Given] | Recipient | Given = (),
        *,
        key: bytes | None = None,
        identities: Sequence[Identity | Given] | Identity | Given = (),
        suite: str | None = DEFAULT_SUITE,
        tweak: bytes = b"",
        seal_postfix: str = "seal",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._encrypt = EncryptPixels(recipients, key=key, identities=identities, suite=suite, tweak=tweak)
        self._postfix = seal_postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            place = f"{key}_{self._postfix}"
            if isinstance(d[key], MetaTensor) and d.get(place) is None:
                d[key] = self._encrypt(d[key])
                continue
            d[key], seal = self._encrypt.encrypt(d[key], d.get(place))
            if seal is not None:
                d[place] = seal
        return d

    def inverse(self, data: Item) -> dict[Hashable, Any]:
        """Decrypt; the record beside an image goes."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._encrypt.decrypt(d[key], d.pop(f"{key}_{self._postfix}", None))
        return d


class DecryptPixelsd(MapTransform):
    """Dictionary-based `DecryptPixels`; the record beside an image goes."""

    backend = BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        identities: Sequence[Identity | Given] | Identity | Given = (),
        *,
        key: bytes | None = None,
        suite: str | None = DEFAULT_SUITE,
        tweak: bytes = b"",
        seal_postfix: str = "seal",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._decrypt = DecryptPixels(identities, key=key, suite=suite, tweak=tweak)
        self._postfix = seal_postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._decrypt(d[key], d.pop(f"{key}_{self._postfix}", None))
        return d


class CheckIntegrityd(MapTransform):
    """Dictionary-based `CheckIntegrity`: adds ``d["object_integrity"]``, an `Integrity`, for the key "object"."""

    backend = BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        identities: Sequence[Identity | Given] | Identity | Given | Keyring = (),
        *,
        key: bytes | None = None,
        postfix: str = "integrity",
        seal_postfix: str = "seal",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._check = CheckIntegrity(identities, key=key)
        self._postfix, self._seal_postfix = postfix, seal_postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{key}_{self._postfix}"] = self._check(d[key], d.get(f"{key}_{self._seal_postfix}"))
        return d


class LoadCellsd(MapTransform):
    """Dictionary-based `LoadCells`: adds ``d["cells"]`` from the path or stream at the one key.

    Parameters
    ----------
    cells_keys
        as many names as there are keys
    """

    def __init__(
        self,
        keys: KeysCollection,
        n_frames: int | None = None,
        *,
        cells_keys: KeysCollection = "cells",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._load = LoadCells(n_frames)
        self._cells_keys = ensure_tuple(cells_keys)
        if len(self._cells_keys) != len(self.keys):
            raise ConfigurationError(
                f"cells_keys names {len(self._cells_keys)} results, keys names {len(self.keys)} objects"
            )

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key, cells_key in self.key_iterator(d, self._cells_keys):
            d[cells_key] = self._load(d[key])
        return d


class CipherStatisticsd(MapTransform):
    """Dictionary-based `CipherStatistics`: adds ``d["cells_statistics"]`` for the key "cells"."""

    backend = BACKENDS

    def __init__(self, keys: KeysCollection, *, postfix: str = "statistics", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._measure = CipherStatistics()
        self._postfix = postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{key}_{self._postfix}"] = self._measure(d[key])
        return d


class ClassifyEncryptedd(MapTransform):
    """Dictionary-based `ClassifyEncrypted`: adds ``d["cells_probability"]`` for the key "cells"."""

    backend = BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        weights: str | Path | None = None,
        *,
        postfix: str = "probability",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._classify = ClassifyEncrypted(weights)
        self._postfix = postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[f"{key}_{self._postfix}"] = self._classify(d[key])
        return d


class RejectPlaind(MapTransform):
    """Dictionary-based `RejectPlain`, over what `CipherStatisticsd` and `ClassifyEncryptedd` found in the item."""

    backend = BACKENDS

    def __init__(
        self,
        keys: KeysCollection,
        threshold: float | None = None,
        *,
        statistics_postfix: str = "statistics",
        probability_postfix: str = "probability",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._reject = RejectPlain(threshold)
        self._statistics, self._probability = statistics_postfix, probability_postfix

    def __call__(self, data: Item) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            self._reject(d[key], d.get(f"{key}_{self._statistics}"), d.get(f"{key}_{self._probability}"))
        return d


EncryptPixelsD = EncryptPixelsDict = EncryptPixelsd
DecryptPixelsD = DecryptPixelsDict = DecryptPixelsd
CheckIntegrityD = CheckIntegrityDict = CheckIntegrityd
LoadCellsD = LoadCellsDict = LoadCellsd
CipherStatisticsD = CipherStatisticsDict = CipherStatisticsd
ClassifyEncryptedD = ClassifyEncryptedDict = ClassifyEncryptedd
RejectPlainD = RejectPlainDict = RejectPlaind
