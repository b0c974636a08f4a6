"""What an archive really has of what it took: `iomt-crypt verify --archive`. Nothing is written.

An answer of success says little: archives drop private blocks, keep an older version, or lose files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from iomt_crypt.archive.operation import Item
from iomt_crypt.archive.verification import Verifier
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.restore import frames, open_object, read_record
from iomt_crypt.dicom.source import Source
from iomt_crypt.errors import (
    AuthenticationError,
    IomtCryptError,
    NetworkError,
    NoMatchingIdentityError,
    NotEncryptedError,
)
from iomt_crypt.foreign_text import shown_uid
from iomt_crypt.node.catalog import Catalog, Listing
from iomt_crypt.node.client import Client, Timeouts
from iomt_crypt.node.demand import Arrival, Refusal
from iomt_crypt.node.move_listener import MoveTarget
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.retrieval import Retrieval
from iomt_crypt.seal import Keyring, Record

#: What can be said of an object in an archive, and what that means.
VERDICTS = {
    "opens": "record, header and all frames are authentic",
    "sealed": "encrypted and undamaged as far as can be seen without an identity",
    "retired": "it opens with a retired identity only: the archive may have kept the version from before re-keying",
    "closed": "none of the identities opens it",
    "damaged": "it does not authenticate",
    "record-lost": "it is encrypted, and its record is gone",
    "different": "the archive has something else under this UID",
    "plain": "it is not encrypted",
    "looks-plain": "it says that it is encrypted, and its pixels look plain",
    "unreadable": "it cannot be read",
    "absent": "it is not there",
    "unsent": "the archive lists it, and does not send it",
    "surplus": "nobody asked for it",
    "unlisted": "the archive gives no complete list",
}
SOUND = frozenset({"opens", "sealed"})
_BY_LOOK = {"authentic": "opens", "consistent": "sealed", "no-record": "record-lost"}
_BY_REFUSAL = {"missing": "unsent"}
_COPY_OPENS = "the journal's copy of the record opens it: 'iomt-crypt fetch --journal', 'decrypt --record'"
_LOST = "the journal of the node that encrypted it has a copy of the record: 'iomt-crypt node record export'"


@dataclass(frozen=True)
class Finding:
    """What was found of one object; ``verdict`` is one of `VERDICTS`."""

    sop_instance_uid: str
    verdict: str
    reason: str = ""
    hint: str = ""
    changed: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether the archive has what it should."""
        return self.verdict in SOUND


