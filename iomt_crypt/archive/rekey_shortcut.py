"""The way that nearly every object of an archive takes: what is usual about it need not be looked at in every detail.

Its record is in the first kilobytes, written by us and of an epoch that another object had before, and the new one fits
in its place. For any other, and whatever is wrong, the answer is None: the long way decides, from the beginning.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from iomt_crypt.archive.rekey_folder import Folder
from iomt_crypt.archive.rekey_target import HEAD_BYTES, Target
from iomt_crypt.dicom.walk import record_finder
from iomt_crypt.errors import IomtCryptError
from iomt_crypt.seal import Epoch, Keyring, Record
from iomt_crypt.seal.rewrap import OpenSpans, Rewrapper

_T = TypeVar("_T")
# A header of 60 elements and its record have 7 to 12 kB; others are read once more.
_HEADS = (1 << 13, HEAD_BYTES, 1 << 17)
# Where each object has an epoch of its own, what is learnt of one helps no other.
_MOST_LOOKS = 4
_log = logging.getLogger(__name__)


class Rewrap(NamedTuple):
    """What becomes of an object: container ``new`` in the place of ``old``, with ``epoch`` instead of ``old_id``."""

    offset: int
    old: bytes
    new: bytes
    old_id: bytes
    epoch: Epoch


class Shortcut:
    """For one thread, as all that it holds.

    next_epoch
        gives the epoch for one more object of a tree
    """

    def __init__(self, keyring: Keyring, wanted: list[bytes], next_epoch: Callable[[Folder], Epoch]) -> None:
        self._keyring, self._wanted, self._next_epoch = keyring, wanted, next_epoch
        self._find, self._rewrapper = record_finder(), Rewrapper()
        self._heads: tuple[int, ...] = _HEADS
        self._has_learnt = self._is_stale = self._is_broken = False

    def learn(self, record: Record) -> None:
        """The long way opened ``record``: others of its epoch need not take it."""
        self._has_learnt |= self._guarded(lambda: self._rewrapper.learn(record, self._keyring), False)

    def look_again(self) -> None:
        """Objects have changed since they were looked at."""
        self._is_stale = True

    def rewraps(self, targets: Sequence[Target | None]) -> Iterator[Rewrap | None]:
        """What becomes of each open object, for those that this way is for and that are not for the wanted already.

        They are worked out together; what is learnt between two of them is made use of.
        """
        found, n_looks = self._look(targets), 1
        for place in range(len(targets)):
            if self._is_stale:
                found[place:] = self._look(targets[place:])
            elif found[place] is None and self._has_learnt and n_looks < _MOST_LOOKS:
                again = [t if f is None else None for t, f in zip(targets[place:], found[place:], strict=True)]
                found[place:] = [f or now for f, now in zip(found[place:], self._look(again), strict=True)]
                n_looks += 1
            yield found[place]

    def _look(self, targets: Sequence[Target | None]) -> list[Rewrap | None]:
        self._has_learnt = self._is_stale = False
        nothing: list[Rewrap | None] = [None] * len(targets)
        return self._guarded(lambda: self._worked_out(targets), nothing)

    def _guarded(self, work: Callable[[], _T], otherwise: _T) -> _T:
        """What ``work`` gives; a fault of ours leaves all that follows to the long way."""
        if self._is_broken:
            return otherwise
        try:
            return work()
        except Exception:  # noqa: BLE001 - the traceback shows no variables
            self._is_broken = True
            _log.exception("objects are re-keyed the long way from here on: please report this")
            return otherwise

    def _worked_out(self, targets: Sequence[Target | None]) -> list[Rewrap | None]:
        found: list[Rewrap | None] = [None] * len(targets)
        offsets, containers = self._containers(targets)
        usual: list[tuple[int, OpenSpans, Epoch]] = []
        for place, opened in zip(offsets, self._rewrapper.open(containers), strict=True):
            target = targets[place]
            if opened is not None and target is not None and opened.epoch.recipients != self._wanted:
                try:
                    usual.append((place, opened, self._next_epoch(target.folder)))
                except IomtCryptError:  # the long way says why
                    break
        new = self._rewrapper.rewrapped([opened for _, opened, _ in usual], [epoch for _, _, epoch in usual])
        for (place, old, epoch), container in zip(usual, new, strict=True):
            if container is not None:
                found[place] = Rewrap(offsets[place], old.container, container, old.epoch.id, epoch)
        return found

    def _containers(self, targets: Sequence[Target | None]) -> tuple[dict[int, int], list[bytes]]:
        """The offset of each container that is found, by the place of its target, and the containers."""
        offsets: dict[int, int] = {}
        containers: list[bytes] = []
        left = [(place, target) for place, target in enumerate(targets) if target is not None]
        for n_bytes in self._heads:
            if not left:
                break
            heads = [_head(target.descriptor, n_bytes) for _, target in left]
            found = self._find(heads, [target.status.st_size for _, target in left])
            longer: list[tuple[int, Target]] = []
            for each, head, (begin, end) in zip(left, heads, found, strict=True):
                if end:
                    offsets[each[0]] = begin
                    containers.append(head[begin:end])
                elif len(head) == n_bytes:
                    longer.append(each)
            if n_bytes == HEAD_BYTES and any(end for _, end in found):  # the next ones will be as large
                self._heads = _HEADS[1:]
            left = longer
        return offsets, containers


def _head(descriptor: int, n_bytes: int) -> bytes:
    try:
        return os.pread(descriptor, n_bytes, 0)
    except OSError:
        return b""
