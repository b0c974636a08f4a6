"""Verify every object of a tree: its record, and whether its pixels look as the record says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from iomt_crypt.archive import store
from iomt_crypt.archive.each import EachWorker
from iomt_crypt.archive.key import KeySource
from iomt_crypt.archive.operation import Item, Outcome, Worker
from iomt_crypt.archive.record_copy import RecordCopies, no_copies
from iomt_crypt.errors import (
    AuthenticationError,
    ConfigurationError,
    InputError,
    IomtCryptError,
    NoMatchingIdentityError,
)

if TYPE_CHECKING:
    from iomt_crypt.checks.cell import Cells
    from iomt_crypt.checks.classifier import Classifier
    from iomt_crypt.seal import Keyring

#: Frames of one object whose pixels are looked at.
N_FRAMES = 16

_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage: PS3.10 8.6

#: What can be said of an object, and what that means.
VERDICTS = {
    "authentic": "record, header and all frames",
    "consistent": "encrypted and undamaged as far as can be seen without an identity",
    "plain": "not encrypted",
    "looks-plain": "it says that it is encrypted, and its pixels look plain",
    "no-record": "its pixels look encrypted, and there is no record to decrypt them with",
}
_HINTS = {
    "looks-plain": "do not give it away: what wrote it did not encrypt it well",
    "no-record": "an archive may have dropped private elements: the node's journal has a copy of each record; "
    "'iomt-crypt node record export' writes it, 'decrypt --record' and 'fetch --journal' open with it",
}


@dataclass(frozen=True)
class Verification:
    """An `Operation` that writes nothing. Without identities only structure and look are judged.

    classifier
        ask the trained classifier too, where it is installed
    records
        copies of records, for objects that lost their own
    """

    identities: KeySource | None
    classifier: bool = True
    records: RecordCopies | None = None

    @property
    def name(self) -> str:
        return "verify"

    @property
    def secret(self) -> bool:
        """Whether passphrases travel with it."""
        return self.identities is not None and self.identities.secret

    def fingerprint(self) -> str:
        return ("keyed" if self.identities else "keyless") + ("" if self.classifier else ", statistics alone")

    def open(self) -> Worker:
        from iomt_crypt.seal import Keyring

        keyring = Keyring(self.identities.identities()) if self.identities else None
        return EachWorker(Verifier(keyring, classifier=self.classifier, records=self.records).work)


class Verifier:
    """Judges one object after the other; without ``keyring`` by structure and look alone."""

    def __init__(
        self, keyring: Keyring | None, *, classifier: bool = True, records: RecordCopies | None = None
    ) -> None:
        self._keyring = keyring or ()
        self._classifier = _load_classifier() if classifier else None
        self._records_of = records.of if records else no_copies

    def work(self, item: Item) -> Outcome:
        """Judge the object at ``item``; what does not open raises as `verify_stream` does."""
        with store.reading(item.location) as stream:
            return self.judge(stream, item)

    def judge(self, stream: BinaryIO, item: Item) -> Outcome:
        """`work`, for an object that is open already (readable, seekable)."""
        from iomt_crypt.dicom.inspection import verify_stream

        try:
            found = verify_stream(stream, identities=self._keyring, records_of=self._records_of)
        except (AuthenticationError, NoMatchingIdentityError) as error:
            return self._unopened(item, stream, error)
        cells = _cells(stream, found.state)
        bare = found.state == "plain" and cells is not None and not cells.frames
        if bare and not item.named and _is_directory(stream):
            return Outcome(item.location, "skipped", "a DICOMDIR is a table of contents, not an object to encrypt")
        verdict = found.state if cells is None else self._look(cells, found.state)
        detail = {**asdict(found), "verdict": verdict}
        del detail["state"]
        if verdict in ("authentic", "consistent"):
            return Outcome(item.location, "done", detail=detail)
        # The question is whether everything is encrypted and sound.
        return Outcome(item.location, "failed", _reason(verdict), _HINTS.get(verdict, ""), detail=detail)

    def _unopened(self, item: Item, stream: BinaryIO, error: IomtCryptError) -> Outcome:
        """The outcome for an object that does not open. Pixels that look plain are told, as they are without a key."""
        try:
            cells = _cells(stream, "consistent")
        except InputError:
            raise error from None
        if cells is None or self._look(cells, "consistent") != "looks-plain":
            raise error
        detail = {"sop_instance_uid": cells.sop_instance_uid, "n_units": 0, "changed": (), "remark": ""}
        detail |= {"verdict": "looks-plain"}
        reason = f"{error}; {_reason('looks-plain')}"
        return Outcome(item.location, "failed", reason, _HINTS["looks-plain"], detail=detail)

    def _look(self, cells: Cells, state: str) -> str:
        """The verdict when the pixels have been looked at, too."""
        from iomt_crypt.checks.statistic import measure

        if cells.compressed:  # its streams say nothing of the pixels
            return state
        found = [measure(frame) for frame in cells.frames]
        if not found or not all(statistics.judged for statistics in found):
            return state
        noise = not any(statistics.alarms for statistics in found) and self._seems_encrypted(cells)
        if state == "plain":
            return "no-record" if noise else "plain"
        return state if noise else "looks-plain"

    def _seems_encrypted(self, cells: Cells) -> bool:
        if self._classifier is None:
            return True
        return bool((self._classifier.probabilities(cells.frames) >= self._classifier.threshold).all())


def _reason(verdict: str) -> str:
    return f"{verdict.replace('-', ' ')}: {VERDICTS[verdict]}"


def _is_directory(stream: BinaryIO) -> bool:
    """Whether this is a DICOMDIR, whatever its name; its data set has no SOP class, its file meta information has."""
    from iomt_crypt.dicom import split_file

    return split_file(stream).sop_class_uid == _DIRECTORY


def _cells(stream: BinaryIO, state: str) -> Cells | None:
    """Pixels to look at. None where they cannot be told apart: of a plain object that is no fault to report here, and
    of an authentic one nothing is asked but its record.
    """
    from iomt_crypt.checks.cell import read_cells

    try:
        return read_cells(stream, n_frames=N_FRAMES)
    except InputError:
        if state in ("plain", "authentic"):
            return None
        raise


def _load_classifier() -> Classifier | None:
    """The classifier; None where it is not installed: the statistics then judge alone."""
    try:
        from iomt_crypt.checks.classifier import Classifier

        return Classifier.load()
    except (ImportError, ConfigurationError):
        return None
