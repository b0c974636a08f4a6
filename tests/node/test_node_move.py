"""The listener of a C-MOVE: one archive, one fetch, and nothing else gets in."""

from __future__ import annotations

import pytest
from node_harness import CT, EXPLICIT, dataset, part10, uid
from pynetdicom import AE

from iomt_crypt.errors import ConfigurationError, NetworkError
from iomt_crypt.node import status
from iomt_crypt.node.catalog import Catalog, Instance, Listing
from iomt_crypt.node.client import Client
from iomt_crypt.node.demand import Demand
from iomt_crypt.node.inquiry import MOVE
from iomt_crypt.node.move_listener import MoveListener, MoveTarget
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.retrieval import Retrieval
from iomt_crypt.node.transport import configure_pynetdicom

configure_pynetdicom()
STUDY, SERIES = uid(900001), uid(900002)


class _Asked:
    """Stands for the exchange that asked for the C-MOVE."""

    message_id = 7
    is_open = False

    def release(self) -> None:
        pass


@pytest.fixture
def taken() -> list[str]:
    return []


@pytest.fixture
def port(taken):
    """A listener in the middle of a C-MOVE for objects 1 and 2, asked for by WS with message ID 7."""
    peer = Peer("ARCHIVE", "127.0.0.1", 104)
    client = Client(peer, calling_ae_title="WS")
    retrieval = Retrieval(
        client,
        Catalog(client),
        calling_ae_title="WS",
        take=lambda arrival, source: taken.append(arrival.sop_instance_uid),
        target=MoveTarget("MOVER", 0),
    )
    demand = Demand(Listing(STUDY, tuple(Instance(STUDY, SERIES, uid(n), CT) for n in (1, 2))), peer)
    listener = MoveListener(
        MoveTarget("MOVER", 0),
        archive="ARCHIVE",
        max_object_bytes=100_000,
        on_store=lambda event: retrieval._on_store(event, demand),
    )
    retrieval._listener, retrieval._exchange = listener, _Asked()
    yield listener.start("127.0.0.1")
    retrieval._close()


def send(port: int, folder, number: int, *, title: str = "ARCHIVE", called: str = "MOVER", size: int = 16, **origin):
    """Status of the answer; None where there is no association."""
    entity = AE(title)
    entity.add_requested_context(CT, EXPLICIT)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return None
    path = folder / "object.dcm"
    path.write_bytes(part10(dataset(number, size=size), CT, uid(number)))
    try:
        return association.send_c_store(path, **origin).Status
    finally:
        association.release()


def test_only_the_archive_gets_in_and_only_what_was_asked_for(port, taken, tmp_path):
    assert send(port, tmp_path, 1, title="STRANGER") is None
    assert send(port, tmp_path, 1, called="OTHER") is None
    assert send(port, tmp_path, 3) == status.MISMATCH
    assert send(port, tmp_path, 1, originator_aet="ELSE", originator_id=7) == status.MISMATCH
    assert send(port, tmp_path, 1, originator_aet="WS", originator_id=8) == status.MISMATCH
    assert send(port, tmp_path, 1, size=512) == status.MISMATCH  # too large
    assert taken == []
    assert send(port, tmp_path, 1, originator_aet="WS", originator_id=7) == status.SUCCESS
    assert send(port, tmp_path, 1) == status.MISMATCH  # a second one
    assert send(port, tmp_path, 2) == status.SUCCESS
    assert taken == [uid(1), uid(2)]


def test_a_port_in_use_is_said(port):
    listener = MoveListener(MoveTarget("MOVER", port), archive="A", max_object_bytes=1, on_store=lambda event: 0)
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}"):
        listener.start("127.0.0.1")


@pytest.mark.parametrize(
    ("offers", "target", "what"),
    [(set(), MoveTarget("M", 0), "neither C-GET nor C-MOVE"), ({MOVE}, None, "does not offer C-GET, only C-MOVE")],
)
def test_what_is_not_offered_is_said(offers, target, what):
    client = Client(Peer("ARCHIVE", "127.0.0.1", 104), calling_ae_title="WS")
    catalog = Catalog(client)
    catalog.offers = frozenset(offers)
    retrieval = Retrieval(client, catalog, calling_ae_title="WS", take=lambda arrival, source: None, target=target)
    (refusal,) = retrieval.run(Listing(STUDY, (Instance(STUDY, SERIES, uid(1), CT),)))
    assert isinstance(refusal.error, NetworkError)
    assert what in str(refusal.error)
    assert refusal.error.hint
