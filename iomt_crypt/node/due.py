"""Which objects of the journal are due, and who has them in hand.

Each function works within the transaction of its caller.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from iomt_crypt.node.entry import UNFINISHED, Entry, State
from iomt_crypt.node.entry import object_table as _object

#: No object waits longer, unless its caller says so.
LONGEST_WAIT_S = 86_400.0

ENTRY_COLUMNS = [_object.c[name] for name in Entry.__dataclass_fields__]

# Built once: putting these together costs more than running them.
_earlier = _object.alias()
_IS_FIRST = ~sa.exists().where(
    _earlier.c.sop_instance_uid == _object.c.sop_instance_uid,
    _earlier.c.id < _object.c.id,
    _earlier.c.state.in_(UNFINISHED),
)
_DUE = (
    sa.select(*ENTRY_COLUMNS)
    .where(
        _object.c.state == State.QUEUED,
        # A time further ahead than the longest wait was written before the clock was set back.
        sa.or_(_object.c.not_before <= sa.bindparam("now"), _object.c.not_before > sa.bindparam("furthest")),
        _IS_FIRST,
    )
    .order_by(_object.c.id)
    .limit(sa.bindparam("n_rows", type_=sa.Integer))
)
_CLAIM = (
    _object.update()
    .where(_object.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(state=State.SENDING, lease_until=sa.bindparam("until"))
)
_NEXT_DUE = sa.select(sa.func.min(_object.c.not_before)).where(_object.c.state == State.QUEUED)
_ASKED_FOR = sa.select(sa.exists().where(_object.c.state == State.QUEUED, _object.c.not_before < 0, _IS_FIRST))


def claim(connection: sa.Connection, now: float, *, limit: int, lease_s: float, longest_wait_s: float) -> list[Entry]:
    """Mark up to ``limit`` due objects as being sent; see `Journal.claim`."""
    values: dict[str, Any] = {"now": now, "furthest": now + longest_wait_s, "n_rows": limit}
    entries = [entry_of(row) for row in connection.execute(_DUE, values)]
    if entries:
        connection.execute(_CLAIM, {"ids": [entry.id for entry in entries], "until": now + lease_s})
    return entries


def earliest(connection: sa.Connection) -> float | None:
    """When the next queued object is due (Unix time, may be past); None when none waits."""
    moment: float | None = connection.execute(_NEXT_DUE).scalar_one_or_none()
    return moment


def is_asked_for(connection: sa.Connection) -> bool:
    """Whether a queued object is to be sent at once, because a person said so."""
    return bool(connection.execute(_ASKED_FOR).scalar_one())


def entry_of(row: sa.Row[Any]) -> Entry:
    """A row of `ENTRY_COLUMNS` as an entry."""
    values = row._asdict()
    values["state"] = State(values["state"])
    return Entry(**values)
