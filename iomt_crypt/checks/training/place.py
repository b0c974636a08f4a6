"""Where results will lie, asked before the work that makes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from iomt_crypt.errors import StorageError


def require_writable(folder: Path) -> None:
    """Make sure that files can be written into ``folder``, or that it can be made; nothing of the trial stays.

    Raises
    ------
    StorageError
        It, or the nearest folder above it that exists, cannot be written, or is no folder.
    """
    try:
        nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror})", hint="name another folder with -o"
        ) from None
