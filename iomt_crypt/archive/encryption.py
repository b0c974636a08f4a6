"""Encrypt every object of a tree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from iomt_crypt.archive import store
from iomt_crypt.archive.each import EachWorker
from iomt_crypt.archive.key import KeySource, SiteKey
from iomt_crypt.archive.operation import Item, Outcome, Worker
from iomt_crypt.archive.result import Results


@dataclass(frozen=True)
class Encryption:
    """An `Operation`. Each process makes an epoch of its own: no epoch key travels.

    dry_run
        decide how each object would be encrypted, and write nothing
    max_expansion
        see `iomt_crypt.dicom.Policy`; None for its default
    """

    recipients: KeySource
    results: Results
    suite: str
    uids: Literal["derive", "keep"]
    site_key: SiteKey | None
    dry_run: bool = False
    max_expansion: int | None = None

    @property
    def name(self) -> str:
        return "encrypt"

    @property
    def secret(self) -> bool:
        """Whether passphrases travel with it."""
        return self.recipients.secret

    def fingerprint(self) -> str:
        site = self.site_key.digest if self.site_key else ""
        return "\n".join((self.results.folder, self.suite, self.uids, site, self.recipients.fingerprint()))

    def prepare(self, *, resumed: bool) -> None:
        self.results.check()
        if not self.dry_run:
            self.results.clear(below=resumed)

    def open(self) -> Worker:
        return EachWorker(_Encryptor(self).work)


class _Encryptor:
    def __init__(self, operation: Encryption) -> None:
        from iomt_crypt.dicom import Policy
        from iomt_crypt.seal import Epoch

        self._dry_run = operation.dry_run
        self._overwrite = operation.results.overwrite
        self._targets = operation.results.open()
        site_key = operation.site_key.load() if operation.site_key else None
        self._policy = Policy(suite=operation.suite, uids=operation.uids, site_key=site_key)
        if operation.max_expansion is not None:
            self._policy = replace(self._policy, max_expansion=operation.max_expansion)
        self._epoch = Epoch.create(operation.recipients.recipients())

    def work(self, item: Item) -> Outcome:
        from iomt_crypt.checks.vouch import encrypt_source
        from iomt_crypt.dicom import read_file

        settled = self._targets.settled(item)
        if settled is not None:
            return settled
        target = self._targets.of(item)
        if self._dry_run:
            return self._foresee(item, target)
        with store.reading(item.location) as stream:
            source = read_file(stream, policy=self._policy)
            with store.writing(target, overwrite=self._overwrite, secret=False) as sink:
                vouched = encrypt_source(source, sink, original=stream, epoch=self._epoch, policy=self._policy)
        done = vouched.protected
        detail = {
            "output": target,
            "sop_instance_uid": done.sop_instance_uid,
            "form": done.form,
            "suite": done.suite,
            "size_bytes": done.size_bytes,
            "vouch_seconds": round(vouched.seconds, 6),
        }
        return Outcome(item.location, "done", detail=detail)

    def _foresee(self, item: Item, target: str) -> Outcome:
        from iomt_crypt.dicom import read_file
        from iomt_crypt.dicom.protect import prepare

        with store.reading(item.location) as stream:
            prepared = prepare(read_file(stream, policy=self._policy), epoch=self._epoch, policy=self._policy)
        store.check_free(target, overwrite=self._overwrite)
        detail = {
            "output": target,
            "sop_instance_uid": prepared.clear.sop_instance_uid,
            "form": prepared.record.form,
            "suite": prepared.record.suite,
        }
        return Outcome(item.location, "done", detail=detail)
