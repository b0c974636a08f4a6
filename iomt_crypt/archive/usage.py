"""Which epochs and recipients the objects of a tree use; no key is needed, and nothing is authenticated."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from iomt_crypt.archive import store
from iomt_crypt.archive.each import EachWorker
from iomt_crypt.archive.operation import Item, Outcome, Worker
from iomt_crypt.dicom.locate import locate_in, locate_record
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.errors import InputError, NotDicomError
from iomt_crypt.seal import Record, fingerprint_text


@dataclass(frozen=True)
class UsageSurvey:
    """An `Operation` that tells epoch and recipients of each object, and writes nothing."""

    @property
    def name(self) -> str:
        return "key usage"

    def fingerprint(self) -> str:
        return "key usage"

    def open(self) -> Worker:
        return EachWorker(_survey)


def _survey(item: Item) -> Outcome:
    try:
        container = _container(item.location)
    except NotDicomError as error:
        if item.source == item.location:
            raise
        return Outcome(item.location, "skipped", str(error), error.hint)
    if container is None:
        return Outcome(item.location, "skipped", "plain: not encrypted by iomt-crypt")
    record = Record.unpack(container)
    recipients = [{"kind": s.kind, "fingerprint": fingerprint_text(s.recipient)} for s in record.stanzas]
    return Outcome(item.location, "done", detail={"epoch_id": record.epoch_id.hex(), "recipients": recipients})


def _container(location: str) -> bytes | None:
    if store.is_url(location):
        with store.reading(location) as stream:
            found = locate_in(read_sealed(stream))
    else:
        try:
            descriptor = os.open(store.local_path(location), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{location}: cannot be read ({error.strerror})") from error
        try:
            found = locate_record(descriptor)
        finally:
            os.close(descriptor)
    return None if found is None else found.container


@dataclass
class Usage:
    """Sums over a tree.

    epochs
        objects by epoch
    recipients
        objects by fingerprint of a recipient; one object counts for each of its recipients
    kinds
        kind by fingerprint
    retiring
        fingerprints that are to go
    n_stranded
        objects that only these can open
    n_failed
        files that could not be looked at
    n_links
        links that were not followed, and lead out of the sources
    complete
        whether all of the sources was gone through
    """

    retiring: frozenset[str] = frozenset()
    n_objects: int = 0
    epochs: Counter[str] = field(default_factory=Counter)
    recipients: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, str] = field(default_factory=dict)
    n_stranded: int = 0
    n_failed: int = 0
    n_links: int = 0
    complete: bool = False

    @property
    def retirable(self) -> bool:
        """Whether it is known that every object has a recipient that is not to go."""
        seen_all = self.complete and not self.n_failed and not self.n_links
        return seen_all and self.n_objects > 0 and self.n_stranded == 0

    def hear(self, outcome: Outcome) -> None:
        """Count what is no object, or could not be looked at."""
        self.n_failed += outcome.state == "failed"
        self.n_links += bool(outcome.detail.get("link"))

    def add(self, detail: dict[str, Any]) -> bool:
        """Count an object by the `Outcome.detail` of a survey; True when only those that are to go can open it."""
        fingerprints = {recipient["fingerprint"] for recipient in detail["recipients"]}
        self.n_objects += 1
        self.epochs[detail["epoch_id"]] += 1
        self.recipients.update(fingerprints)
        self.kinds.update({recipient["fingerprint"]: recipient["kind"] for recipient in detail["recipients"]})
        alone = bool(self.retiring) and fingerprints <= self.retiring
        self.n_stranded += alone
        return alone
