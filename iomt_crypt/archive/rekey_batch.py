"""Batches of objects that go to the disk together: the redo file first, then the objects, then it is forgotten.

Three batches are on their way at a time, so that the disk and the processor work at once: while one is worked out, one
waits for its redo file to be durable, and one for its objects. One syncfs(2) serves both.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from iomt_crypt.archive.redo import Change, Redo, overwrite
from iomt_crypt.archive.rekey_folder import Folder, create_secret, open_error, storage_error
from iomt_crypt.errors import InputError, IomtCryptError, StorageError

_log = logging.getLogger(__name__)
_MOST_OBJECTS = 512
_MOST_DRAFT_BYTES = 1 << 26

Failed = Callable[[int, IomtCryptError], None]


@dataclass(frozen=True)
class Draft:
    """A new file that takes the place of another: where it is, and what it replaces, of which size and time."""

    path: Path
    relative: str
    inode: int
    size: int
    mtime_ns: int


class Batch:
    """Changes to objects of one tree, each under a number of the caller's."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._redo = Redo(folder)
        self._changes: list[tuple[int, Change]] = []
        self._drafts: list[tuple[int, Draft]] = []
        self._draft_bytes = 0
        self._broken = False
        self._replaced: list[int] = []

    @property
    def full(self) -> bool:
        return len(self._changes) + len(self._drafts) >= _MOST_OBJECTS or self._draft_bytes >= _MOST_DRAFT_BYTES

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in (*self._changes, *self._drafts)]

    def change(self, number: int, change: Change) -> None:
        """Overwrite a part of a file in place."""
        self._redo.add(change)
        self._changes.append((number, change))

    def draft(
        self, number: int, relative: str, source: int, status: os.stat_result, write: Callable[[int], None]
    ) -> None:
        """Replace a file by what ``write(descriptor)`` makes; owner, mode, times and extended attributes are kept.

        Raises
        ------
        InputError
            The file has other names (hard links), which would go on naming the old one.
        StorageError
            There is no room, or the new file cannot be given what the old one has.
        """
        check_replaceable(self.folder, relative, status)
        try:
            path, descriptor = create_secret(self._redo.drafts())
            try:
                write(descriptor)
                _keep_attributes(source, descriptor, status)
            except BaseException:
                path.unlink()
                raise
            finally:
                os.close(descriptor)
        except OSError as cause:
            error = storage_error(cause, self.folder.location(relative))
            raise error from cause
        self._draft_bytes += status.st_size
        self._drafts.append((number, Draft(path, relative, status.st_ino, status.st_size, status.st_mtime_ns)))

    def prepare(self) -> None:
        """Write the redo file. Raises StorageError."""
        self._redo.write()

    def apply(self, failed: Failed) -> None:
        """Bring the changes into the tree; they are durable after the next sync."""
        for number, change in self._changes:
            try:
                self._overwrite(change)
            except OSError as error:
                self._broken = True  # a part of it may be written: the redo file is needed
                failed(number, storage_error(error, self.folder.location(change.relative)))
            except IomtCryptError as error:
                failed(number, error)
        for number, draft in self._drafts:
            try:
                self._replace(draft)
            except OSError as error:
                failed(number, storage_error(error, self.folder.location(draft.relative)))
            except IomtCryptError as error:
                failed(number, error)

    def _overwrite(self, change: Change) -> None:
        relative, inode, size, _, offset, old, new = change
        try:
            descriptor = self.folder.open(relative, os.O_RDWR)
        except OSError as cause:
            error = open_error(cause, self.folder.location(relative))
            raise error from cause
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # against another run over the same tree
            status = os.fstat(descriptor)
            if status.st_ino != inode or status.st_size != size:
                raise _changed(self.folder.location(relative))
            there = os.pread(descriptor, len(old), offset)
            if there == new:  # by another of its names
                return
            if there != old:
                raise _changed(self.folder.location(relative))
            overwrite(descriptor, new, offset, (status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(descriptor)

    def _replace(self, draft: Draft) -> None:
        below, _, name = draft.relative.rpartition("/")
        folder = self.folder.folder(below)
        # Held on to: a file system that gives back the room of a file at once may have to wait for the disk.
        self._replaced.append(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder))
        status = os.fstat(self._replaced[-1])
        if (status.st_ino, status.st_size, status.st_mtime_ns) != (draft.inode, draft.size, draft.mtime_ns):
            raise _changed(self.folder.location(draft.relative))
        os.rename(draft.path, name, dst_dir_fd=folder)

    def release(self) -> None:
        """Let go of the files that were replaced. Takes its time."""
        while self._replaced:
            os.close(self._replaced.pop())

    def finish(self) -> None:
        """All is durable: forget the redo file, unless a change is half written."""
        self.release()
        try:
            if not self._broken:
                self._redo.remove()
        except OSError as error:  # what is left over is found complete by the next run
            _log.warning("%s: a redo file cannot be removed (%s)", self.folder.path, error.strerror)
        finally:
            self._redo.abandon()

    def abandon(self) -> None:
        """Leave the redo file for a recovery."""
        self.release()
        self._redo.abandon()


def check_writable(folder: Folder, relative: str, status: os.stat_result) -> None:
    """Whether an object can be overwritten, as far as can be told before. Raises StorageError."""
    below, _, name = relative.rpartition("/")
    if os.geteuid() not in (0, status.st_uid):
        raise StorageError(
            f"{folder.location(relative)}: belongs to another user, and only they can keep its time",
            hint="run it as the owner of the archive's files",
        )
    if not os.access(name, os.W_OK, dir_fd=folder.folder(below), effective_ids=True):
        raise StorageError(
            f"{folder.location(relative)}: may not be written", hint="run it as the owner, or change its mode"
        )


def check_replaceable(folder: Folder, relative: str, status: os.stat_result) -> None:
    """Whether a new file can take the place of an object, as far as can be told before.

    Raises
    ------
    InputError
        The file has other names (hard links), which would go on naming the old one.
    StorageError
        It is on another file system, or nothing may be written to its folder.
    """
    if status.st_nlink > 1:
        raise InputError(
            f"{folder.location(relative)}: has {status.st_nlink} names (hard links), and a new file is needed",
            hint="it would leave the other names with the old keys: make it one file, or two copies",
        )
    if status.st_dev != folder.device:
        raise StorageError(
            f"{folder.location(relative)}: on another file system than {folder.path}",
            hint="name its own folder as a source",
        )
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.folder(relative.rpartition("/")[0]), effective_ids=True):
        raise StorageError(
            f"{folder.location(relative)}: nothing may be written to its folder", hint="run it as the owner"
        )


