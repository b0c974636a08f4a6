"""How a file is brought to the disk and given its name: the steps, their order, and what file systems refuse."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from iomt_crypt.durable.draft import open_draft, open_draft_folder
from iomt_crypt.errors import DiskFullError, StorageError

HINT = "nothing is overwritten; choose another name, or move what is there away"
_PATIENCE_S = 10.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # linux/fs.h
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
# What file systems say that know no hard links or no exclusive rename, and kernels and sandboxes that lack the call.
_REFUSED = frozenset((errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK))
# Some shares cannot sync a folder; they say so, and their server decides when a name is durable.
_NO_FOLDER_SYNC = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP))


@contextmanager
def appearing_file(
    path: Path, *, mode: int = 0o666, replace: bool = False, folders: bool = False, hint: str = HINT
) -> Iterator[BinaryIO]:
    """A binary file, for reading and writing, that becomes ``path`` when the block ends well.

    When this has returned, the bytes and the name survive a power cut. After any error nothing of it is left.

    Parameters
    ----------
    mode
        permissions, before the umask; 0o600 for what is secret
    replace
        take the place of a file that is there
    folders
        make the missing folders above ``path``
    hint
        what the user can do when ``path`` exists

    Raises
    ------
    StorageError
        ``path`` exists and ``replace`` is False, or it cannot be written.
    DiskFullError
        There is no room (ENOSPC, EDQUOT).
    """
    try:
        if folders:
            make_folder(path.parent)
        with new_file(path, mode=mode, replace=replace) as file:
            yield file
    except OSError as cause:
        error = storage_error(cause, path, hint=hint)
        raise error from cause


@contextmanager
def new_file(path: Path, *, mode: int = 0o666, replace: bool = False) -> Iterator[BinaryIO]:
    """`appearing_file` with the errors of the system: OSError, FileExistsError when ``path`` exists."""
    if not replace and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    folder = os.open(path.parent, _FOLDER)
    try:
        draft, file = open_draft(path, mode)
        try:
            # Closed last: until the draft has its name, the lock on it says that its writer is alive.
            with _closing(file):
                yield file
                file.flush()
                os.fsync(file.fileno())
                appear(draft, path, replace=replace)
        finally:
            with suppress(OSError):  # it has its name now, or the disk does not even take this
                draft.unlink()
        try:
            _sync(folder)
        except OSError:
            if not replace:  # nobody knows whether the name lasts
                path.unlink(missing_ok=True)
            raise
    finally:
        os.close(folder)


@contextmanager
def appearing_folder(path: Path, *, mode: int = 0o777, hint: str = HINT) -> Iterator[Path]:
    """A folder that becomes ``path`` when the block ends well, with what was put into it by `appearing_file`.

    Missing folders above it are made. After any error nothing of it is left.

    Raises
    ------
    StorageError
        ``path`` exists, or it cannot be written.
    DiskFullError
        There is no room.
    """
    try:
        make_folder(path.parent)
        draft, descriptor = open_draft_folder(path, mode)
        try:
            yield draft
            _sync(descriptor)
            appear(draft, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)  # it has its name now, and is not there
            os.close(descriptor)
    except OSError as cause:
        error = storage_error(cause, path, hint=hint)
        raise error from cause


@contextmanager
def _closing(file: BinaryIO) -> Iterator[None]:
    """Close ``file`` at the end; on a full disk its last flush fails again, which says nothing new."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def appear(draft: Path, path: Path, *, replace: bool = False) -> None:
    """Give a file or a folder its name, in one step; `sync_folder` makes the name durable.

    Without ``replace``: by renameat2(2) with RENAME_NOREPLACE; where that is refused by link(2); where that is refused
    too (exFAT or SMB through FUSE) by a look and a rename(2), under a lock that all our processes take. There alone,
    a file that another program makes between the look and the rename is replaced. None of the three leaves a part.

    Raises
    ------
    FileExistsError
        ``path`` exists, and ``replace`` is False.
    OSError
        It cannot be done; ``draft`` is still there.
    """
    if replace:
        draft.replace(path)
        return
    ways: tuple[Callable[[Path, Path], None], ...] = (_rename_exclusively, _link, _look_and_rename)
    for way in ways:
        try:
            way(draft, path)
        except OSError as error:
            if error.errno not in _REFUSED or way is _look_and_rename:
                raise
        else:
            return


def _rename_exclusively(draft: Path, path: Path) -> None:
    call = getattr(_LIBC, "renameat2", None)
    if call is None:  # no Linux, or an old C library
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(draft), os.fsencode(path)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_NOREPLACE)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(draft), None, str(path))


def _link(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        # NFS: the answer to a link that was made may be lost, and the second request finds it there.
        if not os.path.samestat(os.lstat(draft), os.lstat(path)):
            raise
    with suppress(OSError):
        draft.unlink()


def _look_and_rename(draft: Path, path: Path) -> None:
    folder = os.open(path.parent, _FOLDER)
    try:
        _lock_folder(folder, path.parent)
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        draft.rename(path)
    finally:
        os.close(folder)


def _lock_folder(folder: int, path: Path) -> None:
    """Wait at most 10 s for a folder's lock; a file system that has no locks goes without. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(errno.ETIMEDOUT, "its lock is held by another process", str(path)) from None
            time.sleep(0.01)
            continue
        except OSError:
            return
        return


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """Make a folder and those above it where they are missing, and make their names durable. Raises OSError."""
    try:
        if not os.path.lexists(path.parent):
            make_folder(path.parent)
        path.mkdir(mode=mode)
    except OSError as error:
        # It is there already; the folder above may be read-only, and this one not.
        if path.is_dir():
            return
        if isinstance(error, FileExistsError):
            raise OSError(errno.ENOTDIR, f"{path} is not a folder") from None
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, as far as the file system can. Raises OSError."""
    folder = os.open(path, _FOLDER)
    try:
        _sync(folder)
    finally:
        os.close(folder)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def storage_error(error: OSError, where: object, *, hint: str = "") -> StorageError:
    """An error of the system as ours; ``hint`` is for a name that is taken."""
    if isinstance(error, FileExistsError):
        return StorageError(f"{where}: exists already", hint=hint)
    if error.errno in _FULL:
        return DiskFullError(f"{where}: no room left on the device", hint="make room there, and run it again")
    return StorageError(f"{where}: cannot be written ({error.strerror or type(error).__name__})")


def _c_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):  # no such thing on this system
        return None


_LIBC = _c_library()
