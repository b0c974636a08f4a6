"""Sockets and process-wide settings of pynetdicom, in one place because both are easy to get subtly wrong.

pynetdicom's reactor polls: every millisecond it looks whether the socket has data or somebody wants to send. That
costs latency on each message, and with more than one process on a machine the polling alone takes a good part of a
core. `EventSocket` makes the same reactor wait for what happens. Figures are in docs/NODE.md.
"""

from __future__ import annotations

import io
import logging
import os
import queue
import select
import socket
import struct
import time
import weakref
from contextlib import suppress
from typing import Any, cast

from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.transport import AssociationSocket

# An A-ASSOCIATE-RQ with 128 contexts and every transfer syntax stays below this (PS3.8 9.3.2).
_MAX_ASSOCIATE_PDU_BYTES = 1 << 20
_P_DATA, _CONTROL_HEADER = 4, 11  # kind of a P-DATA-TF PDU, and where the control header of its first PDV is
# How long the reactor waits at most before it looks at its timers and whether it was told to end.
_TICK_S = 0.02


def configure_pynetdicom(*, unrestricted_storage: bool = False) -> None:
    """Set the options that pynetdicom keeps for the whole process; call once, before the first association.

    ``unrestricted_storage`` makes an acceptor take private and unknown SOP classes for storage classes.
    """
    # The default handlers format every PDU and message into the log, patient identifiers of C-FIND included.
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    # Send by path: the data set's bytes go out as they lie in the file, never decoded.
    _config.STORE_SEND_CHUNKED_DATASET = True
    _config.UNRESTRICTED_STORAGE_SERVICE = unrestricted_storage
    # Failures of associations reach the user as our own errors; the library's lines would only repeat them.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


def abort_if_open(association: Association) -> None:
    """Abort an association in data transfer; one that is being released or aborted already is left to end.

    An A-ABORT request in Sta13, when the release is answered and only the connection remains to be closed, is no event
    of the state machine (PS3.8 Table 9-10): pynetdicom's reactor thread would end with an exception.
    """
    if association.dul.state_machine.current_state == "Sta6":
        association.abort()


class _CallingQueue(queue.Queue[Any]):
    """A queue that wakes the reactor when something is put into it."""

    wake_fd: int

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        os.eventfd_write(self.wake_fd, 1)


