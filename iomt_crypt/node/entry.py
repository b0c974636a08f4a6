"""What the journal is made of: states, their transitions, tables and rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

SCHEMA_VERSION = 3
GUARD = "guard"  # who holds an object, or acts, when no person does


class State(StrEnum):
    """Where an object stands on its way to the destination."""

    QUEUED = "queued"
    SENDING = "sending"
    DELIVERED = "delivered"  # the destination said success
    COMMITTED = "committed"  # ... and answered a storage commitment request; not used yet
    HELD = "held"  # a person stopped it, or the guard
    FAILED = "failed"  # refused too often, or its file is gone; a person has to look


TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SENDING, State.HELD, State.FAILED}),
    State.SENDING: frozenset({State.QUEUED, State.DELIVERED, State.HELD, State.FAILED}),
    State.DELIVERED: frozenset({State.COMMITTED}),
    State.COMMITTED: frozenset(),
    State.HELD: frozenset({State.QUEUED, State.FAILED}),
    State.FAILED: frozenset({State.QUEUED, State.HELD}),
}
UNFINISHED = (State.QUEUED, State.SENDING)

metadata = sa.MetaData()
version_table = sa.Table("journal", metadata, sa.Column("schema_version", sa.Integer, nullable=False))
object_table = sa.Table(
    "object",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("spool_name", sa.String, nullable=False, unique=True),
    sa.Column("sop_class_uid", sa.String, nullable=False),
    sa.Column("sop_instance_uid", sa.String, nullable=False, index=True),
    sa.Column("original_sop_instance_uid", sa.String, index=True),
    sa.Column("study_instance_uid", sa.String),
    sa.Column("series_instance_uid", sa.String),
    sa.Column("form", sa.String),
    sa.Column("suite", sa.String),
    sa.Column("n_frames", sa.Integer),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("encrypt_seconds", sa.Float),
    sa.Column("calling_ae_title", sa.String),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("refusals", sa.Integer, nullable=False, default=0),
    sa.Column("not_before", sa.Float, nullable=False, default=0.0),
    sa.Column("lease_until", sa.Float),
    sa.Column("delivered_at", sa.Float),
    sa.Column("reason", sa.String, nullable=False, default=""),
    # From here on: since version 2, so nullable or with a default that a row of version 1 takes too.
    sa.Column("sha256", sa.LargeBinary),
    sa.Column("held_by", sa.String),
    sa.Column("alarm", sa.String),
    sa.Column("cleared", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    # Since version 3.
    sa.Column("unanswered", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Index("object_by_state", "state", "id"),
    sqlite_autoincrement=True,
)
# Archives may drop private blocks; with this copy the object still opens.
record_table = sa.Table(
    "record",
    metadata,
    sa.Column("object_id", sa.Integer, sa.ForeignKey("object.id"), primary_key=True),
    sa.Column("record", sa.LargeBinary, nullable=False),
)
# Who decided what, and why. Rows are added, never changed.
audit_table = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("object_id", sa.Integer, nullable=False, index=True),
    sa.Column("sop_instance_uid", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True)
class NewEntry:
    """What is known of an object when it enters the spool. Sizes in bytes; ``received_at`` is Unix time in seconds.

    ``sha256`` is the digest of its file in the spool.
    """

    spool_name: str
    sop_class_uid: str
    sop_instance_uid: str
    size_bytes: int
    received_at: float
    original_sop_instance_uid: str | None = None
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    form: str | None = None
    suite: str | None = None
    n_frames: int | None = None
    encrypt_seconds: float | None = None
    calling_ae_title: str | None = None
    record: bytes | None = None
    sha256: bytes | None = None


@dataclass(frozen=True)
class Entry:
    """A row of the journal.

    held_by
        ``"guard"`` or ``"person"`` when it is held
    alarm
        what the guard found when it last looked, if it found something
    unanswered
        attempts that were begun and whose answer was never noted: the destination may have the object from one
    cleared
        a person released it after the guard had held it: the guard does not look again
    """

    id: int
    spool_name: str
    sop_class_uid: str
    sop_instance_uid: str
    original_sop_instance_uid: str | None
    state: State
    attempts: int
    refusals: int
    reason: str
    size_bytes: int
    encrypt_seconds: float | None
    received_at: float
    sha256: bytes | None
    held_by: str | None
    alarm: str | None
    cleared: bool
    unanswered: int = 0


@dataclass(frozen=True)
class Decision:
    """A row of the audit table: who did what to an object, when (Unix time) and why.

    action
        ``"held"``, ``"warned"``, ``"released"``, ``"released unchecked"``, ``"checked again"`` or ``"resent"``
    """

    id: int
    at: float
    who: str
    action: str
    object_id: int
    sop_instance_uid: str
    reason: str


@dataclass(frozen=True)
class Totals:
    """How many objects are in each state, and when the oldest undelivered one came (Unix time; None: none waits).

    ``n_held_by_guard`` of those held are so because of an alarm.
    """

    by_state: dict[State, int]
    oldest_waiting_at: float | None
    n_held_by_guard: int
