"""Real DICOM files that the tests run over: ../shared/dicom where it is, and the files that pydicom brings along.

SHARED_DICOM in the environment names another folder than ../shared/dicom; ``SHARED_DICOM=none`` does without, as on a
machine that has no such folder. ``dicom/refused.csv`` says exactly which of the files are refused, and how, so that no
regression can hide as a refusal.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom.data

from iomt_crypt import errors

_HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("SHARED_DICOM") or _HERE.parents[1] / "shared" / "dicom")
_PYDICOM = Path(pydicom.data.__file__).parent
_ABOUT = ("MANIFEST.csv", "README.md")  # what the shared folder says about itself


@dataclass(frozen=True)
class Case:
    """One file. ``name`` begins with the corpus it is from."""

    name: str
    path: Path

    @property
    def refused(self) -> type[errors.InputError] | None:
        """The error that encryption ends with; None for a file that is encrypted."""
        return REFUSED.get(self.name)

    def read(self) -> bytes:
        return self.path.read_bytes()


def _cases(corpus: str, folder: Path) -> list[Case]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in _ABOUT)
    return [Case(f"{corpus}/{path.relative_to(folder)}", path) for path in files if "__pycache__" not in path.parts]


def _refused() -> dict[str, type[errors.InputError]]:
    with (_HERE / "dicom" / "refused.csv").open(newline="") as file:
        return {row["file"]: getattr(errors, row["error"]) for row in csv.DictReader(file)}


REFUSED = _refused()
CASES: list[Case] = [
    *_cases("test_files", _PYDICOM / "test_files"),
    *_cases("charset_files", _PYDICOM / "charset_files"),
    *_cases("shared", SHARED),
]
ENCRYPTED: list[Case] = [case for case in CASES if case.refused is None]


def find(name: str) -> Case | None:
    """The case whose name ends with ``name``; None when its corpus is not here."""
    return next((case for case in CASES if case.name.endswith(name)), None)


def batches(cases: Sequence[Case], count: int) -> list[list[Case]]:
    """``cases`` dealt out into ``count`` parts of about the same work."""
    by_size = sorted(cases, key=lambda case: case.path.stat().st_size, reverse=True)
    return [part for part in (by_size[start::count] for start in range(count)) if part]


def some(cases: Sequence[Case], step: int, limit: int = 600_000) -> list[Case]:
    """Every ``step``-th of those of at most ``limit`` bytes."""
    return [case for case in cases if case.path.stat().st_size <= limit][::step]
