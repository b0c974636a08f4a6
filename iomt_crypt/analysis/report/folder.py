"""Reports on disk: a folder for each that appears whole or not at all, readable by its owner alone."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from iomt_crypt.analysis.report.content import Report
from iomt_crypt.analysis.report.document import render_document
from iomt_crypt.analysis.report.page import Entry, render_index, render_report
from iomt_crypt.errors import DiskFullError, StorageError

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
    with _storage(folder):
        check_absent(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(folder)
        try:
            draft.mkdir(mode=0o700)
            for name, content in files.items():
                _write(draft / name, content)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def write_index(entries: Sequence[Entry], folder: Path) -> Path:
    """Make index.html in `folder`, 0600, with a line for each report; the errors of `write_report`."""
    target = folder / INDEX
    content = render_index(entries).encode()
    with _storage(target):
        draft = _draft(target)
        try:
            _write(draft, content)
            os.link(draft, target)  # unlike a rename, fails when the file is there
        finally:
            draft.unlink(missing_ok=True)
    return target


def check_absent(path: Path) -> None:
    """Raise StorageError if there is something at `path`."""
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path}: exists already", hint=_HINT)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Errors of the system as ours."""
    try:
        yield
    except FileExistsError:
        raise StorageError(f"{path}: exists already", hint=_HINT) from None
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise StorageError(f"{path}: exists already", hint=_HINT) from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{path}: no room left on the device") from error
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