def _changed(location: str) -> InputError:
    return InputError(f"{location}: was changed while it was re-keyed", hint="left as it is; run the command again")


def _keep_attributes(source: int, draft: int, status: os.stat_result) -> None:
    """Owner before mode, as a change of owner takes away set-user-ID; times last."""
    os.fchown(draft, status.st_uid, status.st_gid)
    os.fchmod(draft, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        try:
            os.setxattr(draft, name, os.getxattr(source, name))
        except OSError:
            if not name.startswith("security."):  # labels that the system's policy gives anew
                raise
    os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns))


class Pipeline:
    """Takes batches one after the other.

    failed
        called with the number and the error of each change that did not work
    durable
        called with the numbers of all changes of a batch that is durable
    """

    def __init__(self, failed: Failed, durable: Callable[[list[int]], None]) -> None:
        self._failed, self._durable = failed, durable
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="iomt-crypt-sync")
        self._sync: Future[None] | None = None
        self._prepared: Batch | None = None
        self._applied: Batch | None = None

    def submit(self, batch: Batch) -> None:
        """``batch`` is complete: it goes its way while the next one is made."""
        try:
            batch.prepare()
        except IomtCryptError as error:
            self._fail(batch, error)
            batch.finish()
            return
        self._advance()
        self._prepared = batch
        self._begin_sync()

    def drain(self) -> None:
        """Return when all batches are durable."""
        while self._prepared is not None or self._applied is not None:
            if self._sync is None:
                self._begin_sync()
            self._advance()

    def close(self) -> None:
        self._thread.shutdown()

    def _begin_sync(self) -> None:
        folders = {batch.folder for batch in (self._prepared, self._applied) if batch is not None}
        self._sync = self._thread.submit(_sync_folders, folders, self._applied)

    def _advance(self) -> None:
        """What was applied is durable and forgotten; what was prepared is applied."""
        prepared, applied, sync = self._prepared, self._applied, self._sync
        self._prepared = self._applied = self._sync = None
        try:
            if sync is not None:
                sync.result()
        except OSError as error:
            for batch in (prepared, applied):
                if batch is not None:
                    self._fail(batch, storage_error(error, str(batch.folder.path)))
            if prepared is not None:
                prepared.finish()  # nothing of it was begun
            if applied is not None:
                applied.abandon()
            return
        if applied is not None:
            self._durable(applied.numbers)
            applied.finish()
        if prepared is not None:
            prepared.apply(self._failed)
            self._applied = prepared

    def _fail(self, batch: Batch, error: IomtCryptError) -> None:
        for number in batch.numbers:
            self._failed(number, error)


def _sync_folders(folders: set[Folder], applied: Batch | None) -> None:
    for folder in folders:
        folder.sync()
    if applied is not None:
        applied.release()
