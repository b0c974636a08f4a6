"""What there is to send: the DICOM objects of some files and folders, and the bytes of their data sets."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber"),
    *("Modality", "Rows", "Columns", "NumberOfFrames"),
]


@dataclass(frozen=True)
class Source:
    """One object in a file."""

    path: Path
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    shape: str
    size_bytes: int
    order: tuple[int, int] = (0, 0)


@dataclass
class Sources:
    """What was found: objects with distinct UIDs, files that are none, and files that repeat an object's UID."""

    objects: list[Source] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    repeated: list[tuple[Path, str]] = field(default_factory=list)


def collect(places: Iterable[Path]) -> Sources:
    """Look through files and folders; of several files with one SOP Instance UID the first counts."""
    found = Sources()
    seen: dict[str, Source] = {}
    for path in _files(places):
        source, reason = _inspect(path)
        if source is None:
            found.skipped.append((path, reason))
        elif source.sop_instance_uid in seen:
            same = dataset_bytes(path) == dataset_bytes(seen[source.sop_instance_uid].path)
            what = "a copy of" if same else "other content under the UID of"
            found.repeated.append((path, f"{what} {seen[source.sop_instance_uid].path.name}"))
        else:
            seen[source.sop_instance_uid] = source
    found.objects = sorted(seen.values(), key=lambda one: (one.path.parent, one.modality, one.order, one.path))
    return found


def _files(places: Iterable[Path]) -> list[Path]:
    files: dict[Path, None] = {}
    for place in places:
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        hidden = {path for path in inside if any(part.startswith(".") for part in path.relative_to(place).parts)}
        files.update(dict.fromkeys(path for path in inside if path.is_file() and path not in hidden))
    return list(files)


def _inspect(path: Path) -> tuple[Source | None, str]:
    """The object in a file, or None and why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=not _has_prefix(path))
            return _describe(path, ds)
    except Exception:  # noqa: BLE001 - a file that cannot be read may fail anywhere, and is passed over
        return None, "not DICOM"


def _describe(path: Path, ds: Dataset) -> tuple[Source | None, str]:
    if ds.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return None, "a DICOMDIR, not an object"
    if not ds.get("SOPInstanceUID") or not ds.get("SOPClassUID"):
        return None, "no SOP Class or SOP Instance UID" if _has_prefix(path) else "not DICOM"
    if not ds.get("StudyInstanceUID"):
        return None, "no Study Instance UID, so an archive could not be asked for it"
    frames = int(ds.get("NumberOfFrames") or 1)
    shape = f"{ds.Columns}x{ds.Rows}" + (f"x{frames}" if frames > 1 else "") if "Rows" in ds else "no image"
    source = Source(
        path=path,
        sop_instance_uid=str(ds.SOPInstanceUID),
        study_instance_uid=str(ds.StudyInstanceUID),
        series_instance_uid=str(ds.get("SeriesInstanceUID", "")),
        modality=str(ds.get("Modality") or "?"),
        shape=shape,
        size_bytes=path.stat().st_size,
        order=(int(ds.get("SeriesNumber") or 0), int(ds.get("InstanceNumber") or 0)),
    )
    return source, ""


def _has_prefix(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def dataset_bytes(path: Path) -> bytes:
    """The data set of a Part 10 file as it goes over the wire: all that follows the file meta group (PS3.10 7.1).

    Written without pydicom, so that what is compared is the files and not a reading of them.
    """
    content = path.read_bytes()
    position = 132 if content[128:132] == b"DICM" else 0
    while content[position : position + 2] == b"\x02\x00":  # group 0002, always explicit VR little endian
        long_form = content[position + 4 : position + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OD", b"OF", b"UC")
        start, size = (position + 8, 4) if long_form else (position + 6, 2)
        position = start + size + int.from_bytes(content[start : start + size], "little")
    return content[position:]
