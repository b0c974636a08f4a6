"""The worker of a re-keying: opens, decides, and hands over to the batches."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.redo import Change, recover
from iomt_crypt.archive.rekey_batch import Batch, Pipeline
from iomt_crypt.archive.rekey_epoch import Epochs, made_before
from iomt_crypt.archive.rekey_folder import Folder, open_error
from iomt_crypt.archive.store import is_url
from iomt_crypt.dicom.locate import Location, locate_record
from iomt_crypt.dicom.rekey import copy_patched, patches, rotate
from iomt_crypt.dicom.source import read_file
from iomt_crypt.errors import (
    AuthenticationError,
    InputError,
    IomtCryptError,
    NoMatchingIdentityError,
    NotDicomError,
    NotEncryptedError,
    UnsupportedError,
)
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient, Record
from iomt_crypt.seal.record import OpenRecord, ParsedRecord

if TYPE_CHECKING:
    from iomt_crypt.archive.rekey_shortcut import Shortcut

_ENCRYPTED_ATTRIBUTES = 0x04000500  # PS3.15 E.1
_MANY = 64  # objects, from which on it is worth while to load the shortcut
_log = logging.getLogger(__name__)


class RekeyWorker:
    """Re-keys objects; see `Worker`.

    errors
        of the last `run`, by the number of the item
    """

    def __init__(
        self,
        identities: Sequence[Identity],
        recipients: Sequence[Recipient],
        *,
        rotate: bool = False,
        dry_run: bool = False,
        noted: bool = True,
    ) -> None:
        self._keyring = Keyring(identities)
        self._epochs = Epochs(recipients, rotate=rotate)
        self._wanted = sorted(recipient.fingerprint for recipient in recipients)
        self._rotate, self._dry_run, self._noted = rotate, dry_run, noted
        self._folders: dict[str, Folder] = {}
        self.errors: dict[int, IomtCryptError] = {}
        self._pipeline = Pipeline(self.errors.__setitem__)
        self._batch: Batch | None = None
        self._shortcut: Shortcut | None = None

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome for each item, in their order; what is done is durable."""
        self.errors.clear()
        if len(items) >= _MANY and not self._rotate and self._shortcut is None:
            from iomt_crypt.archive.rekey_shortcut import Shortcut  # numba takes half a second to load

            self._shortcut = Shortcut(self._keyring, self._wanted)
        outcomes = [self._begin(number, item) for number, item in enumerate(items)]
        self._submit()
        self._pipeline.drain()
        for number, error in self.errors.items():
            outcomes[number] = _failure(items[number], error)
        return outcomes

    def close(self) -> None:
        self._pipeline.close()
        for folder in self._folders.values():
            if not self._dry_run:
                folder.leave_state()
            folder.close()

    def _begin(self, number: int, item: Item) -> Outcome:
        """Bring one object on its way; what it becomes if nothing fails on it."""
        try:
            folder, relative = self._place(item)
            try:
                return self._object(number, item, folder, relative)
            except AuthenticationError:
                # Half written by a worker that was killed, perhaps: its batch is done again by this one.
                if self._dry_run or not any(r.state == "completed" for r in recover(folder)):
                    raise
                return self._object(number, item, folder, relative)
        except IomtCryptError as error:
            self.errors[number] = error
        except Exception as error:  # noqa: BLE001
            # A fault of ours with one object must not end work on a million others. The traceback shows no variables.
            _log.exception("an object failed")
            self.errors[number] = IomtCryptError(
                f"internal error ({type(error).__name__})", hint="please report it with the traceback"
            )
        return Outcome(item.location, "failed")

    def _place(self, item: Item) -> tuple[Folder, str]:
        """The tree of an item, recovered when it is first met, and the item's path below."""
        root, relative = _split(item)
        folder = self._folders.get(root)
        if folder is None:
            if is_url(item.location):
                raise UnsupportedError(
                    f"{item.location}: objects in stores cannot be changed in place",
                    hint="copy them to a folder, re-key that, and copy them back",
                )
            folder = self._folders[root] = Folder(Path(root))
            if not self._dry_run:
                recover(folder)
        return folder, relative

    def _object(self, number: int, item: Item, folder: Folder, relative: str) -> Outcome:
        try:
            descriptor = folder.open(relative, os.O_RDONLY)
        except OSError as cause:
            error = open_error(cause, item.location)
            raise error from cause
        try:
            status = folder.saw(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{item.location}: not a regular file")
            target = _Object(number, item, folder, relative, descriptor, status)
            outcome = self._short(target, self._shortcut) if self._shortcut is not None else None
            if outcome is not None:
                return outcome
            location = locate_record(descriptor)
            if location is None:
                raise _not_ours(descriptor)
            return self._located(target, location)
        except OSError as cause:
            error = open_error(cause, item.location)
            raise error from cause
        finally:
            os.close(descriptor)

    def _short(self, target: _Object, shortcut: Shortcut) -> Outcome | None:
        """What becomes of an object that is for the shortcut; None for others."""
        found = shortcut.find(target.descriptor, target.status.st_size)
        if found is None:
            return None
        epoch = self._epochs.next(target.folder, noted=self._noted and not self._dry_run)
        offset, opened = found
        new = shortcut.rewrapped(opened, epoch)
        if new is None:
            return None
        self._change(target, offset, opened.container, new)
        return self._done(target.item, "in place", opened.epoch.id, epoch)

    def _located(self, target: _Object, location: Location) -> Outcome:
        parsed = ParsedRecord.of(location.container)
        same = sorted(stanza.recipient for stanza in parsed.record.stanzas) == self._wanted
        try:
            opened = parsed.open(self._keyring)
            if self._shortcut is not None:
                self._shortcut.learn(opened.record)
        except NoMatchingIdentityError:
            if same and made_before(target.folder, parsed.record, rotate=self._rotate):
                return _before(target.item)
            raise
        if same and not self._rotate:
            return _before(target.item)
        if same and target.item.again and made_before(target.folder, parsed.record, rotate=True):
            return _before(target.item)
        if self._rotate:
            return self._rotated(target, opened.record)
        return self._rewrapped(target, location, opened)

    def _rewrapped(self, target: _Object, location: Location, opened: OpenRecord) -> Outcome:
        old = location.container
        epoch = self._epochs.next(target.folder, noted=self._noted and not self._dry_run)
        new = opened.rewrapped(epoch, size=len(old))
        in_place = len(new) == len(old)
        if in_place:
            self._change(target, location.offset, old, new)
        elif not self._dry_run:
            write = partial(copy_patched, target.descriptor, changed=patches(location, new))
            self._draft(target, write)
        return self._done(target.item, "in place" if in_place else "new file", opened.record.epoch_id, epoch)

    def _rotated(self, target: _Object, old: Record) -> Outcome:
        epoch = self._epochs.next(target.folder, noted=self._noted and not self._dry_run)

        def write(descriptor: int) -> None:
            with (
                os.fdopen(os.dup(target.descriptor), "rb") as stream,
                os.fdopen(os.dup(descriptor), "r+b") as sink,
            ):
                rotate(stream, sink, keyring=self._keyring, epoch=epoch)

        if not self._dry_run:
            self._draft(target, write)
        return self._done(target.item, "rotated", old.epoch_id, epoch)

    def _change(self, target: _Object, offset: int, old: bytes, new: bytes) -> None:
        if not self._dry_run:
            inode, size = target.status.st_ino, target.status.st_size
            self._batch_of(target.folder).change(target.number, Change(target.relative, inode, size, offset, old, new))

    def _draft(self, target: _Object, write: Callable[[int], None]) -> None:
        self._batch_of(target.folder).draft(target.number, target.relative, target.descriptor, target.status, write)

    def _done(self, item: Item, how: str, old_id: bytes, epoch: Epoch) -> Outcome:
        detail: dict[str, Any] = {"how": how, "old_epoch_id": old_id.hex()}
        detail |= {"dry_run": True} if self._dry_run else {"epoch_id": epoch.id.hex()}
        return Outcome(item.location, "done", detail=detail)

    def _batch_of(self, folder: Folder) -> Batch:
        if self._batch is not None and (self._batch.full or self._batch.folder is not folder):
            self._submit()
        if self._batch is None:
            self._batch = Batch(folder)
        return self._batch

    def _submit(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            self._pipeline.submit(batch)


class _Object(NamedTuple):
    """An object that is open."""

    number: int
    item: Item
    folder: Folder
    relative: str
    descriptor: int
    status: os.stat_result


def _split(item: Item) -> tuple[str, str]:
    """The folder of the tree that an item belongs to, and the item's path below it."""
    location, relative = item.location, item.relative
    if item.source == location or not location.endswith("/" + relative):
        root, _, name = location.rpartition("/")
        return root or ("/" if location.startswith("/") else "."), name
    # The source is the tree's folder, or the DICOMDIR in it. Not by a Path, which costs as much as the cryptography.
    return location[: -len(relative) - 1].rstrip("/") or "/", relative


def _not_ours(descriptor: int) -> NotEncryptedError:
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        if _ENCRYPTED_ATTRIBUTES in read_file(stream).header:
            return NotEncryptedError(
                "encrypted by other software (0400,0500), with no record of ours",
                hint="whoever encrypted it can re-key it",
            )
    return NotEncryptedError("plain: not encrypted by iomt-crypt, or its private block was removed")


def _before(item: Item) -> Outcome:
    return Outcome(item.location, "skipped", "done before: it has exactly these recipients", before=True)


def _failure(item: Item, error: IomtCryptError) -> Outcome:
    """Files in a tree that are none of ours are left alone; a file that the user named was expected to be one."""
    if isinstance(error, NotDicomError | NotEncryptedError) and item.source != item.location:
        return Outcome(item.location, "skipped", str(error), error.hint)
    return Outcome(item.location, "failed", str(error), error.hint)
