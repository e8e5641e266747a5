"""Renaming, swapping and moving tables: names change in one transaction, the files stay where they are."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.moves import TableMove, default_place
from addon.models.tables import TableRef, check_name
from addon.store.dropped import is_dropped, note_dropped
from addon.store.schema import COLUMN_HISTORY, COLUMN_MISFITS, DATABASES, FLUSHES, TABLE_MOVES, TABLES
from addon.store.stored_rows import table_is
from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.store.catalog import SqlCatalog
    from addon.store.database import Database
    from platform_core.base.clock import Clock

KEEP_S = 30 * 86_400.0
"""A move is known for this long; a batch waits in a log for seconds."""
_BY_NAME = (COLUMN_HISTORY, COLUMN_MISFITS, FLUSHES)
"""What else is kept by a table's name and goes along; upload ids and bulk import sessions stay behind."""


class TableMoves:
    """Changes the names of tables."""

    def __init__(self, database: Database, catalog: SqlCatalog, clock: Clock) -> None:
        """Change ``database``; ``catalog`` is told to forget what it remembers."""
        self._database = database
        self._catalog = catalog
        self._clock = clock

    def rename(self, old: TableRef, new: TableRef, *, overwrite: bool = False) -> str | None:
        """Give a table another name, or another database; return the place of a table that it replaced.

        The caller drops what is at that place.

        Raises:
            InvalidInput: the name breaks the rule.
            NotFound: there is no such table, or no such database to move it to.
            Conflict: there is a table of that name, or one that is protected from deletion.
        """
        check_name("table", new.table)
        if old == new:
            raise InvalidInput("The table has this name already.")
        with self._database.write() as connection:
            place = _place(connection, old)
            _require_database(connection, new)
            replaced = self._replaced(connection, new, overwrite=overwrite)
            _change(connection, old, new, place)
            self._note(connection, (old, new))
        self._catalog.forget_cached()
        return replaced

    def _replaced(self, connection: sa.Connection, ref: TableRef, *, overwrite: bool) -> str | None:
        row = connection.execute(sa.select(TABLES).where(table_is(ref))).one_or_none()
        if row is None:
            return None
        if not overwrite or row.delete_protected:
            raise Conflict(
                f"Table '{ref.database}.{ref.table}' exists already.",
                hint="Choose another name, or swap the two."
                if not row.delete_protected
                else "It is protected from deletion.",
            )
        place = _place(connection, ref)
        connection.execute(sa.delete(TABLES).where(table_is(ref)))
        for table in _BY_NAME:
            connection.execute(sa.delete(table).where(_named(table, ref)))
        note_dropped(connection, ref.account_id, [place], self._clock.now())
        return place

    def swap(self, one: TableRef, other: TableRef) -> None:
        """Exchange the names of two tables.

        Raises:
            NotFound: one of them is not there.
            InvalidInput: they are the same.
        """
        if one == other:
            raise InvalidInput("A table cannot be swapped with itself.")
        between = TableRef(one.account_id, one.database, f"{uuid.uuid4().hex}.swap")
        with self._database.write() as connection:
            first, second = _place(connection, one), _place(connection, other)
            _change(connection, one, between, first)
            _change(connection, other, one, second)
            _change(connection, between, other, first)
            self._note(connection, (one, other), (other, one))
        self._catalog.forget_cached()

    def _note(self, connection: sa.Connection, *pairs: tuple[TableRef, TableRef]) -> None:
        now = self._clock.now()
        connection.execute(sa.delete(TABLE_MOVES).where(TABLE_MOVES.c.moved_at < now - KEEP_S))
        for old, new in pairs:
            row = {
                "account_id": old.account_id,
                "database_name": old.database,
                "name": old.table,
                "new_database": new.database,
                "new_name": new.table,
                "moved_at": now,
            }
            connection.execute(sa.insert(TABLE_MOVES).values(row))


def moves(connection: sa.Connection, account_ids: frozenset[int]) -> list[TableMove]:
    """Return the moves of some accounts' tables, in the order of their times."""
    mine = sa.select(TABLE_MOVES).where(TABLE_MOVES.c.account_id.in_(sorted(account_ids)))
    rows = connection.execute(mine.order_by(TABLE_MOVES.c.moved_at, TABLE_MOVES.c.id)).all()
    return [
        TableMove(
            TableRef(row.account_id, row.database_name, row.name),
            TableRef(row.account_id, row.new_database, row.new_name),
            row.moved_at,
        )
        for row in rows
    ]


def free_place(connection: sa.Connection, ref: TableRef) -> str | None:
    """Return where a new table's files shall lie: None for its name's own folder, unless another has it."""
    taken = sa.select(TABLES.c.id).where(
        TABLES.c.account_id == ref.account_id, TABLES.c.storage == default_place(ref)
    )
    place = default_place(ref)
    if connection.execute(taken).first() is None and not is_dropped(connection, ref.account_id, place):
        return None
    return f"{default_place(ref)}.{uuid.uuid4().hex[:12]}"


def _place(connection: sa.Connection, ref: TableRef) -> str:
    row = connection.execute(sa.select(TABLES.c.storage).where(table_is(ref)).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"Table '{ref.database[:140]}.{ref.table[:140]}' does not exist.")
    return row.storage or default_place(ref)


def _require_database(connection: sa.Connection, ref: TableRef) -> None:
    same = sa.and_(DATABASES.c.account_id == ref.account_id, DATABASES.c.name == ref.database)
    if connection.execute(sa.select(DATABASES.c.name).where(same)).first() is None:
        raise NotFound(f"Database {ref.database[:140]!r} does not exist.", hint="Create it first.")


def _change(connection: sa.Connection, old: TableRef, new: TableRef, place: str) -> None:
    storage = None if place == default_place(new) else place
    named = {"database_name": new.database, "name": new.table, "storage": storage}
    connection.execute(sa.update(TABLES).where(table_is(old)).values(named))
    for table in _BY_NAME:
        values: dict[str, Any] = {"database_name": new.database, "table_name": new.table}
        connection.execute(sa.delete(table).where(_named(table, new)))
        connection.execute(sa.update(table).where(_named(table, old)).values(values))


def _named(table: sa.Table, ref: TableRef) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.account_id == ref.account_id,
        table.c.database_name == ref.database,
        table.c.table_name == ref.table,
    )
