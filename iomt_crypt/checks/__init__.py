"""Is it encrypted, and well? MONAI transforms, statistics, the trained classifier, and the guard that combines them.

The names below are loaded on first use: importing the package costs nothing, a transform imports MONAI and PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iomt_crypt.checks.cell import Cells, read_cells
    from iomt_crypt.checks.classifier import Classifier
    from iomt_crypt.checks.guard import Alarm, Guard, Verdict
    from iomt_crypt.checks.policy import GuardPolicy
    from iomt_crypt.checks.statistic import CellStatistics, measure

_HOMES = {
    "Alarm": "guard",
    "CellStatistics": "statistic",
    "Cells": "cell",
    "Classifier": "classifier",
    "Guard": "guard",
    "GuardPolicy": "policy",
    "Verdict": "guard",
    "measure": "statistic",
    "read_cells": "cell",
}

__all__ = [
    "Alarm",
    "CellStatistics",
    "Cells",
    "Classifier",
    "Guard",
    "GuardPolicy",
    "Verdict",
    "measure",
    "read_cells",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'iomt_crypt.checks' has no attribute {name!r}")
    return getattr(importlib.import_module(f"iomt_crypt.checks.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
