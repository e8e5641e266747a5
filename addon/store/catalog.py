"""The catalog: which databases and tables an account has, and what is known of each."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.accounts import AccountState
from addon.models.catalog import ColumnDrift, DatabaseInfo, DeclaredColumn, TableInfo
from addon.models.moves import Located, TableMove, default_place
from addon.models.tables import Column, TableRef, check_name
from addon.store.catalog_rows import declared_text, table_info
from addon.store.drift import count_misfits, drift_of, forget_drift
from addon.store.dropped import note_dropped
from addon.store.flush_marks import first_count, forget_marks
from addon.store.located import at_place, by_ids, by_name, following
from addon.store.new_tables import insert_database, insert_table
from addon.store.recent import KEEP_S, Recent
from addon.store.schema import (
    ACCOUNTS,
    COLUMN_HISTORY,
    COLUMN_MISFITS,
    DATABASES,
    DROPPED_PLACES,
    FLUSHES,
    METERS,
    TABLE_MOVES,
    TABLES,
    UPLOADS,
    USAGE,
)
from addon.store.stored_rows import count_rows, table_is, usage_month
from addon.store.table_moves import moves
from platform_core.base.errors import Conflict, Forbidden, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from addon.store.database import Database
    from platform_core.base.clock import Clock


_OF_ACCOUNT = (
    *(TABLES, DATABASES, UPLOADS, FLUSHES, USAGE),
    *(COLUMN_HISTORY, COLUMN_MISFITS, TABLE_MOVES, DROPPED_PLACES, METERS),
)


def _database_is(account_id: int, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(DATABASES.c.account_id == account_id, DATABASES.c.name == name)


class SqlCatalog:
    """Implements :class:`addon.models.ingest.Catalog`, and what the APIs list and change."""

    def __init__(self, database: Database, clock: Clock, keep_s: float = KEEP_S) -> None:
        """Read and write ``database``; which tables exist is looked up again after ``keep_s`` seconds.

        Where other processes change the database too, nothing may be kept: ``keep_s`` is 0.
        """
        self._database = database
        self._clock = clock
        self._tables: Recent[Located | None] = Recent(clock, keep_s)

    def forget_cached(self) -> None:
        """Look up anew which tables there are, and where; called after a table got another name."""
        self._tables.forget()

    def place(self, ref: TableRef) -> str:
        """Return where the table's files lie within the account's folder, there or not."""
        found = self.remembered(ref) or self.locate(ref)
        return default_place(ref) if found is None else found.place

    def remembered(self, ref: TableRef) -> Located | None:
        """Return the table when it was there a moment ago, without waiting for the database."""
        return self._tables.known(ref)

    def locate(self, ref: TableRef) -> Located | None:
        """Return the table as it is now, None without one."""
        return self._tables.look_up(ref, lambda: self._look_up(ref))

    def _look_up(self, ref: TableRef) -> Located | None:
        with self._database.read() as connection:
            return by_name(connection, ref)

    def locate_ids(self, ids: Collection[int]) -> Mapping[int, Located]:
        """Return those of the tables that are still there, all as of one moment, by number."""
        if not ids:
            return {}
        with self._database.read() as connection:
            return by_ids(connection, ids)

    # What ingest needs

    def ensure_table(self, ref: TableRef) -> Located:
        """Create the database and the table where they are missing; return the table.

        Raises:
            Forbidden: the account was deprovisioned; what came in late must not bring its data back.
        """
        while (found := self.remembered(ref) or self.locate(ref)) is None:
            state = sa.select(ACCOUNTS.c.state).where(ACCOUNTS.c.id == ref.account_id)
            with self._database.write() as connection:
                if connection.execute(state).scalar_one_or_none() == AccountState.DEPROVISIONED.value:
                    raise Forbidden(f"The account {ref.account_id} was deprovisioned.")
                insert_database(connection, ref.account_id, ref.database, self._clock.now())
                insert_table(connection, ref, self._clock.now())
            self.forget_cached()
        return found

    def table_exists(self, ref: TableRef) -> bool:
        """Tell whether the table is there, or was a moment ago by the doing of another process."""
        # A table that another process has just made must not be missed: only a yes is taken from memory.
        return (self.remembered(ref) or self.locate(ref)) is not None

    def following(self, number: int, most: int) -> list[Located]:
        """Return at most ``most`` tables of all accounts whose numbers are above ``number``, in order."""
        with self._database.read() as connection:
            return following(connection, number, most)

    def moves(self, account_ids: frozenset[int]) -> list[TableMove]:
        """Return which tables of the accounts got another name lately, in the order of time."""
        with self._database.read() as connection:
            return moves(connection, account_ids)

    def record_flush(  # noqa: PLR0917 - the facts of one commit
        self,
        ref: TableRef,
        columns: Sequence[Column],
        rows: int,
        last_time: int | None,
        mark: tuple[str, int] | None = None,
        misfits: Mapping[str, int] = MappingProxyType({}),
        place: str | None = None,
        size: int = 0,
    ) -> None:
        """Note what a flush committed: the columns now in the table, the rows added, their newest time.

        ``mark`` is (writer, segment): a segment is counted once, however often its flush is repeated.
        ``misfits`` are the values that did not fit, by column. ``place`` is where the rows went: they count
        for the table that lies there, whatever its name is by now. When it was deleted meanwhile, the place
        is to be emptied again. ``size`` is the rows' bytes, for the meters.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            at = ref if place is None else at_place(connection, place, ref)
            if at is None:
                note_dropped(connection, ref.account_id, [str(place)], now)
            elif mark is None or first_count(connection, at, *mark):
                count_rows(connection, at, columns, rows, last_time=last_time, now=now, size=size)
                count_misfits(connection, at, misfits, now)

    def record_removal(self, ref: TableRef, rows: int) -> None:
        """Note that rows of a table were deleted, or have expired; the month's count of stored rows stays."""
        left = sa.case((TABLES.c.row_count > rows, TABLES.c.row_count - rows), else_=0)
        values = {"row_count": left, "updated_at": self._clock.now()}
        with self._database.write() as connection:
            connection.execute(sa.update(TABLES).where(table_is(ref)).values(values))

    def drift(self, ref: TableRef) -> dict[str, ColumnDrift]:
        """Return how the table's columns came to be, as far as it is known, by column."""
        with self._database.read() as connection:
            return drift_of(connection, ref)

    # Databases

    def databases(self, account_id: int) -> list[DatabaseInfo]:
        """Return the account's databases by name."""
        totals = (
            sa.select(
                DATABASES,
                sa.func.count(TABLES.c.id).label("table_total"),
                sa.func.coalesce(sa.func.sum(TABLES.c.row_count), 0).label("row_total"),
            )
            .outerjoin(
                TABLES,
                sa.and_(
                    TABLES.c.account_id == DATABASES.c.account_id,
                    TABLES.c.database_name == DATABASES.c.name,
                ),
            )
            .where(DATABASES.c.account_id == account_id)
            .group_by(*DATABASES.c)
            .order_by(DATABASES.c.name)
        )
        with self._database.read() as connection:
            rows = connection.execute(totals).all()
        return [
            DatabaseInfo(row.name, row.table_total, int(row.row_total), row.created_at, row.updated_at)
            for row in rows
        ]

    def database_exists(self, account_id: int, name: str) -> bool:
        """Tell whether the account has the database."""
        statement = sa.select(DATABASES.c.name).where(_database_is(account_id, name))
        with self._database.read() as connection:
            return connection.execute(statement).first() is not None

    def require_database(self, account_id: int, name: str) -> None:
        """Check that the account has the database.

        Raises:
            NotFound: it has not.
        """
        if not self.database_exists(account_id, name):
            raise NotFound(
                f"Database {name[:140]!r} does not exist.",
                hint=f"It comes into being with its first row, or by POST /v3/database/create/{name[:140]}.",
            )

    def create_database(self, account_id: int, name: str) -> None:
        """Create a database.

        Raises:
            InvalidInput: the name breaks the rule.
            Conflict: it exists.
        """
        check_name("database", name)
        with self._database.write() as connection:
            if insert_database(connection, account_id, name, self._clock.now()) == 0:
                raise Conflict(f"Database {name!r} exists already.")

    def delete_database(self, account_id: int, name: str) -> list[tuple[TableRef, str]]:
        """Delete a database with its tables, and return these with their places, which the caller drops.

        Raises:
            NotFound: there is no such database.
            Conflict: one of its tables is protected from deletion.
        """
        tables = self.tables(account_id, name)
        protected = [table.name for table in tables if table.delete_protected]
        if protected:
            raise Conflict(
                f"Database {name!r} holds tables that are protected from deletion: {', '.join(protected)}.",
                hint="Update them with delete_protected=false first.",
            )
        within = sa.and_(TABLES.c.account_id == account_id, TABLES.c.database_name == name)
        uploads = sa.and_(UPLOADS.c.account_id == account_id, UPLOADS.c.database_name == name)
        with self._database.write() as connection:
            gone = sa.delete(TABLES).where(within).returning(TABLES.c.name, TABLES.c.storage)
            rows = connection.execute(gone).all()
            refs = [(TableRef(account_id, name, row.name), row.storage) for row in rows]
            dropped = [(ref, storage or default_place(ref)) for ref, storage in refs]
            note_dropped(connection, account_id, [place for _, place in dropped], self._clock.now())
            connection.execute(sa.delete(UPLOADS).where(uploads))
            forget_marks(connection, account_id, name)
            forget_drift(connection, account_id, name)
            connection.execute(sa.delete(DATABASES).where(_database_is(account_id, name)))
        self.forget_cached()
        return dropped

    # Tables

    def tables(self, account_id: int, database: str) -> list[TableInfo]:
        """Return the tables of a database by name.

        Raises:
            NotFound: there is no such database.
        """
        self.require_database(account_id, database)
        statement = (
            sa.select(TABLES)
            .where(TABLES.c.account_id == account_id, TABLES.c.database_name == database)
            .order_by(TABLES.c.name)
        )
        with self._database.read() as connection:
            return [table_info(row) for row in connection.execute(statement)]

    def table_refs(self, account_id: int) -> list[TableRef]:
        """Return every table of the account."""
        statement = (
            sa.select(TABLES.c.database_name, TABLES.c.name)
            .where(TABLES.c.account_id == account_id)
            .order_by(TABLES.c.database_name, TABLES.c.name)
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return [TableRef(account_id, row.database_name, row.name) for row in rows]

    def expire_days(self, account_id: int) -> dict[TableRef, int | None]:
        """Return every table of the account with its limit of days; None where it has none."""
        statement = sa.select(TABLES.c.database_name, TABLES.c.name, TABLES.c.expire_days).where(
            TABLES.c.account_id == account_id
        )
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return {TableRef(account_id, row.database_name, row.name): row.expire_days for row in rows}

    def row_counts(self) -> dict[TableRef, int]:
        """Return every table of every account, with the rows that were counted into it."""
        statement = sa.select(TABLES.c.account_id, TABLES.c.database_name, TABLES.c.name, TABLES.c.row_count)
        with self._database.read() as connection:
            return {TableRef(*row[:3]): int(row[3]) for row in connection.execute(statement)}

    def table(self, ref: TableRef) -> TableInfo:
        """Return one table.

        Raises:
            NotFound: there is no such database or table.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(TABLES).where(table_is(ref))).one_or_none()
        if row is None:
            self.require_database(ref.account_id, ref.database)
            raise NotFound(f"Table '{ref.database}.{ref.table[:140]}' does not exist.")
        return table_info(row)

    def create_table(self, ref: TableRef, **options: Any) -> None:
        """Create a table in an existing database; ``options`` are those of :meth:`update_table`.

        Raises:
            InvalidInput: the name breaks the rule.
            NotFound: there is no such database.
            Conflict: the table exists.
        """
        check_name("table", ref.table)
        self.require_database(ref.account_id, ref.database)
        with self._database.write() as connection:
            if insert_table(connection, ref, self._clock.now()) == 0:
                raise Conflict(f"Table '{ref.database}.{ref.table}' exists already.")
        self.forget_cached()
        if options:
            self.update_table(ref, **options)

    def update_table(
        self,
        ref: TableRef,
        *,
        declared: Sequence[DeclaredColumn] | None = None,
        **settings: bool | int | None,
    ) -> None:
        """Change the declared schema or the settings expire_days, include_v, detect_schema, delete_protected.

        Raises:
            NotFound: there is no such table.
        """
        self.table(ref)
        values: dict[str, Any] = {**settings, "updated_at": self._clock.now()}
        if declared is not None:
            values["declared_schema"] = declared_text(declared)
        with self._database.write() as connection:
            connection.execute(sa.update(TABLES).where(table_is(ref)).values(values))

    def delete_table(self, ref: TableRef) -> str:
        """Delete a table's entry and its upload ids; return its place, where the caller drops its files.

        Raises:
            NotFound: there is no such table.
            Conflict: it is protected from deletion.
        """
        if self.table(ref).delete_protected:
            raise Conflict(
                f"Table '{ref.database}.{ref.table}' is protected from deletion.",
                hint="Update it with delete_protected=false first.",
            )
        uploads = sa.and_(
            UPLOADS.c.account_id == ref.account_id,
            UPLOADS.c.database_name == ref.database,
            UPLOADS.c.table_name == ref.table,
        )
        with self._database.write() as connection:
            gone = sa.delete(TABLES).where(table_is(ref)).returning(TABLES.c.storage)
            storage = connection.execute(gone).scalar_one_or_none()
            place = str(storage or default_place(ref))
            note_dropped(connection, ref.account_id, [place], self._clock.now())
            connection.execute(sa.delete(UPLOADS).where(uploads))
            forget_marks(connection, ref.account_id, ref.database, ref.table)
            forget_drift(connection, ref.account_id, ref.database, ref.table)
        self.forget_cached()
        return place

    # Accounts

    def rows_this_month(self, account_id: int) -> int:
        """Return how many rows the account stored in the current UTC month."""
        month = usage_month(self._clock.now())
        statement = sa.select(USAGE.c.row_count).where(
            USAGE.c.account_id == account_id, USAGE.c.month == month
        )
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one_or_none() or 0)

    def forget_account(self, account_id: int) -> None:
        """Delete every entry of a deprovisioned account."""
        with self._database.write() as connection:
            for table in _OF_ACCOUNT:
                connection.execute(sa.delete(table).where(table.c.account_id == account_id))
        self.forget_cached()
