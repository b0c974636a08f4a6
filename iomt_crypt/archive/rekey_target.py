"""The objects of a re-keying, opened in their trees: some ahead, so that the disk reads while others are worked out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from iomt_crypt.archive.operation import Item
from iomt_crypt.archive.redo import recover
from iomt_crypt.archive.rekey_folder import Folder, open_error
from iomt_crypt.archive.store import is_url
from iomt_crypt.errors import InputError, UnsupportedError

#: Objects that are worked out together, while as many are opened ahead. Eight keep a disk busy; more of them even out
#: what it takes to find a file.
WINDOW = 32
#: Where nearly all records end.
HEAD_BYTES = 1 << 14


class Target(NamedTuple):
    """An object that is open, the ``number``-th of its run."""

    number: int
    item: Item
    folder: Folder
    relative: str
    descriptor: int
    status: os.stat_result


class Targets:
    """The trees of a run; each is recovered when it is first met, unless nothing may be written (``dry_run``)."""

    def __init__(self, *, dry_run: bool) -> None:
        self._dry_run = dry_run
        self._folders: dict[str, Folder] = {}

    def windows(self, items: Sequence[Item]) -> Iterator[list[Target | None]]:
        """Each item's target, in their order, some at a time; None where `opened` has to say why not.

        They are open until the next ones are taken, which are opened before.
        """
        numbered = enumerate(items)
        now: list[Target | None] = []
        following: list[Target | None] = []
        try:
            self._open_some(numbered, now)
            while now:
                self._open_some(numbered, following)
                yield now
                _close(now)
                now, following = following, now
        finally:
            _close(now)
            _close(following)

    def _open_some(self, numbered: Iterator[tuple[int, Item]], targets: list[Target | None]) -> None:
        for number, item in islice(numbered, WINDOW):
            targets.append(self._attempt(number, item))

    def _attempt(self, number: int, item: Item) -> Target | None:
        try:
            return self._open(number, item)
        except Exception:  # noqa: BLE001 - raised again when it is the item's turn
            return None

    @contextmanager
    def opened(self, number: int, item: Item) -> Iterator[Target]:
        """The target of one item.

        Raises
        ------
        InputError
            There is none, it is no regular file, or a link leads to it.
        UnsupportedError
            It is in an object store.
        StorageError
            What an earlier run left in its tree cannot be completed.
        """
        target = self._open(number, item)
        try:
            yield target
        finally:
            os.close(target.descriptor)

    def _open(self, number: int, item: Item) -> Target:
        """Open an object, and have the disk read the part of it that is looked at."""
        folder, relative = self._place(item)
        try:
            descriptor = folder.open(relative, os.O_RDONLY)
        except OSError as cause:
            error = open_error(cause, item.location)
            raise error from cause
        try:
            status = _regular(folder.saw(descriptor), item.location)
            os.posix_fadvise(descriptor, 0, HEAD_BYTES, os.POSIX_FADV_WILLNEED)
        except BaseException:
            os.close(descriptor)
            raise
        return Target(number, item, folder, relative, descriptor, status)

    def _place(self, item: Item) -> tuple[Folder, str]:
        """The tree of an item, and the item's path below."""
        root, relative = _split(item)
        folder = self._folders.get(root)
        if folder is None:
            if is_url(item.location):
                raise UnsupportedError(
                    f"{item.location}: objects in stores cannot be changed in place",
                    hint="copy them to a folder, re-key that, and copy them back",
                )
            folder = self._begun(Path(root))
            self._folders[root] = folder
        return folder, relative

    def _begun(self, root: Path) -> Folder:
        folder = Folder(root)
        try:
            if not self._dry_run:
                recover(folder)
        except BaseException:
            folder.close()
            raise
        return folder

    def close(self) -> None:
        for folder in self._folders.values():
            if not self._dry_run:
                folder.leave_state()
            folder.close()


def _close(targets: list[Target | None]) -> None:
    while targets:
        target = targets.pop()
        if target is not None:
            os.close(target.descriptor)


def _regular(status: os.stat_result, location: str) -> os.stat_result:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{location}: not a regular file")
    return status


def _split(item: Item) -> tuple[str, str]:
    """The folder of the tree that an item belongs to, and the item's path below it."""
    location, relative = item.location, item.relative
    if item.source == location or not location.endswith("/" + relative):
        root, _, name = location.rpartition("/")
        return root or ("/" if location.startswith("/") else "."), name
    # The source is the tree's folder, or the DICOMDIR in it. Not by a Path, which costs as much as the cryptography.
    return location[: -len(relative) - 1].rstrip("/") or "/", relative
