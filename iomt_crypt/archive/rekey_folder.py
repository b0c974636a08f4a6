"""A tree that is changed in place: opened without following links, with a folder for our own state, made durable.

Below the tree's own folder every step of a path is opened by itself, and no step may be a link: what a link points to
belongs to another tree, also when it is put there while we work.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from iomt_crypt.archive.tree import STATE_FOLDER
from iomt_crypt.durable import sync_folder
from iomt_crypt.errors import DiskFullError, InputError, IomtCryptError, StorageError

_T = TypeVar("_T")
_OPEN_FOLDERS = 64
_ATTEMPTS = 100
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# To look at an object is no access to it; and every access time would have to be written, in the way of the records.
_QUIETLY = getattr(os, "O_NOATIME", 0)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_NAMES = frozenset(("", ".", ".."))
_NOT_HERE = (errno.ELOOP, errno.ENOTDIR)


class Folder:
    """The folder ``path`` and all below. Not thread safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, _FOLDER)
        except OSError as error:
            raise InputError(f"{path}: cannot be opened ({error.strerror})") from error
        self._below: OrderedDict[str, int] = OrderedDict()
        self.device = os.fstat(self._descriptor).st_dev
        self._devices = {self.device: self._descriptor}

    def location(self, relative: str) -> str:
        """A path below as the user would write it."""
        return str(self.path / relative)

    def open(self, relative: str, flags: int) -> int:
        """Descriptor of a regular file below.

        Raises
        ------
        OSError
            ELOOP or ENOTDIR: a link is on the way, or a step that leads out of the tree.
        """
        below, _, name = relative.rpartition("/")
        if name in _NO_NAMES:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        folder = self.folder(below)
        try:
            return os.open(name, flags | _FILE | _QUIETLY, dir_fd=folder)
        except PermissionError:  # of another owner; or not to be opened at all, as it says again
            return os.open(name, flags | _FILE, dir_fd=folder)

    def folder(self, below: str) -> int:
        """Descriptor of a folder below, kept open while it is among the last 64 that were used."""
        if not below:
            return self._descriptor
        descriptor = self._below.get(below)
        if descriptor is not None:
            self._below.move_to_end(below)
            return descriptor
        above, _, name = below.rpartition("/")
        if name in _NO_NAMES:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.folder(above))
        self._below[below] = descriptor
        if len(self._below) > _OPEN_FOLDERS:
            os.close(self._below.popitem(last=False)[1])
        return descriptor

    def state(self, name: str) -> Path:
        """The folder ``name`` in ours, made where it is missing; for its owner alone.

        Raises
        ------
        StorageError
        FileNotFoundError
            Another run has ended meanwhile, and removed what it left empty: try again.
        """
        path = self.path / STATE_FOLDER / name
        try:
            for folder in (path.parent, path):
                with suppress(FileExistsError):
                    folder.mkdir(mode=0o700)
                    sync_folder(folder.parent)
                if folder.is_symlink():
                    raise StorageError(f"{path}: a link, where the state of a run is kept", hint="remove it")
        except OSError as cause:
            if isinstance(cause, FileNotFoundError) and self.path.is_dir():
                raise
            error = storage_error(cause, str(path))
            raise error from cause
        return path

    def create(self, name: str, file: str = "") -> tuple[Path, int]:
        """A new file in the folder ``name`` in ours, see `create_secret`. Raises OSError, StorageError."""
        return self.within(name, lambda path: create_secret(path, file))

    def within(self, name: str, work: Callable[[Path], _T]) -> _T:
        """``work`` in the folder ``name`` in ours; again where another run ended and removed the folder meanwhile."""
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):
                return work(self.state(name))
        raise StorageError(f"{self.path / STATE_FOLDER / name}: is removed again and again", hint="see what does that")

    def saw(self, descriptor: int) -> os.stat_result:
        """Status of an open file below; its file system is made durable with the others from now on."""
        status = os.fstat(descriptor)
        if status.st_dev not in self._devices:  # mounted somewhere below
            self._devices[status.st_dev] = os.dup(descriptor)
        return status

    def sync(self) -> None:
        """Make everything durable that was written below, and whatever else waits on those file systems.

        One syncfs(2) for a thousand files takes as long as fsync(2) of a few. Raises OSError when a write was lost.
        """
        for descriptor in list(self._devices.values()):
            if _SYNCFS is None:
                os.sync()
            elif _SYNCFS(descriptor):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

    def leave_state(self) -> None:
        """Remove our folders where they are empty."""
        state = self.path / STATE_FOLDER
        with suppress(OSError):
            for path in [*state.iterdir(), state]:
                with suppress(OSError):
                    path.rmdir()

    def close(self) -> None:
        for descriptor in {*self._devices.values(), *self._below.values()}:
            os.close(descriptor)
        self._devices.clear()
        self._below.clear()


_SYNCFS = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def create_secret(folder: Path, name: str = "") -> tuple[Path, int]:
    """A new file for its owner alone (0600), under a random name unless one is given: its path and descriptor."""
    path = folder / (name or secrets.token_hex(8))
    return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def storage_error(error: OSError, where: str) -> StorageError:
    """``error`` as one of ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{where}: no room left on the device", hint="make room and run the command again")
    hint = "the tree is changed in place and keeps its state in itself: it must be writable"
    return StorageError(f"{where}: {error.strerror or type(error).__name__}", hint=hint)


def open_error(error: OSError, where: str) -> IomtCryptError:
    """Why a file could not be opened."""
    if error.errno in _NOT_HERE:
        return InputError(f"{where}: reached through a link", hint="name the folder that it is really in")
    if error.errno == errno.ENOENT:
        return InputError(f"{where}: no such file")
    return storage_error(error, where)
