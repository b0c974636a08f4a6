"""Get the objects of a study from an archive: C-GET, or C-MOVE to a listener of our own (PS3.4 C.4.2, C.4.3).

Each series is asked for whole, and then each object that did not come alone: some archives end a retrieval at the
first object that they cannot send (Orthanc does, with 0xC000), and the healthy ones behind it would stay there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Generic, TypeVar, cast

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import build_context, build_role

from iomt_crypt.dicom.source import Source
from iomt_crypt.errors import IomtCryptError, NetworkError
from iomt_crypt.foreign_text import is_uid
from iomt_crypt.node import status
from iomt_crypt.node.catalog import Catalog, Instance, Listing
from iomt_crypt.node.client import Client
from iomt_crypt.node.demand import Arrival, Demand, Refusal
from iomt_crypt.node.inquiry import GET, MOVE, Answer, Inquiry, identifier, problem_of
from iomt_crypt.node.move_listener import MoveListener, MoveTarget
from iomt_crypt.node.transport import BoundedDataSet

# Two contexts for each class: the archive may send an object only as it has it, and we take it in each native syntax.
_MAX_CLASSES = 60
MAX_OBJECT_BYTES = 2_147_483_648
_MOVE_DESTINATION_UNKNOWN = 0xA801  # PS3.4 C.4.2.1.5


_MAX_BROKEN = 3  # requests in a row at which the association was lost: then it is not the object's fault

Result = TypeVar("Result")


class Retrieval(Generic[Result]):
    """Retrieves from one archive. ``take`` is given each object that was asked for, one at a time, in any thread."""

    def __init__(
        self,
        client: Client,
        catalog: Catalog,
        *,
        calling_ae_title: str,
        take: Callable[[Arrival, Source], Result],
        target: MoveTarget | None = None,
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._calling_ae_title = calling_ae_title
        self._take = take
        self._target = target
        self._lock = threading.Lock()
        self._results: list[Result | Refusal] = []
        self._exchange: Inquiry | None = None
        self._listener: MoveListener | None = None
        self._n_broken = 0

    def run(self, listing: Listing) -> Iterator[Result | Refusal]:
        """Retrieve what ``listing`` has; yield what came of each object, as it comes.

        Raises
        ------
        ConfigurationError
            The place for a C-MOVE cannot be listened on.
        """
        demand = Demand(listing, self._client.peer)
        try:
            if self._model() == GET:
                yield from self._by_get(demand)
                if demand.missing() and self._target is not None and MOVE in self._catalog.offers:
                    # Some archives send by C-MOVE what they cannot by C-GET: classes that they do not know.
                    yield from self._by_move(demand, whole=False)
            else:
                yield from self._by_move(demand)
        except NetworkError as error:
            demand.problem = error
        finally:
            self._close()
        yield from self._drain()
        yield from demand.rest()

    def _model(self) -> str:
        """Which retrieval: C-GET where it is offered. Raises NetworkError when there is none."""
        offers, peer = self._catalog.offers, self._client.peer
        if GET in offers:
            return GET
        if MOVE not in offers:
            raise NetworkError(
                f"{peer} offers neither C-GET nor C-MOVE",
                hint="allow one of them for this AE title in the archive's configuration",
            )
        if self._target is None:
            raise NetworkError(
                f"{peer} does not offer C-GET, only C-MOVE",
                hint="give --move-port PORT and --move-aet TITLE, and let the archive know that title at this address",
            )
        return MOVE

    def _by_get(self, demand: Demand) -> Iterator[Result | Refusal]:
        classes = _storage_classes(demand.listing)
        for start in range(0, len(classes), _MAX_CLASSES):
            batch = classes[start : start + _MAX_CLASSES]
            yield from self._ask_all(demand, GET, partial(self._associate, batch, demand), batch)
            self._release()
            if not demand.missing() and not demand.listing.unlisted:
                return

    def _associate(self, classes: Sequence[str], demand: Demand) -> Inquiry:
        contexts = [build_context(GET)]
        for uid in classes:
            contexts.append(build_context(uid, [ExplicitVRLittleEndian]))
            contexts.append(build_context(uid, [ImplicitVRLittleEndian, ExplicitVRBigEndian]))
        association = self._client.associate(
            contexts,
            roles=[build_role(uid, scp_role=True) for uid in classes],
            handlers=[
                (evt.EVT_C_STORE, self._on_store, [demand]),
                (evt.EVT_PDU_RECV, BoundedDataSet.guard, [MAX_OBJECT_BYTES]),
            ],
        )
        return Inquiry(association, self._client.peer)

    def _by_move(self, demand: Demand, *, whole: bool = True) -> Iterator[Result | Refusal]:
        target, peer = cast(MoveTarget, self._target), self._client.peer
        self._listener = MoveListener(
            target,
            archive=peer.ae_title,
            max_object_bytes=MAX_OBJECT_BYTES,
            on_store=lambda event: self._on_store(event, demand),
        )
        self._listener.start(self._catalog.own_address)
        yield from self._ask_all(
            demand, MOVE, lambda: Inquiry(self._client.associate([build_context(MOVE)]), peer), None, whole=whole
        )
        if demand.missing() and self._listener.stranger and demand.problem is None:
            demand.problem = NetworkError(
                f"{peer} did not send the object; an association from {self._listener.stranger!r} was refused",
                hint=f"only {peer.ae_title!r} may call, and must call {target.ae_title!r}: "
                "name the archive in --from as it calls itself",
            )

    def _ask_all(
        self,
        demand: Demand,
        model: str,
        associate: Callable[[], Inquiry],
        classes: Sequence[str] | None,
        *,
        whole: bool = True,
    ) -> Iterator[Result | Refusal]:
        """Ask for each series unless not ``whole``, and then for each object of ``classes`` that did not come."""
        study = demand.listing.study_instance_uid
        for series in demand.series() if whole else ():
            level = "SERIES" if series else "STUDY"
            yield from self._ask(demand, model, associate, identifier(level, study, series), None)
        for instance in demand.missing():
            known = instance.sop_class_uid
            if is_uid(instance.sop_instance_uid) and (classes is None or not known or known in classes):
                alone = identifier("IMAGE", study, instance.series_instance_uid, instance.sop_instance_uid)
                yield from self._ask(demand, model, associate, alone, instance)

    def _ask(
        self, demand: Demand, model: str, associate: Callable[[], Inquiry], query: Dataset, alone: Instance | None
    ) -> Iterator[Result | Refusal]:
        """One request. Raises NetworkError when no other would do better."""
        if self._exchange is None or not self._exchange.is_open:
            self._exchange = associate()
        problem: NetworkError | None = None
        destination = self._target.ae_title if model == MOVE and self._target else ""
        is_alive = self._listener.has_heard if self._listener else lambda: False
        try:
            for answer in self._exchange.ask(model, query, destination=destination, is_alive=is_alive):
                yield from self._drain()
                problem = problem_of(answer, model, self._client.peer)
                self._require_sense(demand, answer)
            self._n_broken = 0
        except NetworkError as error:
            self._n_broken += 1
            if self._exchange.is_open or self._n_broken >= _MAX_BROKEN:
                raise
            problem = error
        if problem is not None and alone is not None:
            demand.failures.setdefault(alone.sop_instance_uid, problem)
        elif problem is not None:
            demand.problem = problem

    def _require_sense(self, demand: Demand, answer: Answer) -> None:
        if demand.is_flooded:
            raise NetworkError(f"{self._client.peer} sends objects that nobody asked for")
        if answer.status == _MOVE_DESTINATION_UNKNOWN and self._target is not None:
            raise NetworkError(
                f"{self._client.peer} does not know the move destination {self._target.ae_title!r}",
                hint=f"let the archive know this AE title, with this machine's address and port {self._target.port}",
            )

    def _on_store(self, event: evt.Event, demand: Demand) -> int:
        request = cast(C_STORE, event.request)
        data = request.DataSet
        uid = str(request.AffectedSOPInstanceUID or "")
        arrival = Arrival(
            str(request.AffectedSOPClassUID or ""),
            uid,
            str(event.context.transfer_syntax),
            data.getvalue() if data is not None else b"",
        )
        with self._lock:
            try:
                self._require_ours(request)
                if isinstance(data, BoundedDataSet) and data.excess_bytes:
                    raise NetworkError(f"the object is larger than the limit of {MAX_OBJECT_BYTES} bytes")
                source = demand.admit(arrival)
            except IomtCryptError as error:
                self._results += demand.refused(uid, error)
                return status.MISMATCH
            self._results.append(self._take(arrival, source))
        # The archive did its part, whatever we made of the object.
        return status.SUCCESS

    def _require_ours(self, request: C_STORE) -> None:
        """An object that names the C-MOVE it belongs to must name ours (PS3.4 B.2.1: both are optional)."""
        if self._listener is None or self._exchange is None:
            return
        title = str(request.MoveOriginatorApplicationEntityTitle or "").strip()
        number = request.MoveOriginatorMessageID
        if title not in ("", self._calling_ae_title.strip()) or number not in (None, self._exchange.message_id):
            raise NetworkError(f"{self._client.peer} sent an object of another C-MOVE", hint="not ours: not written")

    def _drain(self) -> list[Result | Refusal]:
        with self._lock:
            results, self._results = self._results, []
        return results

    def _release(self) -> None:
        if self._exchange is not None:
            self._exchange.release()
        self._exchange = None

    def _close(self) -> None:
        self._release()
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _storage_classes(listing: Listing) -> list[str]:
    """SOP classes to negotiate: those of the objects; all of the standard besides, where the archive does not say."""
    classes = {instance.sop_class_uid for instance in listing.instances}
    known = sorted(classes - {""})
    if "" not in classes and not listing.unlisted:
        return known
    return known + [u for c in AllStoragePresentationContexts if (u := str(c.abstract_syntax)) not in classes]
