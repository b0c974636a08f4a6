"""One request at a time on an association, and the answer that belongs to it (PS3.7 9.3.1, 9.3.5).

An archive that answers is believed only when it answers this very request: kind, message ID, presentation context,
SOP class and instance. Whatever else comes confirms nothing and ends the association, because nobody can know any
more which answer belongs to what.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_RELEASE_RQ
from pynetdicom.pdu_primitives import P_DATA

from iomt_crypt.errors import NetworkError
from iomt_crypt.foreign_text import printable
from iomt_crypt.node import command, status
from iomt_crypt.node.command import Assembler, Message
from iomt_crypt.node.transport import EventSocket, abort_if_open

_log = logging.getLogger(__name__)

_PDV_HEADER_BYTES = 6  # length, context identifier, control header: PS3.8 9.3.5.1 and E.2
_MIN_PDU_BYTES, _MAX_PDU_BYTES = 256, 1 << 20
_LOOK_S = 0.5  # how often an association is looked at that ended without a word
_LAST_ID = 0xFFFF
_PENDING = frozenset((0xFF00, 0xFF01))


@dataclass(frozen=True)
class Answer:
    """Status and Error Comment of an answer that belongs to its request; the comment is fit for a log."""

    status: int
    comment: str = ""


class Exchange:
    """The requests of an SCU on one association with ``peer``, one after the other; for one thread.

    ``handlers`` go to the library when it associates; `begin` takes the association when it stands.
    """

    def __init__(self, peer: object) -> None:
        self._peer = peer
        self._assembler = Assembler()
        self._message_id = 0
        self.handlers: list[Any] = [(evt.EVT_CONN_OPEN, self._attach), (evt.EVT_PDU_RECV, self._wake)]

    def begin(self, association: Association) -> None:
        """Use this association from now on."""
        self._association = association
        self._heard: queue.Queue[Any] = association.dimse.msg_queue

    def _attach(self, event: evt.Event) -> None:
        """Take what the peer says as it comes: the library's own reading ends its thread at a command it lacks."""
        heard: queue.Queue[Any] = event.assoc.dimse.msg_queue

        def receive(primitive: P_DATA) -> None:
            # What came in one PDU is one item, so that nobody sees the first of two answers alone.
            if messages := self._assembler.messages(cast(Any, primitive.presentation_data_value_list)):
                heard.put((messages[0].context_id, messages))

        setattr(event.assoc.dimse, "receive_primitive", receive)  # noqa: B010 - of one instance

    def _wake(self, event: evt.Event) -> None:
        """End the wait for an answer when the peer releases the association instead."""
        if isinstance(event.pdu, A_RELEASE_RQ):
            event.assoc.dimse.msg_queue.put((None, None))

    @property
    def is_disturbed(self) -> bool:
        """Whether the peer said something that nobody asked."""
        return any(messages is not None for _, messages in tuple(self._heard.queue))

    def request(
        self, context_id: int, elements: Mapping[int, int | str], *, data: Iterable[bytes] | None, timeout_s: float
    ) -> Answer:
        """Send a command with these elements, and ``data`` as its data set; return the answer to it.

        Message ID and data set type are added here.

        Raises
        ------
        NetworkError
            When no answer came in time, or another one than that to this request. The association has ended, and
            whether the peer did what it was asked is not known.
        """
        if self.is_disturbed:
            raise self._ended("said something that nobody asked")
        self._message_id = self._message_id % _LAST_ID + 1
        kind = command.NO_DATA_SET if data is None else command.HAS_DATA_SET
        asked = {**elements, command.MESSAGE_ID: self._message_id, command.DATA_SET_TYPE: kind}
        try:
            self._send(context_id, command.encode_command(asked), data)
        except BaseException:
            # What is half said cannot be taken back, and nothing else can be said after it.
            abort_if_open(self._association)
            raise
        message, *others = self._hear(timeout_s)
        fault = _fault(message, context_id, asked)
        if fault:
            raise self._ended(fault)
        answer = Answer(message.number(command.STATUS) or 0, printable(message.text(command.ERROR_COMMENT)))
        if status.judge(answer.status) is status.Verdict.DELIVERED and data is not None and not self._heard_out():
            raise self._ended("answered success before it had the whole object")
        self._refuse_contradiction(message, others)
        return answer

    def _send(self, context_id: int, encoded: bytes, data: Iterable[bytes] | None) -> None:
        announced = self._association.dimse.maximum_pdu_size or _MAX_PDU_BYTES
        if announced < _MIN_PDU_BYTES:
            raise NetworkError(
                f"{self._peer} takes PDUs of at most {announced} bytes, at least {_MIN_PDU_BYTES} needed"
            )
        room = (min(announced, _MAX_PDU_BYTES) - _PDV_HEADER_BYTES) & ~1
        for control, fragment in _fragments(encoded, data, room):
            primitive = P_DATA()
            primitive.presentation_data_value_list.append((context_id, bytes((control,)) + fragment))
            self._association.dul.send_pdu(primitive)

    def _hear(self, timeout_s: float) -> list[Message]:
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            try:
                _, messages = self._heard.get(timeout=max(min(left, _LOOK_S), 0))
            except queue.Empty:
                if left <= 0 or self._association.dul.state_machine.current_state != "Sta6":
                    break
                continue
            if messages is None:
                break
            self._assembler.read(len(messages))
            return cast(list[Message], messages)
        abort_if_open(self._association)
        raise NetworkError(f"{self._peer} gave no answer: association lost or time-out")

    def _heard_out(self) -> bool:
        wrapper = self._association.dul.socket
        return isinstance(wrapper, EventSocket) and wrapper.is_heard_out

    def _refuse_contradiction(self, message: Message, others: list[Message]) -> None:
        """A second answer that is there already: the same once more says nothing new, another one voids the first."""
        while not self._heard.empty():
            _, messages = self._heard.get()
            if messages is None:  # the peer ended the association after its answer
                break
            others += messages
        if any(other != message for other in others):
            raise self._ended("answered twice, and not the same")
        if others:
            self.end("answered twice")

    def end(self, why: str) -> None:
        """Abort the association, because of what the peer did."""
        _log.warning("%s %s: the association is ended", self._peer, why)
        abort_if_open(self._association)

    def _ended(self, why: str) -> NetworkError:
        self.end(why)
        return NetworkError(f"{self._peer} {why}", hint="what it says cannot be relied on: its own log may say why")


