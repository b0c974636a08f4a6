"""Redo files: what makes a change in place survive a crash.

A record that is half written would take the only way to its object's key with it. So a batch of changes goes to a file
of its own first, old bytes and new, checksummed, and is made durable; then the objects are written; then all is made
durable, and the file is removed. What a crash leaves behind is rolled forward: where every 512-byte block (the least
that a disk writes at once) is the old or the new one, the new ones are written; anything else is left alone and told.

A redo file holds no more than the objects themselves do: records, sealed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from iomt_crypt.archive.rekey_folder import Folder, storage_error
from iomt_crypt.archive.tree import STATE_FOLDER
from iomt_crypt.durable import appear, sync_folder
from iomt_crypt.errors import AuthenticationError
from iomt_crypt.seal.container import content, without_slack

FOLDER, DRAFTS = "redo", "drafts"
BLOCK_BYTES = 512
_LEFT = ".left"
_MAGIC = b"IOMTREDO\0\2"
_DIGEST_BYTES = 16
_LARGEST = 1 << 29
# Inode, file size, modification time (but in files of version 1), offset, container size; bytes of name, old and new.
_HEAD = struct.Struct(">QQqQLHLL")
_HEAD_1, _MAGIC_1 = struct.Struct(">QQQLHLL"), b"IOMTREDO\0\1"


class Change(NamedTuple):
    """Bytes of one file that are overwritten.

    relative
        POSIX path below the tree
    inode, size
        of the file: another file of the same name is not touched
    mtime_ns
        its modification time, which it keeps; None: not known
    offset, old, new
        where, the container that is there and the one that is to be there, of equal size
    """

    relative: str
    inode: int
    size: int
    mtime_ns: int | None
    offset: int
    old: bytes
    new: bytes


@dataclass(frozen=True)
class Recovered:
    """What became of one change of a run that was cut off.

    state
        ``"complete"``: it was there in full; ``"completed"``: it is now; ``"left"``: neither old nor new is there, so
        nothing was done; ``"in use"``: ``location`` is a redo file whose process is alive
    """

    location: str
    state: Literal["complete", "completed", "left", "in use"]
    reason: str = ""


class Redo:
    """The redo file of one batch, and the folder for the drafts of those objects of it that become new files.

    Held by a lock for as long as its process lives.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._drafts: Path | None = None
        self._encoded = bytearray(_MAGIC)
        self._descriptor = -1
        while self._descriptor < 0:
            self._path, self._descriptor = folder.create(FOLDER)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if not self._path.exists():  # a recovery saw it before it was locked, and took it for an empty one
                self.abandon()

    def drafts(self) -> Path:
        """A folder for drafts, on the tree's file system; goes with the redo file."""
        if self._drafts is None:
            self._drafts = self._folder.within(DRAFTS, self._make_drafts)
        return self._drafts

    def _make_drafts(self, folder: Path) -> Path:
        drafts = folder / self._path.name
        drafts.mkdir(mode=0o700)
        return drafts

    def add(self, change: Change) -> None:
        """One more change; it is in the file after `write`."""
        # Encoded now, while its bytes are in the processor's cache.
        self._encoded += _entry(change)

    def write(self) -> None:
        """Write what was added; durable after the next `Folder.sync`. Raises StorageError."""
        encoded, self._encoded = self._encoded, bytearray()
        try:
            view = memoryview(encoded)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as cause:
            error = storage_error(cause, str(self._path))
            raise error from cause

    def remove(self) -> None:
        """The batch is durable, or was not begun: forget it."""
        if self._drafts is not None:
            shutil.rmtree(self._drafts, ignore_errors=True)
        self._path.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Leave the file for a recovery."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _entry(change: Change) -> bytes:
    # The slack's zeros are half of it: they are put back when it is read.
    relative, inode, size, mtime_ns, offset, before, after = change
    name, old, new = os.fsencode(relative), without_slack(before), without_slack(after)
    head = _HEAD.pack(inode, size, mtime_ns or 0, offset, len(after), len(name), len(old), len(new))
    body = b"".join((head, name, old, new))
    return hashlib.sha256(body).digest()[:_DIGEST_BYTES] + body


def read_changes(data: bytes) -> list[Change]:
    """The whole entries at the beginning of a redo file; what follows was never relied upon."""
    changes: list[Change] = []
    timed = not data.startswith(_MAGIC_1)
    head = _HEAD if timed else _HEAD_1
    position = len(_MAGIC) if data.startswith((_MAGIC, _MAGIC_1)) else len(data)
    while position + _DIGEST_BYTES + head.size <= len(data):
        begin = position + _DIGEST_BYTES
        inode, size, *numbers, n_name, n_old, n_new = head.unpack_from(data, begin)
        mtime_ns, (offset, length) = numbers[0] if timed else None, numbers[-2:]
        parts = n_name, n_old, n_new
        end = begin + head.size + sum(parts)
        if hashlib.sha256(data[begin:end]).digest()[:_DIGEST_BYTES] != data[position:begin]:
            break
        name_at = begin + head.size
        old_at, new_at = name_at + parts[0], name_at + parts[0] + parts[1]
        old, new = (value.ljust(length, b"\0") for value in (data[old_at:new_at], data[new_at:end]))
        changes.append(Change(os.fsdecode(data[name_at:old_at]), inode, size, mtime_ns, offset, old, new))
        position = end
    return changes


