"""Copies of sealed records in the node's journal, by the SOP Instance UID that the archive knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from iomt_crypt.errors import ConfigurationError, StorageError
from iomt_crypt.foreign_text import is_uid
from iomt_crypt.node.catalog import Instance
from iomt_crypt.node.entry import State, object_table, record_table
from iomt_crypt.node.journal import Journal

_SQLITE = b"SQLite format 3\0"
_DELIVERED = (State.DELIVERED, State.COMMITTED)
_ROWS = 1000


@dataclass(frozen=True)
class Known:
    """An object that the node delivered, by its UIDs in the archive; the study's is empty where it has none."""

    sop_instance_uid: str
    study_instance_uid: str


class RecordShelf:
    """The records of one journal. Only reads; the node may run meanwhile."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @classmethod
    def open(cls, path: Path) -> RecordShelf:
        """Open a journal (``journal.sqlite3``), or that of a node's configuration (TOML).

        Raises
        ------
        ConfigurationError
            ``path`` is neither, or the journal is of another version.
        StorageError
            It cannot be read.
        """
        found = path if is_journal(path) else _journal_of(path)
        journal = Journal(found)
        journal.require_version()
        return cls(journal)

    def records(self, sop_instance_uid: str) -> list[bytes]:
        """Copies under this UID, newest first: an object that was received twice has two."""
        query = (
            sa.select(record_table.c.record)
            .join(object_table, object_table.c.id == record_table.c.object_id)
            .where(object_table.c.sop_instance_uid == sop_instance_uid)
            .order_by(object_table.c.id.desc())
        )
        with self._journal.reading() as connection:
            return [bytes(record) for record in connection.scalars(query)]

    def uids(self) -> Iterator[str]:
        """SOP Instance UIDs that there are records of, each once."""
        query = (
            sa.select(object_table.c.sop_instance_uid)
            .join(record_table, object_table.c.id == record_table.c.object_id)
            .distinct()
            .order_by(object_table.c.sop_instance_uid)
        )
        yield from (uid for (uid,) in self._pages(query, object_table.c.sop_instance_uid) if is_uid(uid))

    def delivered(self) -> Iterator[Known]:
        """What the destination has confirmed, each UID once."""
        query = (
            sa.select(object_table.c.sop_instance_uid, sa.func.max(object_table.c.study_instance_uid))
            .where(object_table.c.state.in_(_DELIVERED))
            .group_by(object_table.c.sop_instance_uid)
            .order_by(object_table.c.sop_instance_uid)
        )
        for uid, study in self._pages(query, object_table.c.sop_instance_uid):
            yield Known(uid, study or "")

    def instances(self, study_instance_uid: str) -> list[Instance]:
        """What was delivered of a study, each UID once: for archives that cannot list it themselves."""
        columns = object_table.c
        query = (
            sa.select(
                columns.sop_instance_uid, sa.func.max(columns.series_instance_uid), sa.func.max(columns.sop_class_uid)
            )
            .where(columns.state.in_(_DELIVERED), columns.study_instance_uid == study_instance_uid)
            .group_by(columns.sop_instance_uid)
        )
        with self._journal.reading() as connection:
            rows = connection.execute(query).all()
        return [Instance(study_instance_uid, series or "", uid, sop_class) for uid, series, sop_class in rows]

    def _pages(self, query: sa.Select, key: sa.Column[str]) -> Iterator[sa.Row]:  # type: ignore[type-arg]
        """Rows in order of ``key``, a page at a time: a reader that stays keeps the journal's log from shrinking."""
        last = ""
        while True:
            with self._journal.reading() as connection:
                rows = connection.execute(query.where(key > last).limit(_ROWS)).all()
            yield from rows
            if len(rows) < _ROWS:
                return
            last = rows[-1][0]

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def is_journal(path: Path) -> bool:
    """Whether the file ``path`` is an SQLite database, as a node's journal is.

    Raises
    ------
    StorageError
        It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except IsADirectoryError:
        return False
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from None


def _journal_of(path: Path) -> Path:
    from iomt_crypt.node.config import load
    from iomt_crypt.node.spool import Spool

    if path.suffix != ".toml":
        raise ConfigurationError(
            f"{path} is neither a node's journal nor its configuration",
            hint="name journal.sqlite3 in the node's spool folder, or node.toml",
        )
    found = Spool(load(path).spool.folder).journal_path
    if not found.exists():
        raise StorageError(f"no journal at {found}", hint="the node has not run yet with this configuration")
    return found
