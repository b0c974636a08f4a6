"""Requests of a query or retrieve user, each answer matched to its request (PS3.7 9.1.2 to 9.1.4, PS3.4 C)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, C_STORE
from pynetdicom.dsutils import decode, encode

from iomt_crypt.errors import NetworkError
from iomt_crypt.foreign_text import printable
from iomt_crypt.node import status
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.transport import abort_if_open

# Study Root Query/Retrieve Information Model: PS3.4 C.6.2
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
_REQUESTS: dict[str, type[C_FIND] | type[C_MOVE] | type[C_GET]] = {FIND: C_FIND, MOVE: C_MOVE, GET: C_GET}
_NAMES = {FIND: "C-FIND", MOVE: "C-MOVE", GET: "C-GET"}
PENDING = frozenset({0xFF00, 0xFF01})  # PS3.4 C.4.1.1.4 and C.4.3.1.4
SOME_FAILED = 0xB000  # PS3.4 C.4.2.1.5 and C.4.3.1.4: sub-operations ended, not all of them well
_MAX_MESSAGE_ID = 0xFFFF


@dataclass(frozen=True)
class Answer:
    """One answer; ``match`` is the identifier of a pending C-FIND answer."""

    status: int
    comment: str
    match: Dataset | None = None


def identifier(level: str, study: str, series: str = "", instance: str = "") -> Dataset:
    """Make the identifier of a Study Root query or retrieval (PS3.4 C.6.2.1).

    It has the unique keys above the level, and that of the level, empty to have it returned.
    """
    made = Dataset()
    made.QueryRetrieveLevel = level
    made.StudyInstanceUID = study
    if level != "STUDY":
        made.SeriesInstanceUID = series
    if level == "IMAGE":
        made.SOPInstanceUID = instance
    return made


class Inquiry:
    """Sends requests over an association that has no thread of its own (see `Client.associate`)."""

    def __init__(self, association: Association, peer: Peer) -> None:
        self._association = association
        self._peer = peer
        self._message_id = 0

    @property
    def message_id(self) -> int:
        """Message ID of the last request."""
        return self._message_id

    @property
    def is_open(self) -> bool:
        """Whether the association stands, as far as is known."""
        return bool(self._association.is_established)

    def ask(
        self, model: str, query: Dataset, *, destination: str = "", is_alive: Callable[[], bool] = lambda: False
    ) -> Iterator[Answer]:
        """Send a request and yield its answers, the final one last. Objects that come with a C-GET are handled.

        ``destination`` is the AE title of a C-MOVE. ``is_alive`` is asked when the time for an answer is up: whether
        the peer has done something elsewhere since.

        Raises
        ------
        NetworkError
            When the peer does not offer it, gives no answer, or gives one to something else; the association is ended.
        """
        context = next((c for c in self._association.accepted_contexts if c.abstract_syntax == model), None)
        if context is None or context.context_id is None:
            raise NetworkError(f"{self._peer} does not offer {_NAMES[model]}")
        syntax = context.transfer_syntax[0]
        request: Any = _REQUESTS[model]()
        self._message_id = self._message_id % _MAX_MESSAGE_ID + 1
        request.MessageID = self._message_id
        request.AffectedSOPClassUID = model
        request.Priority = 0  # medium: PS3.7 9.1.2.1.3
        if destination:
            request.MoveDestination = destination
        request.Identifier = io.BytesIO(encode(query, syntax.is_implicit_VR, syntax.is_little_endian) or b"")
        self._association.dimse.send_msg(request, context.context_id)
        while True:
            answer = self._next(model, context.context_id, is_alive)
            if answer is None:
                continue
            match = None
            if answer.Status in PENDING and model == FIND and answer.Identifier is not None:
                match = self._decoded(answer.Identifier, implicit=syntax.is_implicit_VR)
            yield Answer(answer.Status, printable(answer.ErrorComment or ""), match)
            if answer.Status not in PENDING:
                return

    def _next(self, model: str, context_id: int, is_alive: Callable[[], bool]) -> Any:
        """The next answer to the request; None when something else was done meanwhile."""
        found_id, message = cast(tuple[Any, Any], self._association.dimse.get_msg(block=True))
        if message is None:
            if is_alive() and self._association.dul.is_alive() and not self._association.acse.is_aborted():
                return None
            raise self._broken(f"gave no answer to the {_NAMES[model]}: association lost or time-out")
        if isinstance(message, C_STORE) and model == GET and message.MessageID is not None:
            self._association._c_store_scp(message)
            return None
        fits = (
            type(message) is _REQUESTS[model]
            and message.MessageIDBeingRespondedTo == self._message_id
            and found_id == context_id
            and message.Status is not None
        )
        if not fits:
            raise self._broken(f"answered the {_NAMES[model]} with a message that does not belong to it")
        return message

    def _decoded(self, encoded: io.BytesIO, *, implicit: bool) -> Dataset:
        try:
            return decode(encoded, implicit, True)  # both syntaxes that are proposed are little endian
        except Exception:  # noqa: BLE001 - whatever pydicom makes of bytes that a peer chose
            raise self._broken("sent a C-FIND answer that cannot be decoded") from None

    def _broken(self, what: str) -> NetworkError:
        abort_if_open(self._association)
        self._association.is_established = False
        self._association.kill()
        return NetworkError(f"{self._peer} {what}")

    def release(self) -> None:
        """End the association in good order, where that is still possible."""
        if self._association.is_established:
            self._association.release()


def problem_of(answer: Answer, model: str, peer: Peer) -> NetworkError | None:
    """What a final answer complains of; None for success, and when some sub-operations failed: objects say which."""
    if answer.status in PENDING or answer.status in (status.SUCCESS, SOME_FAILED):
        return None
    text = f"{peer} answered the {_NAMES[model]} with status 0x{answer.status:04X}"
    return NetworkError(f"{text}: {answer.comment}" if answer.comment else text)
