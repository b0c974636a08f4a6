"""Reports on disk: a folder for each that appears whole or not at all, readable by its owner alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from iomt_crypt.analysis.report.content import Report
from iomt_crypt.analysis.report.document import render_document
from iomt_crypt.analysis.report.page import Entry, render_index, render_report
from iomt_crypt.durable import appearing_file, appearing_folder
from iomt_crypt.errors import StorageError

INDEX = "index.html"
_HINT = "nothing is overwritten; choose another folder with -o, or remove it"


def write_report(report: Report, folder: Path, *, index: str = "") -> None:
    """Make `folder` with report.html, report.pdf and report.json, all 0600.

    Parameters
    ----------
    index
        Relative link from the page to that of all reports; empty: none.

    Raises
    ------
    StorageError
        `folder` exists, or cannot be written. Nothing is left behind.
    DiskFullError
        There is no room.
    """
    files = {
        "report.html": render_report(report, index=index).encode(),
        "report.pdf": render_document(report),
        "report.json": (json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n").encode(),
    }
    check_absent(folder)
    with appearing_folder(folder, mode=0o700, hint=_HINT) as draft:
        for name, content in files.items():
            _write(draft / name, content)


def write_index(entries: Sequence[Entry], folder: Path) -> Path:
    """Make index.html in `folder`, 0600, with a line for each report; the errors of `write_report`."""
    target = folder / INDEX
    content = render_index(entries).encode()
    _write(target, content)
    return target


def check_absent(path: Path) -> None:
    """Raise StorageError if there is something at `path`."""
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path}: exists already", hint=_HINT)


def _write(path: Path, content: bytes) -> None:
    with appearing_file(path, mode=0o600, hint=_HINT) as file:
        file.write(content)
