"""The SCU side: one association to a peer, kept over many objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationSocket

from iomt_crypt.dicom import FileParts
from iomt_crypt.dicom.implicit import implicit_dataset
from iomt_crypt.errors import MalformedError, NetworkError, NoContextError, UnsupportedError
from iomt_crypt.foreign_text import printable, shown_uid
from iomt_crypt.node import command, status
from iomt_crypt.node.context import MAX_CONTEXTS, Context, ContextResults, alternatives, proposed
from iomt_crypt.node.exchange import Answer, Exchange
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.transport import EventSocket, abort_if_open

_BYTES_PER_SECOND = 1_000_000  # the slowest link that is still waited for
_CHUNK_BYTES = 1 << 20
_MAX_PDU_BYTES = 131_072
_LOW = 0x0002  # priority, PS3.7 9.3.1.1
_VERIFICATION: Context = (str(Verification), str(ImplicitVRLittleEndian))


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds: for connection and association, and for the answer to one object."""

    connect_s: float = 10.0
    answer_s: float = 60.0


class _Entity(AE):
    """An application entity whose associations have event sockets from the beginning."""

    def _create_socket(self, assoc: Association, *arguments: Any) -> AssociationSocket:
        return EventSocket.adopt(super()._create_socket(assoc, *arguments), assoc.dul)