class ArchiveAudit:
    """Looks at objects of one archive, each in memory, one at a time.

    keyring
        identities that must open each object; None judges by structure and look alone
    retired
        identities that should open none any more
    records_of
        copies of records by SOP Instance UID, newest first: tells which version is there, and whether a lost record
        could be put back
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        keyring: Keyring | None,
        retired: Keyring | None = None,
        classifier: bool = True,
        records_of: Callable[[str], Sequence[bytes]] = lambda uid: (),
        target: MoveTarget | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        client = Client(peer, calling_ae_title=calling_ae_title, timeouts=timeouts)
        self._catalog = Catalog(client)
        self._retrieval = Retrieval(
            client, self._catalog, calling_ae_title=calling_ae_title, take=self._on_arrival, target=target
        )
        self._keyring = keyring
        self._retired = retired
        self._verifier = Verifier(keyring, classifier=classifier)
        self._records_of = records_of
        self._known: frozenset[str] = frozenset()

    def study(self, study_instance_uid: str, known: Iterable[str] | None = None) -> Iterator[Finding]:
        """Look at all objects of a study, or at those that are ``known`` to have been encrypted (UIDs).

        Raises
        ------
        NetworkError
            When the archive cannot be asked at all.
        """
        listing = self._catalog.listing(study_instance_uid)
        self._known = frozenset(known or ())
        if known is not None:
            listing = _narrowed(listing, self._known)
        there = {instance.sop_instance_uid for instance in listing.instances}
        for result in self._retrieval.run(listing):
            finding = result if isinstance(result, Finding) else _refused(result)
            there.add(finding.sop_instance_uid)
            yield finding
        for uid in sorted(self._known - there):
            yield Finding(uid, "absent", "the archive does not have it")
        if known is None and not there:
            yield Finding(study_instance_uid, "absent", "the archive has nothing of this study")

    def _on_arrival(self, arrival: Arrival, source: Source) -> Finding:
        uid = shown_uid(arrival.sop_instance_uid)
        try:
            return self._judge(arrival, source)
        except NoMatchingIdentityError as error:
            if self._retired is not None and _opens(source, self._retired):
                return Finding(uid, "retired", VERDICTS["retired"], "send the re-keyed object again, see docs/REKEY.md")
            hint = (
                error.hint
                if self._retired
                else f"{error.hint}; --retired tells whether it was kept from before re-keying"
            )
            return Finding(uid, "closed", str(error), hint)
        except AuthenticationError as error:
            if self._can_be_put_back(source):
                return Finding(uid, "record-lost", "its record is damaged", _COPY_OPENS)
            return Finding(uid, "damaged", str(error), error.hint)
        except IomtCryptError as error:
            return Finding(uid, "unreadable", str(error), error.hint)

    def _judge(self, arrival: Arrival, source: Source) -> Finding:
        uid = arrival.sop_instance_uid
        try:
            record = read_record(source)
        except NotEncryptedError:
            record = None
        if record is not None and (reason := self._difference(uid, record)):
            return Finding(
                uid, "different", reason, "send it again; the archive may keep what it had: see docs/NODE.md"
            )
        stream = io.BytesIO(file_meta(arrival.sop_class_uid, uid, arrival.transfer_syntax_uid) + arrival.data)
        outcome = self._verifier.judge(stream, Item(uid, uid, named=True, source=""))
        look = str(outcome.detail.get("verdict", "unreadable"))
        verdict = _BY_LOOK.get(look, look)
        if record is None and (verdict == "record-lost" or (verdict == "plain" and uid in self._known)):
            hint = _COPY_OPENS if self._can_be_put_back(source) else _LOST
            return Finding(shown_uid(uid), "record-lost", VERDICTS["record-lost"], hint)
        return Finding(shown_uid(uid), verdict, outcome.reason, outcome.hint, tuple(outcome.detail.get("changed", ())))

    def _difference(self, uid: str, record: Record) -> str:
        """Why this is not the object that it should be; empty when nothing speaks against it."""
        if record.sop_instance_uid != uid:
            return f"its record belongs to {record.sop_instance_uid}"
        object_ids = []
        for copy in self._records_of(uid):
            with suppress(AuthenticationError):
                object_ids.append(Record.unpack(copy).object_id)
        # Re-keying with new content keys gives an object another id, which no journal knows: that is no fault.
        return "an older version of it" if record.object_id in object_ids[1:] else ""

    def _can_be_put_back(self, source: Source) -> bool:
        copies = self._records_of(source.text(0x00080018))
        return bool(copies) and self._keyring is not None and _opens(source, self._keyring, copies)


def _opens(source: Source, keyring: Keyring, records: Sequence[bytes] = ()) -> bool:
    try:
        for _ in frames(open_object(source, keyring, records)):
            pass
    except IomtCryptError:
        return False
    return True


def _refused(refusal: Refusal) -> Finding:
    verdict = _BY_REFUSAL.get(refusal.kind, refusal.kind)
    return Finding(refusal.sop_instance_uid, verdict, str(refusal.error), refusal.error.hint)


def _narrowed(listing: Listing, known: frozenset[str]) -> Listing:
    """The known objects of a study; a series with others in it is not asked for whole."""
    instances = tuple(i for i in listing.instances if i.sop_instance_uid in known)
    partial = frozenset(i.series_instance_uid for i in listing.instances if i.sop_instance_uid not in known)
    return Listing(listing.study_instance_uid, instances, listing.unlisted, partial)


def cannot_ask(study_instance_uid: str, error: NetworkError) -> Finding:
    """The finding for a study about which the archive could not be asked."""
    return Finding(study_instance_uid, "unlisted", str(error), error.hint)
