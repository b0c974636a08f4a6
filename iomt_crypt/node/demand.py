"""What is asked of an archive, what came, and whether an object that comes is one that was asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from iomt_crypt.dicom import read_network
from iomt_crypt.dicom.meta import file_meta
from iomt_crypt.dicom.salvage import read_sealed
from iomt_crypt.dicom.source import Source
from iomt_crypt.dicom.uid import SERIES, SOP_INSTANCE, STUDY
from iomt_crypt.errors import InputError, IomtCryptError, MalformedError, NetworkError
from iomt_crypt.foreign_text import shown_uid
from iomt_crypt.node.catalog import Instance, Listing
from iomt_crypt.node.peer import Peer

_SOP_CLASS = 0x00080016
_MAX_REFUSED = 1000  # an archive that sends more than that is not answering the question
_NOTHING_WRITTEN = "nothing of it was written"


@dataclass(frozen=True)
class Arrival:
    """An object as it came by C-STORE. The UIDs are the command's, ``data`` is its data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


def _read(arrival: Arrival) -> Source:
    """The object; where its clear header cannot be parsed, its record and pixels, which say which object they are."""
    try:
        return read_network(arrival.data, transfer_syntax_uid=arrival.transfer_syntax_uid)
    except MalformedError:
        meta = file_meta(arrival.sop_class_uid, arrival.sop_instance_uid, arrival.transfer_syntax_uid)
        return read_sealed(io.BytesIO(meta + arrival.data))


@dataclass(frozen=True)
class Refusal:
    """What did not come as it was asked for.

    kind
        ``"missing"``: an object that did not come; ``"different"``: another came in its place; ``"surplus"``: one that
        nobody asked for; ``"unlisted"``: a list that the archive did not give (the UID is that of series or study)
    """

    sop_instance_uid: str
    error: IomtCryptError
    kind: Literal["missing", "different", "surplus", "unlisted"]


@dataclass
class Demand:
    """The objects of one study that are asked for."""

    listing: Listing
    peer: Peer
    arrived: set[str] = field(default_factory=set)
    other: dict[str, IomtCryptError] = field(default_factory=dict)  # came under an asked UID, and was not that object
    failures: dict[str, NetworkError] = field(default_factory=dict)  # what the archive said when asked for one alone
    problem: NetworkError | None = None
    n_refused: int = 0

    def __post_init__(self) -> None:
        self.expected = {instance.sop_instance_uid: instance for instance in self.listing.instances}

    @property
    def is_flooded(self) -> bool:
        """Whether the archive has sent too much that nobody asked for."""
        return self.n_refused > _MAX_REFUSED

    def series(self) -> list[str]:
        """Series to ask for whole; ``""`` is the whole study."""
        if "" in self.listing.unlisted:
            return [""]
        wanted = dict.fromkeys([*(i.series_instance_uid for i in self.expected.values()), *self.listing.unlisted])
        return [uid for uid in wanted if uid not in self.listing.partial]

    def missing(self) -> list[Instance]:
        """What did not come yet."""
        return [instance for uid, instance in self.expected.items() if uid not in self.arrived]

    def admit(self, arrival: Arrival) -> Source:
        """Parse an object, and note it as arrived when it is one that was asked for.

        Raises
        ------
        InputError
            It cannot be read.
        NetworkError
            It is not what was asked for.
        """
        uid = arrival.sop_instance_uid
        try:
            source = _read(arrival)
            if source.damage and uid not in self.expected:
                raise self._not_asked("an object that was not asked for")
            if not source.damage:
                self._require_same(arrival, source)
        except (InputError, NetworkError) as error:
            if uid in self.expected:
                self.other[uid] = error
            raise
        if uid in self.arrived:
            raise self._not_asked("a second object under this UID")
        self.arrived.add(uid)
        return source

    def _require_same(self, arrival: Arrival, source: Source) -> None:
        """The object is of this study and of a series that was asked for, and it is what its C-STORE says it is."""
        study, series = source.text(STUDY), source.text(SERIES)
        if study != self.listing.study_instance_uid:
            raise self._not_asked(f"an object of another study, {shown_uid(study)}")
        known = self.expected.get(arrival.sop_instance_uid)
        is_open = bool({"", series} & self.listing.unlisted.keys())
        if known is None and not is_open:
            raise self._not_asked("an object that was not asked for")
        if known is not None and series != known.series_instance_uid:
            raise self._not_asked(f"an object of another series, {shown_uid(series)}")
        if source.text(SOP_INSTANCE) != arrival.sop_instance_uid:
            raise self._not_asked(f"another object under this UID: {shown_uid(source.text(SOP_INSTANCE))}")
        if source.text(_SOP_CLASS) != arrival.sop_class_uid:
            raise self._not_asked("an object of another SOP class than it said")

    def _not_asked(self, what: str) -> NetworkError:
        return NetworkError(f"{self.peer} sent {what}", hint=_NOTHING_WRITTEN)

    def refused(self, uid: str, error: IomtCryptError) -> list[Refusal]:
        """Count what was not admitted. One that stands for a missing object is reported when all is over."""
        self.n_refused += 1
        if uid in self.expected and uid not in self.arrived:
            return []
        return [Refusal(shown_uid(uid), error, "surplus")]

    def rest(self) -> Iterator[Refusal]:
        """What is wrong at the end: objects that did not come, other content under their UIDs, lists not had."""
        missing = self.problem or NetworkError(
            f"{self.peer} did not send the object", hint="the archive's own log says why"
        )
        for uid in self.expected:
            if uid not in self.arrived:
                if uid in self.other:
                    yield Refusal(shown_uid(uid), self.other[uid], "different")
                else:
                    yield Refusal(shown_uid(uid), self.failures.get(uid, missing), "missing")
            elif uid in self.other:
                yield Refusal(shown_uid(uid), self.other[uid], "surplus")
        for series, why in self.listing.unlisted.items():
            what = f"series {shown_uid(series)}" if series else f"study {shown_uid(self.listing.study_instance_uid)}"
            error = NetworkError(f"no complete list of {what}: {why}", hint="objects of it may be missing here")
            yield Refusal(series or self.listing.study_instance_uid, error, "unlisted")
