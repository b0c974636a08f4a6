"""The journal: one row for each object the node took in, and what became of it.

It is an index over the spool and a history of what was delivered (decision 0003). SQLite in WAL mode, so that the
command line reads and acts while receiver and forwarder write.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from iomt_crypt.errors import DiskFullError, StorageError
from iomt_crypt.node import decision, due, schema
from iomt_crypt.node.entry import GUARD, TRANSITIONS, UNFINISHED, Decision, Entry, NewEntry, State, Totals
from iomt_crypt.node.entry import object_table as _object
from iomt_crypt.node.entry import record_table as _record

_NO_ROOM_BYTES = 1 << 17
_CHUNK = 500  # values in one IN (...)
_Answer = TypeVar("_Answer")
_ANSWERED = sa.case((_object.c.unanswered > 0, _object.c.unanswered - 1), else_=0)


class Journal:
    """The journal in the file ``path``.

    A commit waits for the disk only where a row says more than the spool does: that an object was delivered (its file
    goes then) or given up, or what a person decided. Everything else can be made again from the spool, and a wait for
    the disk under the write lock is one for the receiver too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Values of a failed statement stay out of messages and logs.
        self._engine = sa.create_engine(f"sqlite:///{path}", hide_parameters=True)

        @sa.event.listens_for(self._engine, "connect")
        def _set_up(connection: Any, _: Any) -> None:
            for pragma in schema.PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool = True, durable: bool = False) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                # In WAL mode FULL syncs at the commit what this connection and all others have written before.
                connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                # IMMEDIATE takes the write lock at once: a transaction that reads first and writes later would fail
                # with "database is locked" instead of waiting for its turn.
                connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
                yield connection
                connection.commit()
        except OperationalError as error:
            text, name = str(error.orig), str(getattr(error.orig, "sqlite_errorname", ""))
            # A file beside the journal that finds no room is an I/O error to SQLite.
            no_room = name.startswith("SQLITE_IOERR") and shutil.disk_usage(self.path.parent).free < _NO_ROOM_BYTES
            if name == "SQLITE_FULL" or no_room:
                raise DiskFullError("journal: no room", hint="make room on the spool's file system") from None
            raise StorageError(f"journal {self.path}: {text}") from None
        except SQLAlchemyError as error:
            raise StorageError(f"journal {self.path}: {type(error).__name__}") from None

    def create(self) -> None:
        """Make the tables where they are missing, and bring a journal of version 1 up to date.

        Raises
        ------
        ConfigurationError
            When the file is the journal of another version of this package.
        StorageError
            When the file cannot be written.
        """
        # SQLite makes its files beside with the mode of the journal itself.
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.path.chmod(0o600)
        except OSError as error:
            raise StorageError(f"journal {self.path}: {error.strerror}") from error
        with self._transaction() as connection:
            schema.make(connection, self.path)

    def require_version(self) -> None:
        """Check that the journal is of this version; changes nothing. Raises ConfigurationError when it is not."""
        with self._transaction(write=False) as connection:
            schema.require(connection, self.path)

    def add(self, entry: NewEntry) -> int:
        """Enter an object as queued; return its number."""
        values = {name: getattr(entry, name) for name in NewEntry.__dataclass_fields__ if name != "record"}
        with self._transaction() as connection:
            result = connection.execute(_object.insert(), {**values, "state": State.QUEUED})
            (object_id,) = cast(tuple[int], result.inserted_primary_key)
            if entry.record is not None:
                connection.execute(_record.insert(), {"object_id": object_id, "record": entry.record})
        return object_id

    def record(self, object_id: int) -> bytes | None:
        """The copy of the sealed record of an object; None when there is none."""
        with self._transaction(write=False) as connection:
            return connection.execute(
                sa.select(_record.c.record).where(_record.c.object_id == object_id)
            ).scalar_one_or_none()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A transaction that only reads."""
        return self._transaction(write=False)

    def claim(
        self, *, limit: int, lease_s: float, longest_wait_s: float = due.LONGEST_WAIT_S, now: float | None = None
    ) -> list[Entry]:
        """Take up to ``limit`` objects that are due, in order of arrival, and mark them as being sent.

        An object waits while an earlier one with the same SOP Instance UID is unfinished, so that the last version
        received is the last one the archive gets. The claim lasts ``lease_s`` seconds. No object waits longer than
        ``longest_wait_s``, wherever the clock was when its time was written.
        """
        now = time.time() if now is None else now
        with self._transaction() as connection:
            return due.claim(connection, now, limit=limit, lease_s=lease_s, longest_wait_s=longest_wait_s)

    def is_asked_for(self) -> bool:
        """Whether a person wants something sent at once, however the destination is."""
        with self._transaction(write=False) as connection:
            return due.is_asked_for(connection)

    def next_due(self) -> float | None:
        """When the next queued object is due (Unix time, may be past); None when none waits."""
        with self._transaction(write=False) as connection:
            return due.earliest(connection)

    def delivered(self, object_ids: Sequence[int], *, reason: str = "") -> None:
        """Note that the destination answered success or a warning; ``reason`` is the warning."""
        changes = {"delivered_at": time.time(), "reason": reason, "attempts": _object.c.attempts + 1}
        self._move(object_ids, State.DELIVERED, changes, durable=True)

    def begun(self, object_id: int) -> None:
        """Note that an object is about to go over the wire: until its answer is noted, the destination may have it."""
        row = _object.update().where(_object.c.id == object_id)
        with self._transaction() as connection:
            connection.execute(row.values(unanswered=_object.c.unanswered + 1))

    def deferred(
        self, object_id: int, *, reason: str, not_before: float, refused: bool = False, answered: bool = True
    ) -> None:
        """Put an object back into the queue after an attempt that failed, not to be tried before ``not_before``.

        Not ``answered``: nobody knows whether the destination has it now.
        """
        changes: dict[str, Any] = {"reason": reason, "not_before": not_before, "attempts": _object.c.attempts + 1}
        if refused:
            changes["refusals"] = _object.c.refusals + 1
        if answered:
            changes["unanswered"] = _ANSWERED
        self._move([object_id], State.QUEUED, changes)

    def unclaimed(self, object_ids: Sequence[int]) -> None:
        """Put objects back that were claimed and not tried."""
        self._move(object_ids, State.QUEUED, {})

    def waiting(self, object_id: int, *, reason: str) -> None:
        """Put an object back that was claimed and could not be tried, because of ``reason``."""
        self._move([object_id], State.QUEUED, {"reason": reason, "not_before": 0.0})

    def failed(self, object_id: int, *, reason: str) -> None:
        """Give an object up; a person finds it with its reason."""
        changes = {"reason": reason, "attempts": _object.c.attempts + 1, "unanswered": _ANSWERED}
        self._move([object_id], State.FAILED, changes, durable=True)

    def lost(self, object_id: int, *, reason: str) -> None:
        """Note that an object can never be delivered from here."""
        self._move([object_id], State.FAILED, {"reason": reason}, durable=True)

    def requeue_sending(self, *, lease_before: float | None = None, step_back_s: float | None = None) -> int:
        """Queue again what a dead forwarder had claimed, as attempts that nobody saw end; return how many that were.

        With ``lease_before`` (Unix time) only claims that ended before it. With ``step_back_s`` they are due after so
        many seconds.
        """
        changes: dict[str, Any] = {"state": State.QUEUED, "lease_until": None, "attempts": _object.c.attempts + 1}
        if step_back_s is not None:
            changes["not_before"] = time.time() + step_back_s
        update = _object.update().where(_object.c.state == State.SENDING)
        if lease_before is not None:
            update = update.where(_object.c.lease_until < lease_before)
        with self._transaction() as connection:
            return int(connection.execute(update.values(**changes)).rowcount)

    def blocked(self, object_id: int, *, reason: str) -> None:
        """Hold an object in which the guard found something."""
        changes = {"reason": reason, "alarm": reason, "held_by": GUARD}
        self._move([object_id], State.HELD, changes, durable=True, audited=True)

    def warned(self, object_id: int, *, reason: str) -> None:
        """Note what the guard found in an object that is sent all the same."""
        with self._transaction() as connection:
            connection.execute(_object.update().where(_object.c.id == object_id).values(alarm=reason))
            decision.note(connection, [object_id], who=GUARD, action="warned", reason=reason)

    def hold(self, object_ids: Sequence[int] | None, *, reason: str, who: str | None = None) -> int:
        """Stop queued or failed objects (None: all that are queued); return how many."""
        with self._transaction(durable=True) as connection:
            return decision.hold(connection, object_ids, reason=reason, who=who or decision.operator())

    def release(
        self, object_ids: Sequence[int] | None, *, reason: str = "", again: bool = False, who: str | None = None
    ) -> int:
        """Queue held objects again; return how many. See `decision.release`."""
        with self._transaction(durable=True) as connection:
            return decision.release(connection, object_ids, reason=reason, again=again, who=who or decision.operator())

    def resend(self, object_ids: Sequence[int] | None, *, who: str | None = None) -> int:
        """Queue failed objects (None: all) with fresh attempts; return how many.

        Named objects may also be queued ones that wait for their next attempt: they are then due at once.
        """
        with self._transaction(durable=True) as connection:
            return decision.resend(connection, object_ids, who=who or decision.operator())

    def decisions(self) -> list[Decision]:
        """The audit trail, oldest first."""
        with self._transaction(write=False) as connection:
            return decision.read(connection)

    def entries(self, *, state: State | None = None, limit: int | None = None) -> list[Entry]:
        """Rows in order of arrival, of one state or of all."""
        query = sa.select(*due.ENTRY_COLUMNS).order_by(_object.c.id).limit(limit)
        if state is not None:
            query = query.where(_object.c.state == state)
        with self._transaction(write=False) as connection:
            return [due.entry_of(row) for row in connection.execute(query)]

    def known(self, names: Collection[str]) -> dict[str, State]:
        """State of those of the spool files ``names`` that the journal knows."""
        found: dict[str, State] = {}
        remaining = list(names)
        with self._transaction(write=False) as connection:
            while remaining:
                chunk, remaining = remaining[:_CHUNK], remaining[_CHUNK:]
                query = sa.select(_object.c.spool_name, _object.c.state).where(_object.c.spool_name.in_(chunk))
                found |= {name: State(state) for name, state in connection.execute(query)}
        return found

    def undelivered(self) -> list[Entry]:
        """Rows whose object must have a file in the spool: queued, being sent, held."""
        query = sa.select(*due.ENTRY_COLUMNS).where(_object.c.state.in_((*UNFINISHED, State.HELD)))
        with self._transaction(write=False) as connection:
            return [due.entry_of(row) for row in connection.execute(query)]

    def ask(self, question: Callable[[sa.Connection], _Answer]) -> _Answer:
        """The answer to a question of `iomt_crypt.node.history`."""
        with self._transaction(write=False) as connection:
            return question(connection)

    def totals(self) -> Totals:
        """Count the objects by state."""
        counts = sa.select(_object.c.state, sa.func.count()).group_by(_object.c.state)
        guarded = sa.select(sa.func.count()).where(_object.c.state == State.HELD, _object.c.held_by == GUARD)
        oldest = sa.select(sa.func.min(_object.c.received_at)).where(_object.c.state.in_(UNFINISHED))
        with self._transaction(write=False) as connection:
            found = {State(state): int(n) for state, n in connection.execute(counts)}
            waiting = connection.execute(oldest).scalar_one_or_none()
            n_guarded = int(connection.execute(guarded).scalar_one())
        return Totals({state: found.get(state, 0) for state in State}, waiting, n_guarded)

    def _move(
        self,
        object_ids: Sequence[int],
        target: State,
        changes: dict[str, Any],
        *,
        durable: bool = False,
        audited: bool = False,
    ) -> None:
        """Move objects to ``target``; raise StorageError, and change none, when one is in a state that forbids it."""
        sources = [state for state, targets in TRANSITIONS.items() if target in targets]
        with self._transaction(durable=durable) as connection:
            result = connection.execute(
                _object.update()
                .where(_object.c.id.in_(object_ids), _object.c.state.in_(sources))
                .values(state=target, lease_until=None, **changes)
            )
            if result.rowcount != len(object_ids):
                raise StorageError(f"journal: {len(object_ids)} objects cannot all become {target}: {object_ids}")
            if audited:
                decision.note(connection, object_ids, who=GUARD, action=target, reason=changes["reason"])
