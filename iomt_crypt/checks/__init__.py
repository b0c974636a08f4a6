"""Is it encrypted, and well? MONAI transforms, statistics, the trained classifier, and the guard that combines them.

The names below are loaded on first use: importing the package costs nothing, a transform imports MONAI and PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from iomt_crypt.errors import ConfigurationError

if TYPE_CHECKING:
    from iomt_crypt.checks.cell import Cells, read_cells
    from iomt_crypt.checks.classifier import Classifier
    from iomt_crypt.checks.dataset import EncryptedCacheDataset, EncryptedDataset, list_items
    from iomt_crypt.checks.guard import Alarm, Guard, Verdict
    from iomt_crypt.checks.policy import GuardPolicy
    from iomt_crypt.checks.reader import EncryptedDicomReader
    from iomt_crypt.checks.statistic import CellStatistics, measure
    from iomt_crypt.checks.transform import (
        CheckIntegrity,
        CheckIntegrityD,
        CheckIntegrityd,
        CheckIntegrityDict,
        CipherStatistics,
        CipherStatisticsD,
        CipherStatisticsd,
        CipherStatisticsDict,
        ClassifyEncrypted,
        ClassifyEncryptedD,
        ClassifyEncryptedd,
        ClassifyEncryptedDict,
        DecryptPixels,
        DecryptPixelsD,
        DecryptPixelsd,
        DecryptPixelsDict,
        EncryptPixels,
        EncryptPixelsD,
        EncryptPixelsd,
        EncryptPixelsDict,
        Integrity,
        LoadCells,
        LoadCellsD,
        LoadCellsd,
        LoadCellsDict,
        RejectPlain,
        RejectPlainD,
        RejectPlaind,
        RejectPlainDict,
    )

_HOMES = {
    "Alarm": "guard",
    "CellStatistics": "statistic",
    "Cells": "cell",
    "CheckIntegrity": "transform",
    "CheckIntegrityD": "transform",
    "CheckIntegrityDict": "transform",
    "CheckIntegrityd": "transform",
    "CipherStatistics": "transform",
    "CipherStatisticsD": "transform",
    "CipherStatisticsDict": "transform",
    "CipherStatisticsd": "transform",
    "Classifier": "classifier",
    "ClassifyEncrypted": "transform",
    "ClassifyEncryptedD": "transform",
    "ClassifyEncryptedDict": "transform",
    "ClassifyEncryptedd": "transform",
    "DecryptPixels": "transform",
    "DecryptPixelsD": "transform",
    "DecryptPixelsDict": "transform",
    "DecryptPixelsd": "transform",
    "EncryptPixels": "transform",
    "EncryptPixelsD": "transform",
    "EncryptPixelsDict": "transform",
    "EncryptPixelsd": "transform",
    "EncryptedCacheDataset": "dataset",
    "EncryptedDataset": "dataset",
    "EncryptedDicomReader": "reader",
    "Guard": "guard",
    "GuardPolicy": "policy",
    "Integrity": "transform",
    "LoadCells": "transform",
    "LoadCellsD": "transform",
    "LoadCellsDict": "transform",
    "LoadCellsd": "transform",
    "RejectPlain": "transform",
    "RejectPlainD": "transform",
    "RejectPlainDict": "transform",
    "RejectPlaind": "transform",
    "Verdict": "guard",
    "list_items": "dataset",
    "measure": "statistic",
    "read_cells": "cell",
}

__all__ = [
    "Alarm",
    "CellStatistics",
    "Cells",
    "CheckIntegrity",
    "CheckIntegrityD",
    "CheckIntegrityDict",
    "CheckIntegrityd",
    "CipherStatistics",
    "CipherStatisticsD",
    "CipherStatisticsDict",
    "CipherStatisticsd",
    "Classifier",
    "ClassifyEncrypted",
    "ClassifyEncryptedD",
    "ClassifyEncryptedDict",
    "ClassifyEncryptedd",
    "DecryptPixels",
    "DecryptPixelsD",
    "DecryptPixelsDict",
    "DecryptPixelsd",
    "EncryptPixels",
    "EncryptPixelsD",
    "EncryptPixelsDict",
    "EncryptPixelsd",
    "EncryptedCacheDataset",
    "EncryptedDataset",
    "EncryptedDicomReader",
    "Guard",
    "GuardPolicy",
    "Integrity",
    "LoadCells",
    "LoadCellsD",
    "LoadCellsDict",
    "LoadCellsd",
    "RejectPlain",
    "RejectPlainD",
    "RejectPlainDict",
    "RejectPlaind",
    "Verdict",
    "list_items",
    "measure",
    "read_cells",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'iomt_crypt.checks' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"iomt_crypt.checks.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("monai", "safetensors", "torch"):
            raise
        raise ConfigurationError(f"{name} needs {missing}", hint="pip install 'iomt-crypt[checks]'") from error


def __dir__() -> list[str]:
    return sorted(__all__)
