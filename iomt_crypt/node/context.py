"""Presentation contexts of an SCU: what is proposed, and what of the acceptor's answer counts (PS3.8 9.3.2, 9.3.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_AC

MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: context identifiers are the odd numbers 1 to 255
_NOT_TAKEN = 0x04  # PS3.8 9.3.3.2: transfer syntaxes not supported

Context = tuple[str, str]
"""SOP Class UID and Transfer Syntax UID."""


def alternatives(context: Context) -> tuple[Context, ...]:
    """The contexts in which an object of ``context`` can be sent, the best first.

    Explicit VR Little Endian can be written as Implicit VR Little Endian, which every peer takes (PS3.5 10.1), without
    touching a value. Each syntax has a context of its own, so that the choice is ours.
    """
    sop_class, syntax = context
    if syntax == ExplicitVRLittleEndian:
        return context, (sop_class, str(ImplicitVRLittleEndian))
    return (context,)


def proposed(contexts: Iterable[Context], *, limit: int) -> dict[Context, None]:
    """``contexts`` with their alternatives, the first ones first, as far as they are ``limit`` together."""
    chosen: dict[Context, None] = {}
    for context in contexts:
        more = dict.fromkeys(alternatives(context))
        if len(chosen | more) > limit:
            break
        chosen |= more
    return chosen


class ContextResults:
    """Sorts out what an acceptor says it accepts and was not proposed; `handler` goes to the library."""

    def __init__(self) -> None:
        self._odd: set[int | None] = set()
        self.handler: Any = (evt.EVT_PDU_RECV, self._read)

    def _read(self, event: evt.Event) -> None:
        """The library knows one result for each context, and the first syntax of it: look at all of them."""
        if isinstance(event.pdu, A_ASSOCIATE_AC):
            results = event.pdu.presentation_context
            n_results = Counter(item.context_id for item in results)
            self._odd = {
                item.context_id
                for item in results
                if n_results[item.context_id] > 1 or len(item.transfer_syntax_sub_item) != 1
            }

    def reject_odd(self, association: Association) -> None:
        """Count as rejected each context whose answer is ambiguous, or names a syntax that was not proposed in it."""
        asked = {context.context_id: context.transfer_syntax for context in association.requestor.requested_contexts}
        for context_id, context in list(association._accepted_cx.items()):
            syntaxes = context.transfer_syntax
            if context_id in self._odd or not syntaxes or syntaxes[0] not in asked[context_id]:
                context.result = _NOT_TAKEN
                association._rejected_cx.append(association._accepted_cx.pop(context_id))
