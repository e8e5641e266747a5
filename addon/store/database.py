"""Two ways into the metadata database: short write transactions, and reads that take no lock."""

from __future__ import annotations

from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from platform_core.base.database import database_url, migrate, open_database
from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

MIGRATIONS = Path(__file__).parent / "migrations"
_PRIVATE = 0o600


class Database:
    """The add-on's metadata database.

    Every write is one short transaction. Reads run outside of one: on SQLite a transaction starts by taking
    the write lock (so that none fails half-way), and a look-up of a key must not wait for that.
    """

    def __init__(self, url: str) -> None:
        """Open the database at ``url``; see :meth:`migrate`."""
        _keep_private(database_url(url))
        self._writer = open_database(url)
        self._reader = open_database(url, isolation_level="AUTOCOMMIT")
        if self._writer.dialect.name == "sqlite":
            sa.event.listen(self._writer, "connect", _overwrite_deleted)

    @property
    def shared(self) -> bool:
        """Whether several processes may write it: a database server, not a file."""
        return self._writer.dialect.name != "sqlite"

    @property
    def engine(self) -> sa.Engine:
        """The engine that writes; for migrations and their tests."""
        return self._writer

    def migrate(self) -> None:
        """Bring the schema to the newest revision."""
        migrate(self._writer, MIGRATIONS)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that commits when the block ends and rolls back when it raises.

        Raises:
            Unavailable: a database server is away or busy; whether the transaction happened is not known.
        """
        with _connected(self._writer) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for single SELECTs; each sees what was committed before it.

        Raises:
            Unavailable: a database server is away or busy.
        """
        with _connected(self._reader) as connection:
            yield connection

    def forget_old_pages(self) -> None:
        """Empty SQLite's write-ahead log, which still holds the pages that deleted rows were on.

        While somebody reads, a part may stay until the next call; PostgreSQL vacuums by itself.
        """
        if self._writer.dialect.name == "sqlite":
            with self.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def _connected(engine: sa.Engine) -> Iterator[sa.Connection]:
    try:
        connection = engine.connect()
    except sa.exc.TimeoutError as error:
        raise Unavailable(
            "Every connection to the metadata database is in use.", hint="Retry after 2 seconds."
        ) from error
    with connection:
        yield connection


def _keep_private(url: sa.URL) -> None:
    """Make an SQLite file its owner's only; the files that SQLite makes beside it get the same mode."""
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        path = Path(url.database)
        path.touch(_PRIVATE)
        path.chmod(_PRIVATE)


def _overwrite_deleted(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Have SQLite write zeros over what is deleted: a deprovisioned account's queries must not stay there."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


class Turn(IntEnum):
    """What processes on one PostgreSQL server do one after the other; the values are advisory lock keys."""

    AUDIT = 0x536C_0001
    CLAIM_JOB = 0x536C_0002
    PROVISION = 0x536C_0003


def take_turn(connection: sa.Connection, turn: Turn) -> None:
    """Wait until no other transaction is in its ``turn``; it ends with the transaction.

    On SQLite every write transaction has the database to itself anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(int(turn))))


def insert_ignoring(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> int:
    """Insert rows, skipping those whose key is there already; return how many went in."""
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  (each deployment loads one dialect)

        postgres = postgresql.insert(table).values(rows).on_conflict_do_nothing()
        return connection.execute(postgres).rowcount
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415  (as above)

    lite = sqlite.insert(table).values(rows).on_conflict_do_nothing()
    return connection.execute(lite).rowcount
