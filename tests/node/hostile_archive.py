"""A storage SCP on a bare socket that answers as it is told: other messages, other contexts, twice, too early, never.

It shares no code with the node: requests are read with pynetdicom's PDU classes, answers are put together by hand.
"""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF

LIMIT_S = 60.0


@dataclass
class Request:
    """A C-STORE or C-ECHO request. ``number`` counts the C-STOREs of all associations from 1."""

    number: int
    context_id: int
    command: Dataset
    data: bytes = b""
    others: Sequence[int] = field(default_factory=list)

    @property
    def uid(self) -> str:
        return str(self.command.get("AffectedSOPInstanceUID", ""))


_NUMBERS = {
    "AffectedSOPClassUID": 0x0002,
    "CommandField": 0x0100,
    "MessageID": 0x0110,
    "MessageIDBeingRespondedTo": 0x0120,
    "CommandDataSetType": 0x0800,
    "Status": 0x0900,
    "ErrorComment": 0x0902,
    "AffectedSOPInstanceUID": 0x1000,
}


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def pdv(context_id: int, control: int, fragment: bytes) -> bytes:
    return pdu(4, struct.pack(">LBB", len(fragment) + 2, context_id, control) + fragment)


def answer(request: Request, *, context_id: int | None = None, status: int = 0, data: bytes = b"", **changes) -> bytes:
    """The right answer but for ``changes``; None leaves an element out."""
    values = {
        "AffectedSOPClassUID": str(request.command.AffectedSOPClassUID),
        "CommandField": request.command.CommandField | 0x8000,
        "MessageIDBeingRespondedTo": request.command.MessageID,
        "CommandDataSetType": 1 if data else 0x0101,
        "Status": status,
        "AffectedSOPInstanceUID": request.uid or None,
    } | changes
    body = b""
    for number, value in sorted((_NUMBERS[keyword], value) for keyword, value in values.items() if value is not None):
        if isinstance(value, str):
            encoded = value.encode() + bytes(len(value) % 2)
        else:
            encoded = b"".join(struct.pack("<H", part) for part in (value if isinstance(value, list) else [value]))
        body += struct.pack("<HHL", 0, number, len(encoded)) + encoded
    body = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    where = request.context_id if context_id is None else context_id
    return pdv(where, 3, body) + (pdv(where, 2, data) if data else b"")


