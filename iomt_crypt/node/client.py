"""The SCU side: one association to a peer, kept over many objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationSocket

from iomt_crypt.errors import NetworkError, UnsupportedError
from iomt_crypt.node import status
from iomt_crypt.node.peer import Peer
from iomt_crypt.node.transport import EventSocket

MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: context identifiers are the odd numbers 1 to 255
_BYTES_PER_SECOND = 1_000_000  # the slowest link that is still waited for

_MAX_PDU_BYTES = 131_072

Context = tuple[str, str]
"""SOP Class UID and Transfer Syntax UID."""


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
        # Contexts asked for, oldest use first; they stay over re-negotiation, so that mixed studies settle.
        self._wanted: dict[Context, None] = {}
        self._accepted: frozenset[Context] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether the association stands, as far as is known."""
        return self._association is not None and _stands(self._association)

    def open(self, contexts: Iterable[Context]) -> None:
        """Have an association with these contexts (at most 127) proposed; re-negotiate when some are missing.

        Raises
        ------
        NetworkError
            When the peer cannot be reached or refuses.
        """
        wanted = dict.fromkeys(contexts)
        if self.is_open and wanted.keys() <= self._wanted.keys():
            return
        self.release()
        for context in wanted:
            self._wanted.pop(context, None)
        self._wanted |= wanted
        while len(self._wanted) > MAX_CONTEXTS - 1:
            self._wanted.pop(next(iter(self._wanted)))
        # Verification is in every association: it keeps one alive in which all storage contexts are refused, so that
        # "does not take this class" and "does not answer" can be told apart.
        proposed = [build_context(*context) for context in self._wanted]
        self._association = self.associate([*proposed, build_context(Verification)])
        _prefer_exact_contexts(self._association)
        self._accepted = frozenset(
            (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in self._association.accepted_contexts
        )

    def associate(
        self, contexts: list[PresentationContext], *, roles: list[Any] | None = None, handlers: list[Any] | None = None
    ) -> Association:
        """Associate with exactly these contexts.

        Raises
        ------
        NetworkError
            When the peer cannot be reached, refuses, or accepts none of the contexts.
        """
        try:
            association = self._entity.associate(
                self.peer.host,
                self.peer.port,
                contexts=contexts,
                ae_title=self.peer.ae_title,
                ext_neg=roles,
                max_pdu=_MAX_PDU_BYTES,
                evt_handlers=[*self._handlers, *(handlers or [])],
            )
        except OSError as error:
            # A host name that does not resolve, or no free local port.
            raise NetworkError(
                f"{self.peer} cannot be reached: {error.strerror}", hint="check the host name"
            ) from error
        if association.is_established:
            return association
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
            return NetworkError(f"{self.peer} accepts none of the presentation contexts")
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
        """Whether the peer accepted this context in the present association."""
        return context in self._accepted

    def echo(self) -> None:
        """Verify that the peer answers (C-ECHO, PS3.7 9.1.5).

        Raises
        ------
        NetworkError
            When it does not.
        """
        self.open(())
        answer = self._established().send_c_echo()
        if "Status" not in answer:
            raise NetworkError(f"{self.peer} did not answer the C-ECHO")
        if answer.Status != status.SUCCESS:
            raise NetworkError(f"{self.peer} answered the C-ECHO with status 0x{answer.Status:04X}")

    def store(self, path: Path, context: Context, *, message_id: int = 1) -> tuple[int, str]:
        """Send the data set of a Part 10 file as it lies there; return status and Error Comment of the answer.

        The file's meta information names SOP class and instance, and must have the transfer syntax of ``context``.

        Raises
        ------
        UnsupportedError
            When the peer did not accept ``context``.
        NetworkError
            When the association was lost before the answer: whether the peer has the object is not known.
        """
        if not self.accepts(context):
            raise UnsupportedError(
                f"{self.peer} does not accept SOP class {UID(context[0]).name} in {UID(context[1]).name}"
            )
        association = self._established()
        association.dimse_timeout = self._timeouts.answer_s + path.stat().st_size / _BYTES_PER_SECOND
        try:
            answer = association.send_c_store(path, msg_id=message_id)
        except (RuntimeError, ValueError) as error:
            # No association any more, or its contexts are gone with it.
            self.release()
            raise NetworkError(f"{self.peer} closed the association") from error
        if "Status" not in answer:
            self.release()
            raise NetworkError(f"{self.peer} gave no answer to the object: association lost or time-out")
        return int(answer.Status), str(answer.get("ErrorComment", ""))

    def _established(self) -> Association:
        if self._association is None or not _stands(self._association):
            raise NetworkError(f"{self.peer} closed the association")
        return self._association

    def release(self) -> None:
        """End the association, in good order where that is still possible; does nothing when there is none."""
        association, self._association = self._association, None
        self._accepted = frozenset()
        if association is not None and _stands(association):
            association.release()


def _do_without_reactor(event: evt.Event) -> None:
    """Handler of EVT_ESTABLISHED: keep pynetdicom from starting the association's own thread.

    That thread serves requests of the peer, of which an SCU has none; it polls, and now and then it takes an answer
    that `send_c_store` waits for (seen once in about a thousand objects on a loaded machine: 60 s of nothing).
    """
    association = event.assoc
    setattr(association, "start", lambda: None)  # noqa: B010 - a method of one instance, which type checkers refuse
    # What send_c_store and its like wait for before they use the association.
    association._is_paused = True


def _prefer_exact_contexts(association: Association) -> None:
    """Let `send_c_store` find the context of a transfer syntax that pydicom does not know.

    The library asks of each context on its way whether its syntax is compressed, and fails at a private or new one,
    even when the exact context is there.
    """
    search = association._get_valid_context

    def find(class_uid: str, syntax_uid: str, role: str | None = None, **options: Any) -> PresentationContext:
        for context in association.accepted_contexts:
            if context.abstract_syntax == class_uid and context.transfer_syntax[0] == syntax_uid:
                return context
        return search(class_uid, syntax_uid, role, **options)

    setattr(association, "_get_valid_context", find)  # noqa: B010 - as above


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
