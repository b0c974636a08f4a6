"""Command sets of DIMSE messages, and the peer's messages put together from their fragments (PS3.7 6.3.1, PS3.8 E).

The library decodes what a peer says into objects that lack whatever did not fit. Here an element is there as it was
sent, or the message is not understood at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from iomt_crypt.errors import MalformedError

# Elements of group 0000, by their number: PS3.7 E.1.
AFFECTED_SOP_CLASS = 0x0002
COMMAND_FIELD = 0x0100
MESSAGE_ID = 0x0110
RESPONDED_TO = 0x0120
PRIORITY = 0x0700
DATA_SET_TYPE = 0x0800
STATUS = 0x0900
ERROR_COMMENT = 0x0902
AFFECTED_SOP_INSTANCE = 0x1000

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
C_ECHO_RQ, C_ECHO_RSP = 0x0030, 0x8030
HAS_DATA_SET, NO_DATA_SET = 0x0001, 0x0101

_ELEMENT = struct.Struct("<HHL")
# A command set has a dozen elements of at most 64 bytes.
_MAX_COMMAND_BYTES = 1 << 14
# Nobody asked for more than one answer; what comes beyond these is not kept.
_MAX_MESSAGES = 8

Command = Mapping[int, bytes]
"""Encoded values of a command set's elements, by element number."""


@dataclass(frozen=True)
class Message:
    """What a peer said in one presentation context. ``command`` is empty when it could not be understood."""

    context_id: int
    command: Command

    def number(self, element: int) -> int | None:
        """Value of a US element; None when it is absent or not one number."""
        value = self.command.get(element, b"")
        return int.from_bytes(value, "little") if len(value) == 2 else None

    def text(self, element: int) -> str:
        """Value of an element that is text, without padding; empty when it is absent."""
        return self.command.get(element, b"").decode("latin-1").rstrip(" \0")


def encode_command(elements: Mapping[int, int | str]) -> bytes:
    """A command set in Implicit VR Little Endian with its group length; numbers are US, texts UI."""
    body = b""
    for element, value in sorted(elements.items()):
        encoded = struct.pack("<H", value) if isinstance(value, int) else value.encode("ascii")
        encoded += b"\0" * (len(encoded) % 2)
        body += _ELEMENT.pack(0, element, len(encoded)) + encoded
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body


def decode_command(data: bytes) -> dict[int, bytes]:
    """The elements of an encoded command set.

    Raises
    ------
    MalformedError
        When an element is cut off, of another group, or there twice.
    """
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if len(data) - position < _ELEMENT.size:
            raise MalformedError(f"the command set is cut off at offset {position}")
        group, element, size = _ELEMENT.unpack_from(data, position)
        begin, position = position + _ELEMENT.size, position + _ELEMENT.size + size
        if group or element in elements or position > len(data):
            raise MalformedError(f"element ({group:04X},{element:04X}) of a command set is out of place")
        elements[element] = data[begin:position]
    return elements


@dataclass
class Assembler:
    """Puts fragments together to messages.

    A message is complete with its command: no answer that is waited for has a data set, so one that announces it is
    wrong already.
    """

    _fragments: bytearray = field(default_factory=bytearray)
    _n_messages: int = 0

    def messages(self, fragments: Iterable[tuple[int, bytes]]) -> list[Message]:
        """The messages that end with ``fragments``: context identifiers and PDVs with their control headers."""
        found: list[Message] = []
        for context_id, fragment in fragments:
            if self._n_messages >= _MAX_MESSAGES:
                break
            message = self._message(context_id, fragment)
            if message is not None:
                self._n_messages += 1
                found.append(message)
        return found

    def read(self, n_messages: int) -> None:
        """Note that as many messages were looked at."""
        self._n_messages -= n_messages

    def _message(self, context_id: int, fragment: bytes) -> Message | None:
        if not fragment or not fragment[0] & 1 or len(self._fragments) + len(fragment) > _MAX_COMMAND_BYTES:
            self._fragments.clear()
            return Message(context_id, {})
        self._fragments += fragment[1:]
        if not fragment[0] & 2:  # the command has more fragments, PS3.8 E.2
            return None
        data = bytes(self._fragments)
        self._fragments.clear()
        try:
            return Message(context_id, decode_command(data))
        except MalformedError:
            return Message(context_id, {})