class EventSocket(AssociationSocket):
    """A socket on which the reactor waits for data or for something to send, and that reads PDUs whole.

    Made from the association's own by `adopt`, since pynetdicom has no way to give it another class.

    is_heard_out
        whether the data set sent last had gone out whole before the peer said anything to it
    """

    is_heard_out: bool
    _wake_fd: int
    _longest_pdu: int
    _n_reads: int
    _n_reads_before: int

    @classmethod
    def adopt(cls, wrapper: AssociationSocket, dul: DULServiceProvider) -> EventSocket:
        """Make the socket of the reactor ``dul`` one of ours."""
        wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(dul, os.close, wake_fd)
        # Both objects are in use by the library already, so they change their class instead of being replaced.
        wrapper.__class__ = cls
        own = cast(EventSocket, wrapper)
        own._wake_fd = wake_fd
        own._longest_pdu = own._n_reads = own._n_reads_before = 0
        own.is_heard_out = False
        outgoing = dul.to_provider_queue
        cast(Any, outgoing).wake_fd = wake_fd
        outgoing.__class__ = _CallingQueue
        # `ready` waits, so the reactor must not sleep as well.
        dul._run_loop_delay = 0
        return own

    @classmethod
    def tune(cls, event: evt.Event, stall_s: float, max_pdu_bytes: int = 0) -> None:
        """Handler of EVT_CONN_OPEN: events instead of polling, no Nagle delay, and no endless wait for a stalled peer.

        ``stall_s``: a read inside a PDU, or a write, that makes no progress for so long closes the connection.
        ``max_pdu_bytes``: a peer that announces a larger PDU than it may send loses the connection; 0: no limit.
        """
        wrapper = event.assoc.dul.socket
        if wrapper is None or wrapper.socket is None:
            return
        own = wrapper if isinstance(wrapper, EventSocket) else cls.adopt(wrapper, event.assoc.dul)
        _set_options(wrapper.socket, stall_s)
        own._longest_pdu = max(max_pdu_bytes, _MAX_ASSOCIATE_PDU_BYTES) if max_pdu_bytes else 0

    @property
    def ready(self) -> bool:
        """Whether there is data to read; waits for it, but not when the reactor has something else to do."""
        plain = self.socket
        if plain is None or not self._is_connected:
            # The reactor goes round until it is told to end; let it not spin.
            time.sleep(0.001)
            return False
        dul = self.assoc.dul
        # Sta13 (PS3.8 9.2) asks whether there is anything left before it closes the connection.
        pending = not self.event_queue.empty() or dul.state_machine.current_state == "Sta13" or dul._kill_thread
        try:
            watched: list[socket.socket | int] = [plain, self._wake_fd]
            readable, _, _ = select.select(watched, [], [], 0 if pending else _TICK_S)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed
            return False
        if self._wake_fd in readable:
            os.eventfd_read(self._wake_fd)
        return plain in readable

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, fewer only when the peer closed the connection.

        The library's own reads 4096 bytes at a time: 130 system calls and a growing buffer for each CT image.

        Raises
        ------
        OSError
            When the peer stalls, or announces more than it may send; the reactor then closes the connection.
        """
        plain = cast(socket.socket, self.socket)
        if self._longest_pdu and nr_bytes > self._longest_pdu:
            raise OSError(f"PDU of {nr_bytes} bytes announced, limit {self._longest_pdu}")
        buffer = bytearray(nr_bytes)
        n_read = 0
        self._n_reads += 1
        with memoryview(buffer) as view:
            while n_read < nr_bytes:
                n_new = plain.recv_into(view[n_read:], 0, socket.MSG_WAITALL)
                if not n_new:
                    break
                n_read += n_new
        return buffer if n_read == nr_bytes else buffer[:n_read]

    def send(self, bytestream: bytes) -> None:
        """Send a PDU; note in `is_heard_out` whether anything came before the last one of a data set (PS3.8 E.2)."""
        if len(bytestream) > _CONTROL_HEADER and bytestream[0] == _P_DATA:
            if bytestream[_CONTROL_HEADER] & 1:
                self._n_reads_before, self.is_heard_out = self._n_reads, False
            elif bytestream[_CONTROL_HEADER] & 2:
                self.is_heard_out = self._n_reads == self._n_reads_before and not self._has_data()
        super().send(bytestream)

    def _has_data(self) -> bool:
        try:
            return bool(select.select([cast(socket.socket, self.socket)], [], [], 0)[0])
        except (OSError, ValueError):
            return False

    def _shutdown_socket(self) -> None:
        """Close the socket, also when the peer closed it first: the library's own leaves it open then."""
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


def _set_options(plain: socket.socket, stall_s: float) -> None:
    # Small answers must not wait for the peer's delayed acknowledgement: 20 objects/s would remain.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Limits of the kernel, because the reactor calls send() and recv() without any.
    limit = struct.pack("ll", int(stall_s), int(stall_s % 1 * 1e6))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


class BoundedDataSet(io.BytesIO):
    """Takes the received data set up to a limit, and beyond it only counts.

    The object is refused once its sender has finished, so the association goes on to the next object.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes
        self.excess_bytes = 0

    def write(self, data: Any, /) -> int:
        """Keep ``data``, or count it when it does not fit."""
        n_bytes = len(data)
        if self.excess_bytes or self.tell() + n_bytes > self._limit_bytes:
            self.excess_bytes += n_bytes
            self.seek(0)
            self.truncate()
            return n_bytes
        return super().write(data)

    @classmethod
    def guard(cls, event: evt.Event, limit_bytes: int) -> None:
        """Handler of EVT_PDU_RECV: bound the data set of the message that is coming in."""
        message = event.assoc.dimse.message
        if message is not None and type(message.data_set) is io.BytesIO:
            # What came in the same PDU as the command, and so was kept before anybody could look, is no more than
            # one PDU.
            bounded = cls(limit_bytes)
            bounded.write(message.data_set.getvalue())
            message.data_set = bounded
