"""The storage SCP: associations in, `Intake` for each object, answers out."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
import weakref
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.foreign_text import printable, shown_uid
from iomt_crypt.node import status
from iomt_crypt.node.config import NodeConfig, ReceiveSection
from iomt_crypt.node.intake import Answer, Intake, Request
from iomt_crypt.node.transport import BoundedDataSet, EventSocket, abort_if_open, configure_pynetdicom

_log = logging.getLogger(__name__)


class _Server(ThreadedAssociationServer):
    """Accepts connections, from allowed addresses only."""

    request_queue_size = 128
    allowed: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Hook of socketserver: False closes the connection before a byte is read."""
        address = ipaddress.ip_address(client_address[0].partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not self.allowed or any(address in network for network in self.allowed):
            return True
        _log.warning("connection refused address=%s: not in receive.allow_addresses", address)
        return False


class Receiver:
    """The listening side of the node. `start`, later `close`."""

    def __init__(self, config: NodeConfig, intake: Intake) -> None:
        self._config = config
        self._intake = intake
        # Associations with an object on its way: first P-DATA seen, answer not yet on the wire.
        self._busy: weakref.WeakSet[Association] = weakref.WeakSet()
        self._server: _Server | None = None

    def start(self) -> int:
        """Open the port and return it.

        Raises
        ------
        ConfigurationError
            When the address cannot be listened on.
        """
        configure_pynetdicom(unrestricted_storage=True)
        node = self._config.node
        entity = _application_entity(self._config)
        try:
            server = cast(
                _Server,
                entity.make_server((node.host, node.port), evt_handlers=self._handlers(), server_class=_Server),
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {node.host} port {node.port}: {error.strerror}",
                hint="another program may have the port: change node.port, or stop it",
            ) from error
        server.allowed = tuple(
            ipaddress.ip_network(text, strict=False) for text in self._config.receive.allow_addresses
        )
        # pynetdicom's shutdown() removes the server from this list and fails when it is not in it.
        entity._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), name="listener", daemon=True).start()
        self._server = server
        return int(server.server_address[1])

    def _handlers(self) -> list[Any]:
        receive = self._config.receive
        return [
            (evt.EVT_CONN_OPEN, self._on_open),
            (evt.EVT_CONN_CLOSE, self._on_close),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_PDU_RECV, self._on_pdu, [receive.max_object_bytes]),
            (evt.EVT_PDU_SENT, self._on_sent),
            (evt.EVT_C_ECHO, _on_echo),
            (evt.EVT_C_STORE, self._on_store),
        ]

    def _on_open(self, event: evt.Event) -> None:
        receive: ReceiveSection = self._config.receive
        EventSocket.tune(event, stall_s=receive.idle_seconds, max_pdu_bytes=receive.max_pdu_bytes)

    def _on_close(self, event: evt.Event) -> None:
        self._busy.discard(event.assoc)

    def _on_established(self, event: evt.Event) -> None:
        requestor = event.assoc.requestor
        _log.info(
            "association established calling_ae_title=%s address=%s n_contexts=%d",
            printable(requestor.ae_title.strip()),
            requestor.address,
            len(event.assoc.accepted_contexts),
        )

    def _on_rejected(self, event: evt.Event) -> None:
        requestor = event.assoc.requestor
        _log.warning(
            "association rejected address=%s: AE title not allowed, or receive.max_associations reached",
            requestor.address,
        )

    def _on_pdu(self, event: evt.Event, limit_bytes: int) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            self._busy.add(event.assoc)
            BoundedDataSet.guard(event, limit_bytes)

    def _on_sent(self, event: evt.Event) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            self._busy.discard(event.assoc)

    def _on_store(self, event: evt.Event) -> Dataset:
        request, context = cast(C_STORE, event.request), event.context
        data = request.DataSet
        if isinstance(data, BoundedDataSet) and data.excess_bytes:
            limit = self._config.receive.max_object_bytes
            answer = Answer(status.TOO_LARGE, f"data set is larger than the limit of {limit} bytes")
            uid = shown_uid(str(request.AffectedSOPInstanceUID))
            _log.warning("object refused sop_instance_uid=%s: %s", uid, answer.comment)
        else:
            answer = self._intake.accept(
                Request(
                    data=data.getvalue() if data is not None else b"",
                    transfer_syntax_uid=str(context.transfer_syntax),
                    sop_class_uid=str(request.AffectedSOPClassUID),
                    sop_instance_uid=str(request.AffectedSOPInstanceUID),
                    calling_ae_title=event.assoc.requestor.ae_title.strip(),
                )
            )
        response = Dataset()
        response.Status = answer.status
        if answer.comment:
            response.ErrorComment = answer.comment
        return response

    def close(self, *, grace_s: float) -> None:
        """Stop listening, let each sender have the answer for the object in hand, then abort the associations.

        An acceptor cannot release an association that its peer goes on using; what the peer sends after the abort
        was never answered, so it stays with the peer.
        """
        server = self._server
        if server is None:
            return
        self._server = None
        server.shutdown()
        deadline = time.monotonic() + grace_s
        while active := server.active_associations:
            late = time.monotonic() > deadline
            for association in active:
                if late or association not in self._busy:
                    abort_if_open(association)
            if late:
                break
            time.sleep(0.01)


def _application_entity(config: NodeConfig) -> AE:
    entity = AE(ae_title=config.node.ae_title)
    entity.maximum_pdu_size = config.receive.max_pdu_bytes
    entity.maximum_associations = config.receive.max_associations
    entity.network_timeout = config.receive.idle_seconds
    entity.acse_timeout = min(30.0, config.receive.idle_seconds)
    entity.require_calling_aet = list(config.receive.allow_ae_titles)
    entity.require_called_aet = config.receive.require_called_ae_title
    entity.add_supported_context(Verification)
    return entity


def _on_echo(_: evt.Event) -> int:
    return status.SUCCESS
