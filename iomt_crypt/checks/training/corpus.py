"""Plain images by source: folders of DICOM files, and what is made from numbers."""

from __future__ import annotations

import csv
import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom.data
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from iomt_crypt.checks.cell import Frame, read_cells
from iomt_crypt.checks.training.recipe import Recipe
from iomt_crypt.checks.training.synthetic import SYNTHETIC
from iomt_crypt.errors import InputError

#: Files that pydicom brings along.
PYDICOM = Path(pydicom.data.__file__).with_name("test_files")
MANIFEST = "MANIFEST.csv"
SYNTHETIC_SOURCE = "synthetic"
_GROUPING = ("PatientID", "StudyInstanceUID", "SOPInstanceUID")
_NATIVE = ("", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_MAXIMUM_CELLS = 1 << 23


@dataclass(frozen=True)
class Plain:
    """The frames of one plain object.

    Parameters
    ----------
    source
        Name of the folder it is from, or "synthetic".
    kind
        Modality, or what is synthetic.
    bits
        Allocated, by the header.
    form
        "native", or "compressed": then the frames are the bytes of their streams.
    frames
        As `read_cells` gives them.
    groups
        Digests that this object shares with others of the patient or the study.
    licence
        As its manifest words it; "" where there is none.
    """

    source: str
    kind: str
    bits: int
    form: str
    frames: tuple[Frame, ...]
    groups: frozenset[bytes] = frozenset()
    licence: str = ""


@dataclass(frozen=True)
class Split:
    """Objects to train on, and objects of other sources and patients to evaluate on."""

    training: tuple[Plain, ...]
    evaluation: tuple[Plain, ...]


def read_folders(folders: Iterable[Path], recipe: Recipe) -> Iterator[Plain]:
    """Plain images below ``folders``; a source is a folder below one of them, or the folder itself for files in it.

    Files that are no images, encrypted, damaged or very large are passed over.

    Raises
    ------
    InputError
        There is no such folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        licences = _licences(folder)
        by_source: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            parts = path.relative_to(folder).parts
            by_source[parts[0] if len(parts) > 1 else folder.resolve().name].append(path)
        for source, paths in by_source.items():
            kept = (plain for path in paths if (plain := _read(path, source, recipe, licences.get(path, ""))))
            yield from _first(_spread(list(kept), recipe.objects_of_a_source))


def make_synthetic(recipe: Recipe, rng: np.random.Generator, kinds: Iterable[str]) -> Iterator[Plain]:
    """Synthetic objects of one frame."""
    for kind in kinds:
        for _ in range(recipe.synthetic_frames):
            frame = SYNTHETIC[kind](rng)
            yield Plain(SYNTHETIC_SOURCE, kind, 8 * frame.dtype.itemsize, "native", (frame,))


def split(plains: Sequence[Plain], recipe: Recipe) -> Split:
    """Divide by source and patient: what is held out by name, and all that shares a patient with it, is not trained on.

    Objects that may not be trained on by licence are evaluated on.
    """

    def held(plain: Plain) -> bool:
        return plain.source in recipe.held_out or (bool(plain.licence) and plain.licence not in recipe.licences)

    evaluation = [plain for plain in plains if held(plain)]
    shared = frozenset().union(*(plain.groups for plain in evaluation))
    training = [plain for plain in plains if not held(plain) and not plain.groups & shared]
    return Split(tuple(training), tuple(evaluation))


def _licences(folder: Path) -> dict[Path, str]:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return {}
    with manifest.open(newline="") as file:
        return {folder / row["path"]: row.get("licence", "") for row in csv.DictReader(file) if row.get("path")}


def _read(path: Path, source: str, recipe: Recipe, licence: str) -> Plain | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom: they quote values
        try:
            cells = read_cells(path, n_frames=recipe.frames_of_an_object)
        except InputError:
            return None
        frames = tuple(frame for frame in cells.frames if 0 < frame.size <= _MAXIMUM_CELLS)
        if cells.has_record or not frames:
            return None
        header = dcmread(path, force=True, stop_before_pixels=True)
        syntax = header.file_meta.get("TransferSyntaxUID", "") if hasattr(header, "file_meta") else ""
        form = "native" if syntax in _NATIVE else "compressed"
        kind = str(header.get("Modality", "") or "none")
        return Plain(source, kind, int(header.get("BitsAllocated", 8) or 8), form, frames, _groups(header), licence)


def _groups(header: Dataset) -> frozenset[bytes]:
    values = ((name, str(header.get(name, "") or "")) for name in _GROUPING)
    return frozenset(hashlib.sha256(f"{name}/{value}".encode()).digest() for name, value in values if value)


def _spread(plains: list[Plain], n: int) -> list[Plain]:
    if len(plains) <= n:
        return plains
    return [plains[i * len(plains) // n] for i in range(n)]


def _first(plains: list[Plain]) -> Iterator[Plain]:
    """Without the ones that have been seen: repositories hold many copies of one image."""
    seen = set()
    for plain in plains:
        digest = hashlib.sha256(b"".join(frame.tobytes() for frame in plain.frames)).digest()
        if digest not in seen:
            seen.add(digest)
            yield plain
