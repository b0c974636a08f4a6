"""What persons decide about single objects - hold, release, resend - and the audit trail of it.

Each function works within the transaction of its caller, so that a decision and its row in the trail are one.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from iomt_crypt.errors import InputError
from iomt_crypt.node.entry import GUARD, Decision, State
from iomt_crypt.node.entry import audit_table as _audit
from iomt_crypt.node.entry import object_table as _object

PERSON = "person"
#: Time before which an object is not sent: a person asked for it, so the destination's own wait does not count either.
AT_ONCE = -1.0
_CHUNK = 500  # values in one IN (...)


def operator() -> str:
    """Name of the user who runs this process; under sudo also of the one who called it."""
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = f"uid {user_id}"
    caller = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo: {caller[:64]})" if caller and caller != name and user_id == 0 else name


def hold(connection: sa.Connection, object_ids: Sequence[int] | None, *, reason: str, who: str) -> int:
    """Stop queued or failed objects (None: all that are queued); return how many."""
    sources = (State.QUEUED,) if object_ids is None else (State.QUEUED, State.FAILED)
    chosen = _choose(connection, object_ids, sources)
    return _change(
        connection, chosen, {"state": State.HELD, "held_by": PERSON, "reason": reason}, who=who, action="held"
    )


def release(connection: sa.Connection, object_ids: Sequence[int] | None, *, reason: str, again: bool, who: str) -> int:
    """Queue held objects again; return how many.

    An object that the guard holds leaves in two ways only. With ``again`` the guard looks at it once more before it is
    sent. Named, and with a ``reason``, it is sent unchecked, and the person who did that stands in the audit trail.
    None for all never means the latter: it passes by what the guard holds, unless ``again`` is given.

    Raises
    ------
    InputError
        An object is not held, or is held by the guard and there is no reason. Nothing was changed.
    """
    chosen = _choose(connection, object_ids, (State.HELD,))
    guarded = [i for i, holder in chosen.items() if holder == GUARD]
    by_hand = [i for i, holder in chosen.items() if holder != GUARD]
    back: dict[str, Any] = {"state": State.QUEUED, "reason": "", "not_before": 0.0, "held_by": None}
    n_objects = _change(connection, by_hand, back, who=who, action="released", reason=reason)
    if again:
        unsure = {**back, "cleared": False}
        return n_objects + _change(connection, guarded, unsure, who=who, action="checked again", reason=reason)
    if object_ids is None:
        return n_objects
    if guarded and not reason.strip():
        raise InputError(
            f"object {guarded[0]} is held by the guard; nothing was changed",
            hint="--check-again lets the guard look once more; --reason TEXT sends it unchecked, in your name",
        )
    cleared = {**back, "cleared": True}
    return n_objects + _change(connection, guarded, cleared, who=who, action="released unchecked", reason=reason)


def resend(connection: sa.Connection, object_ids: Sequence[int] | None, *, who: str) -> int:
    """Queue failed objects (None: all) with fresh attempts, due at once; return how many."""
    sources = (State.FAILED,) if object_ids is None else (State.FAILED, State.QUEUED)
    chosen = _choose(connection, object_ids, sources)
    changes = {"state": State.QUEUED, "reason": "", "not_before": AT_ONCE, "refusals": 0}
    return _change(connection, chosen, changes, who=who, action="resent")


def note(connection: sa.Connection, object_ids: Sequence[int], *, who: str, action: str, reason: str) -> None:
    """Add a row to the audit trail for each object."""
    for start in range(0, len(object_ids), _CHUNK):
        literals = [sa.literal(value) for value in (time.time(), who, str(action), reason)]
        rows = sa.select(*literals, _object.c.id, _object.c.sop_instance_uid).where(
            _object.c.id.in_(object_ids[start : start + _CHUNK])
        )
        names = ["at", "who", "action", "reason", "object_id", "sop_instance_uid"]
        connection.execute(_audit.insert().from_select(names, rows))


def read(connection: sa.Connection) -> list[Decision]:
    """The audit trail, oldest first."""
    columns = [_audit.c[name] for name in Decision.__dataclass_fields__]
    return [Decision(*row) for row in connection.execute(sa.select(*columns).order_by(_audit.c.id))]


def _choose(
    connection: sa.Connection, object_ids: Sequence[int] | None, sources: Sequence[State]
) -> dict[int, str | None]:
    """Objects in one of the states, and who holds them; all for None, else InputError when one is in none of them."""
    query = sa.select(_object.c.id, _object.c.state, _object.c.held_by).order_by(_object.c.id)
    if object_ids is None:
        return {row.id: row.held_by for row in connection.execute(query.where(_object.c.state.in_(sources)))}
    found: dict[int, sa.Row[Any]] = {}
    for start in range(0, len(object_ids), _CHUNK):
        chunk = object_ids[start : start + _CHUNK]
        found |= {row.id: row for row in connection.execute(query.where(_object.c.id.in_(chunk)))}
    for object_id in object_ids:
        if object_id not in found:
            raise InputError(f"object {object_id} is not in the journal", hint="'iomt-crypt node queue' lists them")
        state = State(found[object_id].state)
        if state not in sources:
            raise InputError(f"object {object_id} is {state}, not {' or '.join(sources)}; nothing was changed")
    return {object_id: found[object_id].held_by for object_id in object_ids}


def _change(
    connection: sa.Connection,
    object_ids: Sequence[int] | dict[int, str | None],
    changes: dict[str, Any],
    *,
    who: str,
    action: str,
    reason: str = "",
) -> int:
    ids = list(object_ids)
    for start in range(0, len(ids), _CHUNK):
        connection.execute(_object.update().where(_object.c.id.in_(ids[start : start + _CHUNK])).values(**changes))
    note(connection, ids, who=who, action=action, reason=reason or changes["reason"])
    return len(ids)
