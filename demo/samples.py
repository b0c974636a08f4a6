"""Write the sample studies: ``python -m demo.samples [-o sample_dicom]``.

Everything is synthetic and the same on every run (of one machine: the last bit of a sine may differ elsewhere).
A folder that already holds this version is left alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite

from demo import objects
from demo.console import console

# Raise it with every change that alters a byte of the samples.
VERSION = 1
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "sample_dicom"
_RECORD = ".generator.json"

_GROUPS: tuple[Callable[[], Iterator[objects.Sample]], ...] = (
    objects.radiograph,
    objects.ct_and_segmentation,
    objects.ultrasound_loops,
    objects.mr_series,
    objects.nuclear_medicine,
)


@dataclass(frozen=True)
class _Record:
    """Version and file sizes of what is in the folder."""

    version: int
    files: dict[str, int]


def ensure(folder: Path = DEFAULT_FOLDER) -> list[Path]:
    """Write the samples where they are missing or of another version.

    Returns
    -------
    list of Path
        Every sample file, sorted.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    known = _recorded(folder)
    if known.version == VERSION and _all_there(folder, known.files):
        return sorted(folder / name for name in known.files)
    for name in known.files:
        (folder / name).unlink(missing_ok=True)
    sizes: dict[str, int] = {}
    with ThreadPoolExecutor(2) as pool:  # numpy lets go of the interpreter for most of the work
        for written in pool.map(lambda group: _write_group(folder, group), _GROUPS):
            sizes.update(written)
    record = folder / _RECORD
    record.write_text(json.dumps({"version": VERSION, "files": dict(sorted(sizes.items()))}, indent=1) + "\n")
    return sorted(folder / name for name in sizes)


def _write_group(folder: Path, group: Callable[[], Iterator[objects.Sample]]) -> dict[str, int]:
    sizes = {}
    for name, ds in group():
        buffer = BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        part.write_bytes(buffer.getbuffer())
        part.replace(target)
        sizes[name] = buffer.tell()
    return sizes


def _recorded(folder: Path) -> _Record:
    """What an earlier run wrote down; version 0 and no files where there is nothing to be read."""
    try:
        record = json.loads((folder / _RECORD).read_text())
        version, files = int(record["version"]), dict(record["files"])
    except (OSError, ValueError, TypeError, KeyError):
        return _Record(0, {})
    # Files named here may get deleted: only names inside the folder count.
    return _Record(version, {name: size for name, size in files.items() if _is_inside(Path(name))})


def _is_inside(name: Path) -> bool:
    return not name.is_absolute() and ".." not in name.parts


def _all_there(folder: Path, files: dict[str, int]) -> bool:
    paths = {folder / name: size for name, size in files.items()}
    return bool(paths) and all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.samples", description="write the synthetic sample studies")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FOLDER, metavar="FOLDER")
    folder = parser.parse_args().output
    files = ensure(folder)
    size = sum(path.stat().st_size for path in files)
    console.print(f"{len(files)} objects, {size / 1e6:.1f} MB in {folder}")


if __name__ == "__main__":
    main()
