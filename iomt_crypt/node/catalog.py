"""Which objects an archive says it has: C-FIND, as far as the archive can answer it (PS3.4 C.4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.presentation import build_context

from iomt_crypt.errors import NetworkError
from iomt_crypt.foreign_text import is_uid
from iomt_crypt.node.client import Client
from iomt_crypt.node.inquiry import FIND, GET, MOVE, Inquiry, identifier, problem_of
from iomt_crypt.node.transport import BoundedDataSet

_MAX_MATCHES = 1_000_000  # of one query
_MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Instance:
    """An object the archive says it has. ``sop_class_uid`` is empty where it does not say."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True)
class Listing:
    """What of one study is known to be in the archive.

    unlisted
        Series Instance UID -> why the archive gives no complete list of it; ``""`` stands for the whole study
    partial
        series of which not all objects are wanted: each is asked for alone
    """

    study_instance_uid: str
    instances: tuple[Instance, ...] = ()
    unlisted: dict[str, NetworkError] = field(default_factory=dict)
    partial: frozenset[str] = frozenset()


def completed(listing: Listing, known: Iterable[Instance]) -> Listing:
    """``listing`` with those ``known`` objects of its series that the archive gives no complete list of."""
    listed = {instance.sop_instance_uid for instance in listing.instances}
    more = (i for i in known if {"", i.series_instance_uid} & listing.unlisted.keys())
    return replace(listing, instances=(*listing.instances, *(i for i in more if i.sop_instance_uid not in listed)))


class Catalog:
    """Asks one archive."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._exchange: Inquiry | None = None
        #: Which of C-FIND, C-GET and C-MOVE the archive offers; known after the first question.
        self.offers: frozenset[str] = frozenset()
        #: Address of this machine that the archive was reached from.
        self.own_address = ""

    def listing(self, study_instance_uid: str, *, series: Sequence[str] = ()) -> Listing:
        """List the objects of a study, or of these ``series`` of it.

        An archive that fails at one object, or at one series, is asked for the rest.

        Raises
        ------
        NetworkError
            When the archive cannot be asked at all.
        """
        try:
            return self._list(study_instance_uid, series)
        finally:
            self.close()

    def _list(self, study: str, series: Sequence[str]) -> Listing:
        self._open()
        unlisted: dict[str, NetworkError] = {}
        wanted = dict.fromkeys(series)
        if not series:
            found, problem = self._ask(identifier("SERIES", study))
            wanted = dict.fromkeys(str(match.SeriesInstanceUID) for match in found if "SeriesInstanceUID" in match)
            if problem is not None:
                unlisted[""] = problem
        instances: dict[str, Instance] = {}
        for uid in wanted:
            classes, problem = self._classes(study, uid)
            for instance, sop_class in classes.items():
                instances.setdefault(instance, Instance(study, uid, instance, sop_class))
            if problem is not None:
                unlisted[uid] = problem
        return Listing(study, tuple(instances.values()), unlisted)

    def _classes(self, study: str, series: str) -> tuple[dict[str, str], NetworkError | None]:
        """SOP class by SOP Instance UID of a series."""
        query = identifier("IMAGE", study, series)
        query.SOPClassUID = ""
        found, problem = self._ask(query)
        classes = {str(m.SOPInstanceUID): str(m.get("SOPClassUID", "")) for m in found if "SOPInstanceUID" in m}
        if problem is None:
            return classes, None
        # Orthanc reads the class from the file: with one file gone it answers 0xC000. The UIDs are in its index.
        found, again = self._ask(identifier("IMAGE", study, series))
        for uid in (str(m.SOPInstanceUID) for m in found if "SOPInstanceUID" in m):
            if uid not in classes:
                classes[uid] = self._class_of(study, series, uid)
        return classes, problem if again is not None else None

    def _class_of(self, study: str, series: str, uid: str) -> str:
        if not is_uid(uid):
            return ""
        query = identifier("IMAGE", study, series, uid)
        query.SOPClassUID = ""
        found, _ = self._ask(query)
        return next((str(match.get("SOPClassUID", "")) for match in found), "")

    def _ask(self, query: Dataset) -> tuple[list[Dataset], NetworkError | None]:
        """What matches, and what was wrong with the answer."""
        found: list[Dataset] = []
        try:
            for answer in self._open().ask(FIND, query):
                if answer.match is not None and len(found) < _MAX_MATCHES:
                    found.append(answer.match)
                problem = problem_of(answer, FIND, self._client.peer)
        except NetworkError as error:
            return found, error
        return found, problem

    def _open(self) -> Inquiry:
        if self._exchange is None or not self._exchange.is_open:
            syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
            association = self._client.associate(
                [build_context(model, syntaxes) for model in (FIND, GET, MOVE)],
                handlers=[(evt.EVT_PDU_RECV, BoundedDataSet.guard, [_MAX_ANSWER_BYTES])],
            )
            self.offers = frozenset(str(context.abstract_syntax) for context in association.accepted_contexts)
            connection = association.dul.socket
            if connection is not None and connection.socket is not None:
                self.own_address = str(connection.socket.getsockname()[0])
            self._exchange = Inquiry(association, self._client.peer)
        return self._exchange

    def close(self) -> None:
        """End the association."""
        if self._exchange is not None:
            self._exchange.release()
        self._exchange = None