class Client:
    """An association with ``peer``, opened when needed and kept until `release`.

    Not thread safe: pynetdicom serves one thread for each association.
    """

    def __init__(self, peer: Peer, *, calling_ae_title: str, timeouts: Timeouts | None = None) -> None:
        self.peer = peer
        self._timeouts = timeouts or Timeouts()
        self._entity = _Entity(ae_title=calling_ae_title)
        self._entity.connection_timeout = self._timeouts.connect_s
        self._entity.acse_timeout = self._timeouts.connect_s
        self._entity.dimse_timeout = self._timeouts.answer_s
        # No idle time-out of the library: it counts received bytes only, so it would cut a long send.
        self._entity.network_timeout = None
        self._handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, EventSocket.tune, [self._timeouts.answer_s]),
            (evt.EVT_ESTABLISHED, _do_without_reactor),
        ]
        self._association: Association | None = None
        self._exchange = Exchange(peer)
        # Contexts asked for, latest use first; they stay over re-negotiation, so that mixed studies settle.
        self._wanted: dict[Context, None] = {}
        self._accepted: dict[Context, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether the association stands, as far as is known; one in which the peer spoke unasked is ended here."""
        if self._association is None or not _stands(self._association):
            return False
        if self._exchange.is_disturbed:
            self._exchange.end("said something that nobody asked")
            return False
        return True

    def open(self, contexts: Iterable[Context]) -> None:
        """Have an association with these contexts (at most 127) proposed; re-negotiate when some are missing.

        Raises
        ------
        NetworkError
            When the peer cannot be reached or refuses.
        UnsupportedError
            When it takes none of them, not even Verification.
        """
        wanted = dict.fromkeys(contexts)
        if self.is_open and wanted.keys() <= self._wanted.keys():
            return
        self.release()
        self._wanted = proposed([*wanted, *self._wanted], limit=MAX_CONTEXTS - 1)
        # Verification is in every association: it keeps one alive in which all storage contexts are refused, so that
        # "does not take this class" and "does not answer" can be told apart.
        self._exchange = Exchange(self.peer)
        try:
            built = [build_context(*context) for context in (*self._wanted, _VERIFICATION)]
            association = self.associate(built, handlers=self._exchange.handlers)
        except NoContextError as error:
            self._wanted = {}
            raise UnsupportedError(str(error)) from None
        self._exchange.begin(association)
        self._association = association
        self._accepted = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0])): context.context_id or 0
            for context in association.accepted_contexts
            if context.as_scu
        }

    def associate(
        self, contexts: list[PresentationContext], *, roles: list[Any] | None = None, handlers: list[Any] | None = None
    ) -> Association:
        """Associate with exactly these contexts.

        Raises
        ------
        NetworkError
            When the peer cannot be reached, refuses, or accepts none of the contexts.
        """
        results = ContextResults()
        try:
            association = self._entity.associate(
                self.peer.host,
                self.peer.port,
                contexts=contexts,
                ae_title=self.peer.ae_title,
                ext_neg=roles,
                max_pdu=_MAX_PDU_BYTES,
                evt_handlers=[*self._handlers, results.handler, *(handlers or [])],
            )
        except OSError as error:
            # A host name that does not resolve, or no free local port.
            raise NetworkError(
                f"{self.peer} cannot be reached: {error.strerror}", hint="check the host name"
            ) from error
        if association.is_established:
            results.reject_odd(association)
            if association.accepted_contexts:
                return association
            abort_if_open(association)
        raise self._not_established(association)

    def _not_established(self, association: Association) -> NetworkError:
        if association.is_rejected:
            answer = association.acceptor.primitive
            reason = getattr(answer, "reason_str", "no reason given")
            return NetworkError(
                f"{self.peer} rejected the association: {reason}",
                hint=f"the peer must know the AE title {self._entity.ae_title.strip()!r} and be called by its own",
            )
        if association.rejected_contexts:
            return NoContextError(f"{self.peer} accepts none of the presentation contexts")
        if association.acceptor.primitive is None and association.requestor.primitive is not None:
            return NetworkError(
                f"{self.peer} cannot be reached or did not answer the association request",
                hint="check host, port and firewall; 'iomt-crypt node check' tries it with a C-ECHO",
            )
        return NetworkError(f"{self.peer} aborted the association")

    def has(self, context: Context) -> bool:
        """Whether the association stands and this context was proposed in it."""
        return context in self._wanted and self.is_open

    def accepts(self, context: Context) -> bool:
        """Whether an object of ``context`` can be sent in the present association."""
        return self.context_for(context) is not None

    def context_for(self, context: Context) -> Context | None:
        """The context in which an object of ``context`` would be sent; None when the peer takes it in none."""
        return next((other for other in alternatives(context) if other in self._accepted), None)

    def echo(self) -> None:
        """Verify that the peer answers (C-ECHO, PS3.7 9.1.5).

        Raises
        ------
        NetworkError
            When it does not.
        """
        self.open(())
        if _VERIFICATION not in self._accepted:
            raise NetworkError(f"{self.peer} does not take the C-ECHO")
        asked: dict[int, int | str] = {
            command.COMMAND_FIELD: command.C_ECHO_RQ,
            command.AFFECTED_SOP_CLASS: _VERIFICATION[0],
        }
        answer = self._request(_VERIFICATION, asked, None, self._timeouts.answer_s)
        if answer.status != status.SUCCESS:
            raise NetworkError(f"{self.peer} answered the C-ECHO with status 0x{answer.status:04X}")

    def store(self, path: Path, parts: FileParts | None = None) -> tuple[int, str]:
        """Send the data set of a file; return status and Error Comment of the peer's answer to it.

        It goes as it lies there, or in Implicit VR Little Endian where the peer does not take it as it is
        (`context_for`). ``parts`` says what the file is; None: its meta information does.

        Raises
        ------
        UnsupportedError
            When the peer takes it in no context.
        MalformedError
            When a UID is none, or the data set cannot be converted.
        NetworkError
            When the association was lost before the answer, or the answer was not one to this very object: whether
            the peer has it is not known.
        """
        parts = parts or _parts(path)
        context = (parts.sop_class_uid, parts.transfer_syntax_uid)
        used = self.context_for(context)
        if used is None:
            syntaxes = " or ".join(shown_name(syntax) for _, syntax in alternatives(context))
            raise UnsupportedError(f"{self.peer} does not accept SOP class {shown_name(context[0])} in {syntaxes}")
        if not parts.sop_instance_uid.isascii() or not parts.sop_class_uid.isascii():
            raise MalformedError("SOP Class or SOP Instance UID has characters no UID may have (PS3.5 9.1)")
        asked: dict[int, int | str] = {
            command.COMMAND_FIELD: command.C_STORE_RQ,
            command.AFFECTED_SOP_CLASS: parts.sop_class_uid,
            command.PRIORITY: _LOW,
            command.AFFECTED_SOP_INSTANCE: parts.sop_instance_uid,
        }
        with path.open("rb") as stream:
            limit_s = self._timeouts.answer_s + path.stat().st_size / _BYTES_PER_SECOND
            data = _as_it_is(stream, parts.dataset_offset) if used == context else implicit_dataset(stream)
            answer = self._request(used, asked, data, limit_s)
        return answer.status, answer.comment

    def _request(
        self, context: Context, asked: dict[int, int | str], data: Iterable[bytes] | None, timeout_s: float
    ) -> Answer:
        if not self.is_open:
            raise NetworkError(f"{self.peer} closed the association")
        try:
            return self._exchange.request(self._accepted[context], asked, data=data, timeout_s=timeout_s)
        except NetworkError:
            self.release()
            raise

    def release(self) -> None:
        """End the association, in good order where that is still possible; does nothing when there is none."""
        association, self._association = self._association, None
        self._accepted = {}
        if association is not None and _stands(association):
            association.release()


def _do_without_reactor(event: evt.Event) -> None:
    """Handler of EVT_ESTABLISHED: keep pynetdicom from starting the association's own thread.

    That thread serves requests of the peer, of which an SCU has none; it polls, and now and then it takes an answer
    that somebody waits for (seen once in about a thousand objects on a loaded machine: 60 s of nothing).
    """
    association = event.assoc
    setattr(association, "start", lambda: None)  # noqa: B010 - a method of one instance, which type checkers refuse
    # What send_c_find and its like wait for before they use the association.
    association._is_paused = True


def _parts(path: Path) -> FileParts:
    """What a file says of itself in its meta information. Raises MalformedError when something of it is missing."""
    meta, offset = split_dataset(path)
    keywords = ("TransferSyntaxUID", "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID")
    syntax, sop_class, sop_instance = (str(meta.get(keyword, "")) for keyword in keywords)
    if not (syntax and sop_class and sop_instance):
        raise MalformedError("file meta information lacks SOP class, SOP instance or transfer syntax (PS3.10 7.1)")
    return FileParts(offset, syntax, sop_class, sop_instance, has_meta=True)


def _as_it_is(stream: BinaryIO, offset: int) -> Iterator[bytes]:
    stream.seek(offset)
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def shown_name(uid: str) -> str:
    """The name of a SOP class or transfer syntax where it has one, else the UID; fit for a message."""
    name = UID(uid).name
    return printable(name) if name != uid else shown_uid(uid)


def _stands(association: Association) -> bool:
    """Tell whether the association can be used, and answer a peer that has aborted or released it meanwhile."""
    if not association.is_established:
        return False
    if association.acse.is_release_requested():
        association.acse.send_release(is_response=True)
        association.is_released = True
    elif association.acse.is_aborted() or not association.dul.is_alive():
        association.is_aborted = True
    else:
        return True
    association.kill()
    return False
