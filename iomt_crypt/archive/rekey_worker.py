"""The worker of a re-keying: opens, decides, and hands over to the batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from iomt_crypt.archive.operation import Item, Outcome
from iomt_crypt.archive.redo import Change, recover
from iomt_crypt.archive.rekey_batch import Batch, Pipeline, check_replaceable, check_writable
from iomt_crypt.archive.rekey_epoch import Epochs, made_before
from iomt_crypt.archive.rekey_folder import Folder, open_error
from iomt_crypt.archive.rekey_target import Target, Targets
from iomt_crypt.dicom.locate import Location, locate_record
from iomt_crypt.dicom.rekey import authenticate, copy_patched, patches
from iomt_crypt.dicom.source import read_file
from iomt_crypt.errors import (
    AuthenticationError,
    IomtCryptError,
    NoMatchingIdentityError,
    NotDicomError,
    NotEncryptedError,
)
from iomt_crypt.seal import Epoch, Identity, Keyring, Recipient, Record
from iomt_crypt.seal.record import OpenRecord, ParsedRecord

if TYPE_CHECKING:
    from iomt_crypt.archive.rekey_shortcut import Rewrap, Shortcut

_ENCRYPTED_ATTRIBUTES = 0x04000500  # PS3.15 E.1
# Objects from which on the shortcut is used: it takes half a second to load and saves 0.1 ms of each one. An archive of
# which so many have been met is large as a rule.
_MANY = 2000
_USER = os.geteuid()
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
        self._wanted = self._epochs.wanted
        self._rotate, self._dry_run, self._noted = rotate, dry_run, noted
        self._targets = Targets(dry_run=dry_run)
        self.errors: dict[int, IomtCryptError] = {}
        self._waiting: set[int] = set()
        self._pipeline = Pipeline(self.errors.__setitem__, self._waiting.difference_update)
        self._batch: Batch | None = None
        self._shortcut: Shortcut | None = None
        self._n_met = 0
        self._last, self._detail = ("", b"", b""), dict[str, Any]()

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        """One outcome for each item, in their order; what is done is durable."""
        self.errors.clear()
        self._waiting.clear()
        n_before, self._n_met = self._n_met, self._n_met + len(items)
        if n_before < _MANY <= self._n_met and not self._rotate:
            self._shortcut = self._load_shortcut()
        outcomes: list[Outcome] = []
        for window in self._targets.windows(items):
            rewraps = repeat(None, len(window)) if self._shortcut is None else self._shortcut.rewraps(window)
            for target, rewrap in zip(window, rewraps, strict=True):
                number = len(outcomes)
                outcomes.append(self._begin(number, items[number], target, rewrap))
        self._submit()
        self._pipeline.drain()
        for number in self._waiting - self.errors.keys():
            self.errors[number] = IomtCryptError("not known to be written", hint="run the command again")
        for number, error in self.errors.items():
            outcomes[number] = _failure(items[number], error)
        return outcomes

    def close(self) -> None:
        self._pipeline.close()
        self._targets.close()

    def _load_shortcut(self) -> Shortcut | None:
        try:
            from iomt_crypt.archive.rekey_shortcut import Shortcut

            return Shortcut(self._keyring, self._wanted.names, self._next_epoch)
        except Exception:  # noqa: BLE001 - there is another way, and work that was begun
            _log.exception("all objects are re-keyed the long way: please report this")
            return None

    def _next_epoch(self, folder: Folder) -> Epoch:
        return self._epochs.next(folder, noted=self._noted and not self._dry_run)

    def _begin(self, number: int, item: Item, target: Target | None, rewrap: Rewrap | None) -> Outcome:
        """Bring one object on its way; what it becomes if nothing fails on it."""
        try:
            if target is not None:
                return self._whole(target, rewrap)
            with self._targets.opened(number, item) as late:
                return self._whole(late, None)
        except IomtCryptError as error:
            self.errors[number] = error
        except Exception as error:  # noqa: BLE001
            # A fault of ours with one object must not end work on a million others. The traceback shows no variables.
            _log.exception("an object failed")
            self.errors[number] = IomtCryptError(
                f"internal error ({type(error).__name__})", hint="please report it with the traceback"
            )
        return Outcome(item.location, "failed")

    def _whole(self, target: Target, rewrap: Rewrap | None) -> Outcome:
        try:
            return self._object(target, rewrap)
        except AuthenticationError:
            # Half written by a worker that was killed, perhaps: its batch is done again by this one.
            if self._dry_run or not self._recover(target.folder):
                raise
            return self._object(target, None)

    def _recover(self, folder: Folder) -> bool:
        """Whether something was completed; what was looked at before may be another object now."""
        completed = True
        try:
            completed = any(found.state == "completed" for found in recover(folder))
        finally:
            if completed and self._shortcut is not None:
                self._shortcut.look_again()
        return completed

    def _object(self, target: Target, rewrap: Rewrap | None) -> Outcome:
        try:
            if rewrap is not None:
                self._change(target, rewrap.offset, rewrap.old, rewrap.new)
                return self._done(target.item, "in place", rewrap.old_id, rewrap.epoch)
            location = locate_record(target.descriptor)
            if location is None:
                raise _not_ours(target.descriptor)
            return self._located(target, location)
        except OSError as cause:
            error = open_error(cause, target.item.location)
            raise error from cause

    def _located(self, target: Target, location: Location) -> Outcome:
        parsed = ParsedRecord.of(location.container)
        same = self._wanted.are(parsed.record)
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

    def _rewrapped(self, target: Target, location: Location, opened: OpenRecord) -> Outcome:
        old = location.container
        epoch = self._next_epoch(target.folder)
        new = opened.rewrapped(epoch, size=len(old))
        in_place = len(new) == len(old)
        if in_place:
            self._change(target, location.offset, old, new)
        else:
            write = partial(copy_patched, target.descriptor, changed=patches(location, new))
            self._draft(target, write)
        return self._done(target.item, "in place" if in_place else "new file", opened.record.epoch_id, epoch)

    def _rotated(self, target: Target, old: Record) -> Outcome:
        from iomt_crypt.checks.vouch import rotate_object  # only here: a rewrap encrypts no pixels

        epoch = self._next_epoch(target.folder)

        def write(descriptor: int) -> None:
            with (
                os.fdopen(os.dup(target.descriptor), "rb") as stream,
                os.fdopen(os.dup(descriptor), "r+b") as sink,
            ):
                rotate_object(stream, sink, keyring=self._keyring, epoch=epoch)

        if self._dry_run:
            with os.fdopen(os.dup(target.descriptor), "rb") as stream:
                authenticate(stream, self._keyring)
        self._draft(target, write)
        return self._done(target.item, "rotated", old.epoch_id, epoch)

    def _change(self, target: Target, offset: int, old: bytes, new: bytes) -> None:
        status = target.status
        if self._dry_run or status.st_uid != _USER:
            check_writable(target.folder, target.relative, status)
        if self._dry_run:
            return
        change = Change(target.relative, status.st_ino, status.st_size, status.st_mtime_ns, offset, old, new)
        batch = self._batch_of(target.folder)
        self._waiting.add(target.number)
        batch.change(target.number, change)

    def _draft(self, target: Target, write: Callable[[int], None]) -> None:
        if self._dry_run:
            check_replaceable(target.folder, target.relative, target.status)
            return
        batch = self._batch_of(target.folder)
        self._waiting.add(target.number)
        batch.draft(target.number, target.relative, target.descriptor, target.status, write)

    def _done(self, item: Item, how: str, old_id: bytes, epoch: Epoch) -> Outcome:
        what = how, old_id, epoch.id
        if what != self._last:  # most are told the same
            self._last, self._detail = what, {"how": how, "old_epoch_id": old_id.hex()}
            self._detail |= {"dry_run": True} if self._dry_run else {"epoch_id": epoch.id.hex()}
        return Outcome(item.location, "done", detail=self._detail)

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