def _fragments(encoded: bytes, data: Iterable[bytes] | None, room: int) -> Iterator[tuple[int, bytes]]:
    """Control headers (PS3.8 E.2) and fragments of at most ``room`` bytes of a message."""
    for begin in range(0, len(encoded), room):
        yield (3 if begin + room >= len(encoded) else 1), encoded[begin : begin + room]
    if data is None:
        return
    held = bytearray()
    for chunk in data:
        held += chunk
        begin = 0
        while len(held) - begin > room:  # more follows, so this one is not the last
            yield 0, bytes(held[begin : begin + room])
            begin += room
        del held[:begin]
    yield 2, bytes(held)


def _fault(message: Message, context_id: int, asked: Mapping[int, int | str]) -> str:
    """Why ``message`` is not the answer to the request ``asked``; empty when it is.

    SOP class and instance may be left out of an answer (PS3.7 9.1.1.1); what is there must be what was asked.
    """
    if not message.command:
        return "answered with something that is no command set"
    kind = message.number(command.COMMAND_FIELD)
    if kind != cast(int, asked[command.COMMAND_FIELD]) | 0x8000:  # PS3.7 E.1
        return f"answered with {'no command' if kind is None else f'command 0x{kind:04X}'} instead of a response"
    if message.number(command.RESPONDED_TO) != asked[command.MESSAGE_ID]:
        return f"answered message {message.number(command.RESPONDED_TO)}, asked was {asked[command.MESSAGE_ID]}"
    if message.context_id != context_id:
        return f"answered in presentation context {message.context_id}, asked in {context_id}"
    for element, name in ((command.AFFECTED_SOP_CLASS, "class"), (command.AFFECTED_SOP_INSTANCE, "instance")):
        if message.text(element) and message.text(element) != asked.get(element, ""):
            return f"answered for another SOP {name}"
    if message.number(command.DATA_SET_TYPE) != command.NO_DATA_SET:
        return "answered with a data set"
    code = message.number(command.STATUS)
    if code is None:
        return "answered without a status"
    return f"answered with the pending status 0x{code:04X}" if code in _PENDING else ""