def recover(folder: Folder, *, left: bool = False) -> list[Recovered]:
    """Roll forward what runs that were cut off left below ``folder``, and remove their drafts.

    A file with changes that could not be completed is kept under a name that ends in ``.left``: it may hold the only
    record of an object that was moved meanwhile. With ``left``, these are tried once more.

    Raises
    ------
    StorageError
        A redo file cannot be read, or an object not be written.
    """
    found: list[Recovered] = []
    state = folder.path / STATE_FOLDER / FOLDER
    paths: list[Path] = []
    with suppress(FileNotFoundError):  # none, or another run has just ended
        paths = sorted(state.iterdir())
    for path in paths:
        if left or path.suffix != _LEFT:
            found += _recover_file(folder, path)
    return found


def _recover_file(folder: Folder, path: Path) -> list[Recovered]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its process has finished
        return []
    except OSError as cause:
        error = storage_error(cause, str(path))
        raise error from cause
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            # Somebody who may write to the tree must not have us write for them.
            return [Recovered(str(path), "left", "it belongs to another user, who can recover it")]
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open(descriptor, "rb", closefd=False) as file:
            changes = read_changes(file.read(_LARGEST))
        found = list(_roll_forward(folder, changes))
        folder.sync()
        shutil.rmtree(path.parent.parent / DRAFTS / path.name, ignore_errors=True)
        with suppress(FileNotFoundError):  # finished just before its lock was given to us
            if any(r.state == "left" for r in found):
                appear(path, path.with_suffix(_LEFT), replace=True)
            else:
                path.unlink()
        with suppress(FileNotFoundError):  # another run has ended, and removed it
            sync_folder(path.parent)
    except BlockingIOError:
        return [Recovered(str(path), "in use", "the process that wrote it is alive")]
    except OSError as cause:
        error = storage_error(cause, str(path))
        raise error from cause
    finally:
        os.close(descriptor)
    return found


def _roll_forward(folder: Folder, changes: Sequence[Change]) -> Iterator[Recovered]:
    for change in changes:
        location = str(folder.path / change.relative)
        try:
            descriptor = folder.open(change.relative, os.O_RDWR)
        except OSError as error:
            yield Recovered(location, "left", f"cannot be opened ({error.strerror})")
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            folder.saw(descriptor)
            yield _complete(descriptor, change, location)
        finally:
            os.close(descriptor)


def _complete(descriptor: int, change: Change, location: str) -> Recovered:
    status = os.fstat(descriptor)
    if (status.st_ino, status.st_size) != (change.inode, change.size):
        return Recovered(location, "left", "another file has this name now")
    there = os.pread(descriptor, len(change.new), change.offset)
    # The file's own time may be that of the write that was cut off.
    times_ns = status.st_atime_ns, status.st_mtime_ns if change.mtime_ns is None else change.mtime_ns
    if there == change.new:
        with suppress(PermissionError):  # of another owner: it is whole all the same
            os.utime(descriptor, ns=times_ns)
        return Recovered(location, "complete")
    if there != change.old and _is_whole(there):
        return Recovered(location, "complete")
    if not is_between(change, there):
        return Recovered(location, "left", "it was changed since")
    overwrite(descriptor, change.new, change.offset, times_ns)
    return Recovered(location, "completed")


def _is_whole(there: bytes) -> bool:
    """Whether a record is there that is neither the old nor the new one, such as one of a later run."""
    try:
        content(there)
    except AuthenticationError:
        return False
    return True


def is_between(change: Change, there: bytes) -> bool:
    """Whether every block of the file (512 bytes, by the file's offsets) is as before or as after the change.

    A disk writes whole blocks, in any order; a process that is killed stops anywhere, and leaves the new bytes of a
    block before the old ones.
    """
    if len(there) != len(change.new):
        return False
    begin = 0
    while begin < len(there):
        end = begin + BLOCK_BYTES - (change.offset + begin) % BLOCK_BYTES
        block, old, new = there[begin:end], change.old[begin:end], change.new[begin:end]
        if block not in (old, new) and not any(block == new[:cut] + old[cut:] for cut in range(len(block))):
            return False
        begin = end
    return True


def overwrite(descriptor: int, new: bytes, offset: int, times_ns: tuple[int, int]) -> None:
    """Write the new bytes in place; the file keeps ``times_ns`` (its ctime tells of the change). Raises OSError."""
    position = 0
    while position < len(new):
        position += os.pwrite(descriptor, new[position:], offset + position)
    os.utime(descriptor, ns=times_ns)
