"""Messages between Orthanc and a worker, over a pair of connected sockets. Standard library only.

::

    length of head u32 | length of body u64 | head (JSON) | body

(big endian). Both ends are ours and of one version; the lengths are bounded all the same. A worker says with one byte
that it has a message whole, before it looks into it: where that byte does not come, the message did not end it.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_FRAME = struct.Struct(">IQ")
_TAKEN = b"\x06"  # ACK
_MAX_HEAD_BYTES = 1 << 20
_MAX_BODY_BYTES = 1 << 33
#: What the kernel takes without waiting for the other end; it gives less where its limit is lower.
_BUFFER_BYTES = 1 << 22


def tune(end: socket.socket) -> None:
    """Ask for large buffers: an image is a few hundred kilobytes."""
    for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        end.setsockopt(socket.SOL_SOCKET, name, _BUFFER_BYTES)


def send(end: socket.socket, head: dict[str, Any], body: bytes | bytearray | memoryview = b"") -> None:
    """Send one message. Raises OSError when the other end is gone or the time-out of the socket is over."""
    encoded = json.dumps(head).encode("utf-8")
    end.sendall(_FRAME.pack(len(encoded), len(body)) + encoded)
    if len(body):
        end.sendall(body)


def receive(end: socket.socket) -> tuple[dict[str, Any], bytearray]:
    """Wait for one message.

    Raises
    ------
    EOFError
        The other end closed before the message was whole.
    OSError
        The time-out of the socket is over, or the message is not one of ours.
    """
    head_bytes, body_bytes = _FRAME.unpack(_exactly(end, _FRAME.size))
    if head_bytes > _MAX_HEAD_BYTES or body_bytes > _MAX_BODY_BYTES:
        raise OSError("message over its limits")
    head = json.loads(_exactly(end, head_bytes))
    if not isinstance(head, dict):
        raise OSError("message without a head")
    return head, _exactly(end, body_bytes)


def say_taken(end: socket.socket) -> None:
    """Say that the last message is here."""
    end.sendall(_TAKEN)


def await_taken(end: socket.socket) -> None:
    """Wait until the other end says that it has the last message; errors as of `receive`."""
    if bytes(_exactly(end, 1)) != _TAKEN:
        raise OSError("message out of turn")


def _exactly(end: socket.socket, size: int) -> bytearray:
    received = bytearray(size)
    view = memoryview(received)
    while view:
        n_received = end.recv_into(view)
        if not n_received:
            raise EOFError("the other end closed")
        view = view[n_received:]
    return received
