"""The way that nearly every object of an archive takes: what is usual about it need not be looked at in every detail.

Its record is in the first kilobytes, written by us and of an epoch that another object had before, and the new one fits
in its place. For any other, and whatever is wrong, the answer is None: the long way decides, from the beginning.
"""

from __future__ import annotations

import os

from iomt_crypt.archive.rekey_target import HEAD_BYTES
from iomt_crypt.dicom.walk import record_finder
from iomt_crypt.seal import Keyring, Record
from iomt_crypt.seal.rewrap import OpenSpans, Rewrapper

# A header of 60 elements and its record have 7 to 12 kB; others are read once more.
_HEADS = (1 << 13, HEAD_BYTES, 1 << 17)


class Shortcut:
    """For one thread, as all that it holds."""

    def __init__(self, keyring: Keyring, wanted: list[bytes]) -> None:
        self._keyring, self._wanted = keyring, wanted
        self._find, self._rewrapper = record_finder(), Rewrapper()
        self.rewrapped = self._rewrapper.rewrapped
        self._heads: tuple[int, ...] = _HEADS

    def learn(self, record: Record) -> None:
        """The long way opened ``record``: others of its epoch need not take it."""
        self._rewrapper.learn(record, self._keyring)

    def find(self, descriptor: int, size: int) -> tuple[int, OpenSpans] | None:
        """Where the container of an open file begins, and its record: for those that this way is for, and that are not
        for the wanted recipients already.

        Raises OSError.
        """
        for head_bytes in self._heads:
            head = os.pread(descriptor, head_bytes, 0)
            offset, end = self._find(head, size)
            if offset:
                if head_bytes == HEAD_BYTES:  # the next one will be as large
                    self._heads = _HEADS[1:]
                opened = self._rewrapper.open(head[offset:end])
                return None if opened is None or opened.epoch.recipients == self._wanted else (offset, opened)
            if len(head) < head_bytes:
                return None
        return None
