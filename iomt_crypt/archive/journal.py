"""What a run has done, in a file, so that the same command goes on where it stopped.

An entry is made when work on an object begins and changed when its outcome is known: the journal may lag behind the
work, and never runs ahead of it. SQLite with a write-ahead log survives a kill at any moment; after a loss of power the
last entries may be missing, and what they stood for is looked at again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from iomt_crypt.archive.operation import Operation, Outcome
from iomt_crypt.archive.store import is_url
from iomt_crypt.archive.tree import Found
from iomt_crypt.errors import ConfigurationError, StorageError

_VERSION = "1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object (
    location TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
"""
#: ``new``: never begun, or changed since; ``begun``: nobody knows how it ended
Standing = Literal["new", "begun", "done", "skipped", "failed"]


class Journal:
    """One operation's journal. Not for several threads, and held by one process at a time.

    Raises
    ------
    ConfigurationError
        The file is no journal, or another operation's.
    StorageError
        It cannot be made or written, or another run holds it.
    """

    def __init__(self, path: Path, operation: Operation, sources: Sequence[str]) -> None:
        self._path = path
        self._in_place: bool = getattr(operation, "in_place", False)
        try:
            # Paths may hold names of patients.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path}: the journal cannot be opened ({_reason(error)})") from error
        try:
            self._begin(operation.name, _key(operation, sources))
        except sqlite3.DatabaseError as error:
            self._db.close()
            if "locked" in str(error):
                raise StorageError(
                    f"{path}: the journal is in use by another run", hint="wait for it, or choose another --journal"
                ) from None
            if isinstance(error, sqlite3.OperationalError):
                raise self._failed(error) from error
            raise ConfigurationError(f"{path}: not a journal", hint="choose another file with --journal") from None
        except ConfigurationError:
            self._db.close()
            raise

    def _begin(self, name: str, key: str) -> None:
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN IMMEDIATE")
        mine = {"version": _VERSION, "operation": name, "key": key}
        there = dict(self._db.execute("SELECT name, value FROM run"))
        if there and there != mine:
            raise ConfigurationError(
                f"{self._path}: the journal of another run of {there.get('operation', '?')!r}: other sources, options "
                "or keys",
                hint="give the same command to go on with it, or choose another --journal",
            )
        self._db.executemany("INSERT OR REPLACE INTO run VALUES (?, ?)", mine.items())
        self._db.execute("COMMIT")

    def standing(self, found: Found) -> Standing:
        """What is known about an object; ``new`` when it is not the object it was."""
        query = "SELECT size, mtime_ns, state FROM object WHERE location = ?"
        row = self._db.execute(query, (_absolute(found.item.location),)).fetchone()
        if row is None or (row[2] != "begun" and row[:2] != (found.size, found.mtime_ns)):
            return "new"
        state: Standing = row[2]
        return state

    def begin(self, batch: Iterable[Found]) -> None:
        """Work on these begins. On disk, as far as a kill goes, when this returns."""
        self._write((_absolute(f.item.location), f.size, f.mtime_ns, "begun", "") for f in batch)

    def finish(self, batch: Sequence[Found], outcomes: Sequence[Outcome]) -> None:
        """The outcomes of a batch."""
        pairs = ((self._after(f, o), o) for f, o in zip(batch, outcomes, strict=True))
        self._write((_absolute(f.item.location), f.size, f.mtime_ns, o.state, o.reason) for f, o in pairs)

    def _after(self, found: Found, outcome: Outcome) -> Found:
        """An object as it is now: one that was changed in place may have grown, and kept its time."""
        if self._in_place and outcome.state == "done":
            with suppress(OSError):
                status = os.stat(found.item.location)  # noqa: PTH116 - a million of them
                if status.st_mtime_ns == found.mtime_ns:  # else somebody has put another one there
                    return replace(found, size=status.st_size)
        return found

    def _write(self, rows: Iterable[tuple[str, int, int, str, str]]) -> None:
        try:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"{self._path}: the journal cannot be written ({_reason(error)})")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()


def _key(operation: Operation, sources: Sequence[str]) -> str:
    parts = (operation.name, operation.fingerprint(), *map(_absolute, sources))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _absolute(location: str) -> str:
    """The same for the same object, whatever folder the command is given in; readable by SQLite whatever its bytes."""
    text = location if is_url(location) else os.path.abspath(location)  # noqa: PTH100 - 10 times as fast
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _reason(error: OSError | sqlite3.Error) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else str(error)
