"""The whole metadata database, copied row by row: so a backup is the same for every kind of database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import sqlalchemy as sa

from addon.store.database import Database
from addon.store.schema import LEASES, METADATA, NODES, UPLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ROWS = 1_000
_MOMENTARY = (NODES, LEASES)
"""Who lives, and whose turn it is: true of the installation that was copied, and of the moment only."""


def save(database: Database, target: Path) -> None:
    """Write a consistent copy of the database to a new SQLite file, while others use it."""
    if database.engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(target)) as copy, closing(_raw(database)) as source:
            source.backup(copy)
        return
    copied = Database(f"sqlite:///{target}")
    copied.migrate()
    _copy(database, copied)
    copied.close()


def is_empty(database: Database) -> bool:
    """Tell whether a database, its schema made, holds nothing that a copy would have to replace."""
    with database.read() as connection:
        return not any(_count(table, connection) for table in _kept())


def free_uploads(database: Database, batch_ids: Sequence[str]) -> None:
    """Forget that upload ids are settled whose batches are still in a log, for a process on its own.

    A fleet settles an id before its batch is flushed, one process after it, and takes a settled one in its
    log for a copy.
    """
    with database.write() as connection:
        for start in range(0, len(batch_ids), _ROWS):
            logged = UPLOADS.c.batch_id.in_(list(batch_ids[start : start + _ROWS]))
            connection.execute(sa.delete(UPLOADS).where(logged))


def load(source: Path, database: Database) -> None:
    """Fill an empty database (its schema made) with the rows of a file that ``save`` wrote.

    Raises:
        ValueError: the database holds rows already.
    """
    saved = Database(f"sqlite:///{source}")
    saved.migrate()
    try:
        _copy(saved, database)
    finally:
        saved.close()


def sound(database: Database) -> str:
    """Return what SQLite finds wrong with its file; empty when nothing, or for another kind of database."""
    if database.engine.dialect.name != "sqlite":
        return ""
    with database.read() as connection:
        found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(5)")]
    return "" if found == ["ok"] else "; ".join(found)


def _raw(database: Database) -> sqlite3.Connection:
    return sqlite3.connect(str(database.engine.url.database))


def _copy(source: Database, target: Database) -> None:
    # SQLite reads from one snapshot within any transaction, PostgreSQL with this level.
    level = "SERIALIZABLE" if source.engine.dialect.name == "sqlite" else "REPEATABLE READ"
    with (
        source.engine.connect().execution_options(isolation_level=level) as reading,
        reading.begin(),
        target.write() as writing,
    ):
        for table in _kept():
            _copy_table(table, reading, writing)


def _kept() -> list[sa.Table]:
    return [table for table in METADATA.sorted_tables if table not in _MOMENTARY]


def _count(table: sa.Table, connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _copy_table(table: sa.Table, reading: sa.Connection, writing: sa.Connection) -> None:
    if _count(table, writing):
        raise ValueError(f"the table {table.name} is not empty")
    rows = reading.execute(sa.select(table)).mappings()
    for part in rows.partitions(_ROWS):
        writing.execute(sa.insert(table), [dict(row) for row in part])
    _raise_sequence(table, writing)


def _raise_sequence(table: sa.Table, writing: sa.Connection) -> None:
    """Let PostgreSQL's next generated key be above the copied ones."""
    key = table.autoincrement_column
    if key is None or writing.dialect.name != "postgresql":
        return
    names = {"table": table.name, "key": key.name}
    sequence = writing.execute(sa.text("select pg_get_serial_sequence(:table, :key)"), names).scalar_one()
    newest = writing.execute(sa.select(sa.func.max(key))).scalar_one()
    if sequence is not None and newest is not None:
        writing.execute(
            sa.text("select setval(:sequence, :newest)"), {"sequence": sequence, "newest": newest}
        )
