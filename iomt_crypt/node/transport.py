"""Sockets and process-wide settings of pynetdicom, in one place because both are easy to get subtly wrong.

Measured on loopback, 300 CT objects of 0.53 MB: the settings here take a receiver from 210 to about 320 objects/s and
a sender from 74 to about 350.
"""

from __future__ import annotations

import functools
import io
import logging
import socket
import struct
from typing import Any

from pynetdicom import _config, evt
from pynetdicom.association import Association

# An A-ASSOCIATE-RQ with 128 contexts and every transfer syntax stays below this (PS3.8 9.3.2).
_MAX_ASSOCIATE_PDU_BYTES = 1 << 20
_BUSY_DELAY_S = 0.0001
_IDLE_DELAY_S = 0.002


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


def tune_socket(event: evt.Event, *, stall_s: float, max_pdu_bytes: int) -> None:
    """Handler of EVT_CONN_OPEN: no Nagle delay, large reads, and no wait for ever on a peer that stopped.

    ``stall_s``: a read inside a PDU, or a write, that makes no progress for so long closes the connection.
    ``max_pdu_bytes``: a peer that announces a larger PDU than it may send loses the connection; 0: no limit.
    """
    wrapper = event.assoc.dul.socket
    plain = wrapper.socket if wrapper is not None else None
    if wrapper is None or plain is None:
        return
    # Small answers must not wait for the peer's delayed acknowledgement: without this 20 objects/s remain.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Kernel time-outs, because pynetdicom blocks its reactor thread in send() and recv() without any.
    limit = struct.pack("ll", int(stall_s), int(stall_s % 1 * 1e6))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    # AssociationSocket.recv reads 4096 bytes at a time: 130 system calls and a growing buffer for each CT image.
    longest = max(max_pdu_bytes, _MAX_ASSOCIATE_PDU_BYTES) if max_pdu_bytes else 0
    # setattr, since a method of one instance is replaced, which a type checker rightly asks about.
    setattr(wrapper, "recv", functools.partial(_read_exactly, plain, longest))  # noqa: B010


def _read_exactly(plain: socket.socket, longest: int, n_bytes: int) -> bytearray:
    """Read ``n_bytes``, fewer only when the peer closed the connection (the contract of AssociationSocket.recv)."""
    if longest and n_bytes > longest:
        raise OSError(f"PDU of {n_bytes} bytes announced, limit {longest}")
    buffer = bytearray(n_bytes)
    view = memoryview(buffer)
    n_read = 0
    while n_read < n_bytes:
        n_new = plain.recv_into(view[n_read:], 0, socket.MSG_WAITALL)
        if not n_new:
            break
        n_read += n_new
    view.release()
    return buffer if n_read == n_bytes else buffer[:n_read]


def set_pace(association: Association, *, busy: bool) -> None:
    """Let the association's reactor look for work every 0.1 ms (busy) or every 2 ms.

    pynetdicom polls and has no public setting for it; its own 1 ms costs a third of the throughput, and 0.1 ms on
    idle associations would burn a core with a few dozen of them.
    """
    if hasattr(association.dul, "_run_loop_delay"):
        association.dul._run_loop_delay = _BUSY_DELAY_S if busy else _IDLE_DELAY_S


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
