"""The version of the journal's tables: make them, bring old ones up to date, refuse what is of another version."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from iomt_crypt.errors import ConfigurationError
from iomt_crypt.node.entry import SCHEMA_VERSION, metadata
from iomt_crypt.node.entry import object_table as _object
from iomt_crypt.node.entry import version_table as _version

_BUSY_TIMEOUT_MS = 15_000
_CHECKPOINT_PAGES = 256  # of 4 KiB: the log stays well below what the spool sets aside for a full disk
#: Of each connection.
PRAGMAS = (
    f"busy_timeout={_BUSY_TIMEOUT_MS}",
    "journal_mode=WAL",
    "foreign_keys=ON",
    f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
    f"journal_size_limit={_CHECKPOINT_PAGES << 12}",
)


def make(connection: sa.Connection, path: Path) -> None:
    """Make the tables that are missing; a journal of an earlier version gets the columns that came since.

    Raises
    ------
    ConfigurationError
        The journal is of another version.
    """
    metadata.create_all(connection)
    found = _found(connection)
    if found is None:
        connection.execute(_version.insert().values(schema_version=SCHEMA_VERSION))
    elif 1 <= found < SCHEMA_VERSION:
        _add_missing_columns(connection)
        connection.execute(_version.update().values(schema_version=SCHEMA_VERSION))
    elif found != SCHEMA_VERSION:
        raise _other_version(found, path)


def require(connection: sa.Connection, path: Path) -> None:
    """Check that the journal is of this version. Raises ConfigurationError when it is not."""
    found = _found(connection)
    if found != SCHEMA_VERSION:
        raise _other_version(found, path)


def _found(connection: sa.Connection) -> int | None:
    return connection.execute(sa.select(_version.c.schema_version)).scalar_one_or_none()


def _add_missing_columns(connection: sa.Connection) -> None:
    there = {column["name"] for column in sa.inspect(connection).get_columns(_object.name)}
    for column in _object.columns:
        if column.name not in there:
            definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {_object.name} ADD COLUMN {definition}")


def _other_version(found: int | None, path: Path) -> ConfigurationError:
    hint = (
        "use the version of iomt-crypt that wrote it, or move the journal away: "
        "the objects in the spool are then taken up again"
    )
    if found is not None and 1 <= found < SCHEMA_VERSION:
        hint = "stop the node and start it with this version: it brings the journal up to date"
    return ConfigurationError(
        f"journal {path} has schema version {found}, this package needs {SCHEMA_VERSION}", hint=hint
    )
