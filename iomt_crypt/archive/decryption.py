"""Decrypt every object of a tree."""

from __future__ import annotations

from dataclasses import dataclass

from iomt_crypt.archive import store
from iomt_crypt.archive.each import EachWorker
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item, Outcome, Worker
from iomt_crypt.archive.record_copy import RecordCopies, no_copies
from iomt_crypt.archive.result import Results
from iomt_crypt.dicom import Headers


@dataclass(frozen=True)
class Decryption:
    """An `Operation`.

    records
        copies of records, for objects that lost their own
    dry_run
        open record and header of each object, and write nothing; frames are not looked at
    """

    identities: KeySource
    results: Results
    headers: Headers = "merged"
    dry_run: bool = False
    records: RecordCopies | None = None

    @property
    def name(self) -> str:
        return "decrypt"

    @property
    def secret(self) -> bool:
        """Whether passphrases travel with it."""
        return self.identities.secret

    def fingerprint(self) -> str:
        # Whoever can open an object gets the same bytes.
        return "\n".join((self.results.folder, self.headers))

    def prepare(self, *, resumed: bool) -> None:
        self.results.check()
        if not self.dry_run:
            self.results.clear(below=resumed)

    def open(self) -> Worker:
        return EachWorker(_Decryptor(self).work)


class _Decryptor:
    def __init__(self, operation: Decryption) -> None:
        from iomt_crypt.seal import Keyring

        self._headers: Headers = operation.headers
        self._dry_run = operation.dry_run
        self._overwrite = operation.results.overwrite
        self._records_of = operation.records.of if operation.records else no_copies
        self._targets = operation.results.open()
        self._keyring = Keyring(operation.identities.identities())

    def work(self, item: Item) -> Outcome:
        from iomt_crypt import dicom

        settled = self._targets.settled(item)
        if settled is not None:
            return settled
        target = self._targets.of(item)
        if self._dry_run:
            return self._foresee(item, target)
        if not store.is_url(item.location) and not store.is_url(target):
            done = dicom.decrypt_file(
                store.local_path(item.location),
                store.local_path(target),
                identities=self._keyring,
                headers=self._headers,
                overwrite=self._overwrite,
                records_of=self._records_of,
            )
        else:
            with (
                store.reading(item.location) as stream,
                store.writing(target, overwrite=self._overwrite, secret=True) as sink,
            ):
                done = dicom.restore(
                    stream, sink, keyring=self._keyring, headers=self._headers, records_of=self._records_of
                )
        detail = {
            "output": target,
            "sop_instance_uid": done.sop_instance_uid,
            "suite": done.suite,
            "changed": list(done.changed),
            "corrections_applied": done.applied,
            "compared": done.compared,
            "remark": done.remark,
            "from_copy": done.from_copy,
        }
        return Outcome(item.location, "done", detail=detail)

    def _foresee(self, item: Item, target: str) -> Outcome:
        from iomt_crypt.dicom.restore import open_object
        from iomt_crypt.dicom.salvage import read_sealed
        from iomt_crypt.dicom.uid import SOP_INSTANCE

        with store.reading(item.location) as stream:
            source = read_sealed(stream)
            opened = open_object(source, self._keyring, self._records_of(source.text(SOP_INSTANCE)))
        store.check_free(target, overwrite=self._overwrite)
        drift = opened.drift() if self._headers != "original" else None
        detail = {
            "output": target,
            "suite": opened.record.suite,
            "changed": list(drift.changed) if drift else [],
            "compared": drift is not None and not drift.obstacle,
            "remark": drift.obstacle if drift else "",
        }
        return Outcome(item.location, "done", detail=detail)
