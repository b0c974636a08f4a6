"""Where the objects of a C-MOVE arrive: a storage SCP for one archive, for as long as one fetch lasts (PS3.4 C.4.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.foreign_text import printable
from iomt_crypt.node import status
from iomt_crypt.node.transport import BoundedDataSet, EventSocket, abort_if_open

_MAX_PDU_BYTES = 131_072
_MAX_ASSOCIATIONS = 4
_IDLE_S = 60.0
_END_S = 5.0


@dataclass(frozen=True)
class MoveTarget:
    """Where the archive shall send to.

    ``host`` is an address of this machine to listen on, empty for the one that the archive is reached from.
    ``port`` 0 takes a free one; ``ae_title`` is what the archive knows this place by.
    """

    ae_title: str
    port: int
    host: str = ""


class MoveListener:
    """Accepts associations from ``archive`` alone, called by the target's own AE title."""

    def __init__(
        self, target: MoveTarget, *, archive: str, max_object_bytes: int, on_store: Callable[[evt.Event], int]
    ) -> None:
        self._target = target
        #: An association that was refused for its calling AE title, as it was called; empty when none was.
        self.stranger = ""
        self._entity = AE(ae_title=target.ae_title)
        self._entity.require_calling_aet = [archive]
        self._entity.require_called_aet = True
        self._entity.maximum_associations = _MAX_ASSOCIATIONS
        self._entity.maximum_pdu_size = _MAX_PDU_BYTES
        self._entity.network_timeout = _IDLE_S
        self._entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            self._entity.add_supported_context(
                str(context.abstract_syntax), [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
            )
        self._max_object_bytes = max_object_bytes
        self._on_store = on_store
        self._server: ThreadedAssociationServer | None = None
        self._alive = threading.Event()

    def start(self, host: str) -> int:
        """Listen on the target's address, else on ``host``; return the port.

        Raises
        ------
        ConfigurationError
            When it cannot be listened on.
        """
        address = self._target.host or host
        try:
            self._server = self._entity.start_server(
                (address, self._target.port), block=False, evt_handlers=self._handlers()
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {address} port {self._target.port}: {error.strerror}",
                hint="another program may have the port: choose another --move-port, and tell the archive",
            ) from error
        assert self._server is not None  # noqa: S101 - block=False gives one
        return int(self._server.server_address[1])

    def _handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, EventSocket.tune, [_IDLE_S, _MAX_PDU_BYTES]),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_C_ECHO, lambda event: status.SUCCESS),
            (evt.EVT_C_STORE, self._on_store),
        ]

    def _on_pdu(self, event: evt.Event) -> None:
        if isinstance(event.pdu, P_DATA_TF):
            self._alive.set()
            BoundedDataSet.guard(event, self._max_object_bytes)

    def _on_rejected(self, event: evt.Event) -> None:
        self.stranger = printable(event.assoc.requestor.ae_title.strip())

    def has_heard(self) -> bool:
        """Whether the archive has sent something since this was asked last."""
        heard = self._alive.is_set()
        self._alive.clear()
        return heard

    def close(self) -> None:
        """Stop listening, and end what is open."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        deadline = time.monotonic() + _END_S
        while active := server.active_associations:
            for association in active:
                abort_if_open(association)
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
