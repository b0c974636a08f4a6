"""Drafts: the hidden files beside a result in which it is written, and which of them nobody writes any more."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, cast

# Drafts of all versions: a hidden name that ends with eight digits and '.part'. Names may have line breaks.
_DRAFT = re.compile(r"\.(.+)\.([0-9a-f]{4})([0-9a-f]{4})\.part", re.DOTALL)
# File systems take 255 bytes (ext4, XFS), 255 UTF-16 units (exFAT, NTFS), or 143 bytes (eCryptfs).
_MAX_NAME_BYTES = 143 - len("..01234567.part")
_ATTEMPTS = 100
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC


def draft_path(path: Path) -> Path:
    """A new name beside ``path`` for what is to become it: hidden, at most 143 bytes, and known as ours by `is_draft`.

    ``.name.xxxxxxxx.part``: four random digits, and four that depend on all before them.
    """
    name = path.name
    while len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = name[: _MAX_NAME_BYTES if len(name) > _MAX_NAME_BYTES else -1]
    token = secrets.token_hex(2)
    return path.with_name(f".{name}.{token}{_check(name, token)}.part")


def is_draft(name: str) -> bool:
    """Whether a file's name is that of a draft, of this or an older version: no object to be read."""
    return name[:1] == "." and _DRAFT.fullmatch(name) is not None


def _is_ours(name: str) -> bool:
    found = _DRAFT.fullmatch(name)
    return found is not None and found[3] == _check(found[1], found[2])


def _check(name: str, token: str) -> str:
    return hashlib.sha256(b"iomt-crypt draft\0" + os.fsencode(name) + token.encode("ascii")).hexdigest()[:4]


def open_draft(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    """A new draft of ``path``, locked while it is open."""
    for _ in range(_ATTEMPTS):
        draft = draft_path(path)
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, mode)
        except FileExistsError:  # another's
            continue
        if _is_locked(descriptor, draft):
            return draft, cast(BinaryIO, os.fdopen(descriptor, "w+b"))
        os.close(descriptor)  # taken for a leftover, and removed, before it was locked
    raise OSError(errno.EEXIST, "no name for a draft is free", str(path.parent))


def open_draft_folder(path: Path, mode: int) -> tuple[Path, int]:
    """A new folder that is a draft of ``path``, and the descriptor that holds its lock. Raises OSError."""
    for _ in range(_ATTEMPTS):
        draft = draft_path(path)
        with suppress(FileExistsError, FileNotFoundError):  # another's; or taken for a leftover before it was locked
            draft.mkdir(mode=mode)
            descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | _FILE)
            if _is_locked(descriptor, draft):
                return draft, descriptor
            os.close(descriptor)
        path.parent.stat()  # no folder for it: FileNotFoundError is the answer
    raise OSError(errno.EEXIST, "no name for a draft is free", str(path.parent))


def _is_locked(descriptor: int, draft: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: nobody can tell that the writer is dead, and nobody removes it
        return True
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(draft))
    return False


def remove_leftovers(folder: Path, *, below: bool = False) -> list[Path]:
    """Remove the drafts in ``folder``, with ``below`` in all folders under it too, whose writers are dead.

    They may be in clear. A draft is removed when its name is one that this version gives, it belongs to this user, and
    nobody holds the lock that its writer holds. Where locks do not reach from one machine to another, a writer on
    another machine may be taken for dead: its object then fails, and nothing else is harmed.
    """
    removed = []
    for place, names, files in os.walk(folder):
        drafts = [Path(place, name) for name in (*files, *names) if _is_ours(name)]
        removed += [path for path in drafts if _remove_if_dead(path)]
        names[:] = [name for name in names if below and not is_draft(name)]
    return removed


def _remove_if_dead(path: Path) -> bool:
    with suppress(OSError):
        is_folder = path.is_dir() and not path.is_symlink()
        descriptor = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NONBLOCK | _FILE)
        try:
            status = os.fstat(descriptor)
            if not (is_folder or S_ISREG(status.st_mode)) or status.st_uid != os.geteuid():
                return False
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(status, os.lstat(path)):
                shutil.rmtree(path) if is_folder else path.unlink()
                return True
        finally:
            os.close(descriptor)
    return False