class HostileArchive:
    """Listens on a free port of 127.0.0.1.

    ``misanswer(request)`` gives the bytes that answer a C-STORE instead of the right answer, None for the right one;
    ``before(request)`` bytes that are sent before its data set was read. ``take(context_id, sop_class, syntaxes)``
    gives the A-ASSOCIATE-AC items, each (id, result, syntaxes), for a proposed context.
    """

    def __init__(self) -> None:
        self.confirmed: dict[str, bytes] = {}
        self.right_answers: list[str] = []
        self.n_requests = 0
        self.n_associations = 0
        self.misanswer: Callable[[Request], bytes | None] = lambda request: None
        self.before: Callable[[Request], bytes] = lambda request: b""
        self.take: Callable[[int, str, list[str]], list] = lambda n, sop_class, syntaxes: [(n, 0, syntaxes[:1])]
        self.user_items = b""
        self.max_pdu_bytes = 16384
        self.status: Callable[[Request], int] = lambda request: 0
        self.refuses_again = False  # 0x0111 for what it has
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(LIMIT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(LIMIT_S)
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                self._converse(connection, stream)
            except (OSError, EOFError):
                return

    def _converse(self, connection: socket.socket, stream: io.BufferedReader) -> None:
        command, request = bytearray(), None
        contexts: list[int] = []
        while True:
            head = _read(stream, 6)
            kind, _, size = struct.unpack(">BBL", head)
            body = _read(stream, size)
            if kind == 1:
                reply, contexts = self._associate(head + body)
                connection.sendall(reply)
            elif kind == 5:
                connection.sendall(pdu(6, bytes(4)))
            elif kind == 7:
                return
            elif kind == 4:
                decoded = P_DATA_TF()
                decoded.decode(head + body)
                for item in decoded.presentation_data_value_items:
                    fragment = item.presentation_data_value
                    if fragment[0] & 1:
                        command += fragment[1:]
                        if not fragment[0] & 2:
                            continue
                        found = decode(io.BytesIO(bytes(command)), True, True)
                        command.clear()
                        request = Request(0, item.presentation_context_id, found, others=contexts)
                        if found.CommandField == 1:
                            with self._lock:
                                self.n_requests += 1
                                request.number = self.n_requests
                            connection.sendall(self.before(request))
                            continue
                    else:
                        request.data += fragment[1:]
                        if not fragment[0] & 2:
                            continue
                    if not self._reply(connection, request):
                        return

    def _reply(self, connection: socket.socket, request: Request) -> bool:
        if request.command.CommandField == 0x30:
            connection.sendall((self.echo or answer)(request))
            return True
        wrong = self.misanswer(request)
        if wrong is not None:
            if wrong == b"close":
                return False
            connection.sendall(wrong)
            return True
        status = self.status(request)
        if self.refuses_again and request.uid in self.confirmed:
            status = 0x0111
        with self._lock:
            if status in (0, 0xB000, 0xB006, 0xB007):
                self.confirmed[request.uid] = request.data
                self.right_answers.append(request.uid)
        connection.sendall(answer(request, status=status))
        return True

    echo: Callable[[Request], bytes] | None = None

    def keep(self, request: Request) -> None:
        """Count the object as confirmed: the misanswer holds a right answer too."""
        with self._lock:
            self.confirmed[request.uid] = request.data

    def _associate(self, encoded: bytes) -> tuple[bytes, list[int]]:
        with self._lock:
            self.n_associations += 1
        asked = A_ASSOCIATE_RQ()
        asked.decode(encoded)
        items = _item(0x10, b"1.2.840.10008.3.1.1.1")
        taken = []
        for context in asked.presentation_context:
            syntaxes = [str(syntax) for syntax in context.transfer_syntax]
            for number, result, chosen in self.take(context.context_id, str(context.abstract_syntax), syntaxes):
                inner = b"".join(_item(0x40, syntax.encode()) for syntax in chosen)
                items += _item(0x21, struct.pack(">BBBB", number, 0, result, 0) + inner)
                taken.append(number)
        items += _item(
            0x50, _item(0x51, struct.pack(">L", self.max_pdu_bytes)) + _item(0x52, b"1.2.3.4") + self.user_items
        )
        return pdu(2, struct.pack(">HH", 1, 0) + encoded[10:42] + bytes(32) + items), taken


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _read(stream: io.BufferedReader, size: int) -> bytes:
    data = stream.read(size)
    if data is None or len(data) != size:
        raise EOFError
    return data


def in_one_pdu(*pdus: bytes) -> bytes:
    """What is in some P-DATA-TF PDUs, in one."""
    return pdu(4, b"".join(each[6:] for each in pdus))


def raw(request: Request, body: bytes) -> bytes:
    """``body`` as a command set."""
    return pdv(request.context_id, 3, body)


def request_of(request: Request, field: int) -> bytes:
    """A request of the peer's own, with the identifier of the one it should answer."""
    return answer(request, CommandField=field, MessageIDBeingRespondedTo=None, MessageID=request.command.MessageID)


# What an archive may say to a C-STORE that confirms nothing. All are complete: nobody has to wait for a time-out.
WRONG_ANSWERS: dict[str, Callable[[Request], bytes]] = {
    "message ID of another": lambda r: answer(r, MessageIDBeingRespondedTo=(r.command.MessageID + 1) % 65536),
    "message ID of the last": lambda r: answer(r, MessageIDBeingRespondedTo=(r.command.MessageID - 1) % 65536),
    "message ID of two numbers": lambda r: answer(r, MessageIDBeingRespondedTo=[r.command.MessageID] * 2),
    "no message ID": lambda r: answer(r, MessageIDBeingRespondedTo=None),
    "other instance": lambda r: answer(r, AffectedSOPInstanceUID="1.2.3"),
    "instance with a tail": lambda r: answer(r, AffectedSOPInstanceUID=r.uid + ".1"),
    "other class": lambda r: answer(r, AffectedSOPClassUID="1.2.840.10008.5.1.4.1.1.4.1"),
    "C-ECHO-RSP": lambda r: answer(r, CommandField=0x8030, AffectedSOPInstanceUID=None),
    "C-FIND-RSP": lambda r: answer(r, CommandField=0x8020, AffectedSOPInstanceUID=None),
    "N-EVENT-REPORT-RQ": lambda r: request_of(r, 0x0100),
    "C-STORE-RQ": lambda r: request_of(r, 0x0001),
    "C-CANCEL-RQ": lambda r: answer(r, CommandField=0x0FFF),
    "unknown command": lambda r: answer(r, CommandField=0x7777),
    "no command field": lambda r: answer(r, CommandField=None),
    "no status": lambda r: answer(r, Status=None),
    "two statuses": lambda r: answer(r, Status=[0, 0]),
    "pending": lambda r: answer(r, status=0xFF00),
    "data set": lambda r: answer(r, data=bytes(20)),
    "data set that does not come": lambda r: answer(r, CommandDataSetType=1),
    "data set alone": lambda r: pdv(r.context_id, 2, bytes(20)),
    "other context": lambda r: answer(r, context_id=next(n for n in r.others if n != r.context_id)),
    "context that is none": lambda r: answer(r, context_id=255),
    "no DICOM": lambda r: raw(r, b"HTTP/1.1 200 OK"),
    "nothing in a fragment": lambda r: raw(r, b""),
    "twice at once, and not the same": lambda r: in_one_pdu(answer(r), answer(r, status=0xA700)),
    "status of another first": lambda r: answer(r, MessageIDBeingRespondedTo=0) + answer(r),
    "A-ABORT": lambda r: pdu(7, bytes(4)),
    "A-RELEASE-RQ": lambda r: pdu(5, bytes(4)),
    "A-ASSOCIATE-AC": lambda r: pdu(2, bytes(68)),
    "no PDU": lambda r: b"HTTP/1.1 200 OK\r\n\r\n",
    "hang up": lambda r: b"close",
}
