"""Output files that appear whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from iomt_crypt.errors import DiskFullError, StorageError


@contextmanager
def output_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A writable file that becomes ``path`` when the block ends well: written, fsynced, linked under its name.

    Raises
    ------
    StorageError
        ``path`` exists and ``overwrite`` is False, or it cannot be written.
    DiskFullError
        There is no room (ENOSPC, EDQUOT).
    """
    if not overwrite and path.exists():
        raise _exists(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb+") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            draft.replace(path)
        else:
            os.link(draft, path)  # unlike a rename, fails when somebody else made the file meanwhile
        _sync_folder(path.parent)
    except FileExistsError:
        if not path.parent.is_dir():
            raise StorageError(f"{path}: cannot be written ({path.parent} is not a folder)") from None
        raise _exists(path) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{path}: no room left on the device") from error
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):  # not there, or never could be
            draft.unlink()


def _exists(path: Path) -> StorageError:
    return StorageError(f"{path}: exists already", hint="nothing is overwritten unless --overwrite is given")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
