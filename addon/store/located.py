"""Which table a name, a number or a place stands for at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.moves import Located, default_place
from addon.models.tables import TableRef
from addon.store.schema import TABLES
from addon.store.stored_rows import table_is

if TYPE_CHECKING:
    from collections.abc import Collection

_COLUMNS = (TABLES.c.id, TABLES.c.account_id, TABLES.c.database_name, TABLES.c.name, TABLES.c.storage)


def _located(row: Any) -> Located:
    ref = TableRef(row.account_id, row.database_name, row.name)
    return Located(row.id, ref, row.storage or default_place(ref))


def by_name(connection: sa.Connection, ref: TableRef) -> Located | None:
    """Return the table of this name."""
    row = connection.execute(sa.select(*_COLUMNS).where(table_is(ref))).one_or_none()
    return None if row is None else _located(row)


def by_ids(connection: sa.Connection, ids: Collection[int]) -> dict[int, Located]:
    """Return the tables of these numbers that are still there; one statement, so all as of one moment."""
    rows = connection.execute(sa.select(*_COLUMNS).where(TABLES.c.id.in_(sorted(ids)))).all()
    return {row.id: _located(row) for row in rows}


def following(connection: sa.Connection, number: int, most: int) -> list[Located]:
    """Return the tables with the next numbers, at most so many."""
    after = sa.select(*_COLUMNS).where(TABLES.c.id > number).order_by(TABLES.c.id).limit(most)
    return [_located(row) for row in connection.execute(after)]


def at_place(connection: sa.Connection, place: str, guess: TableRef) -> TableRef | None:
    """Return the name of the account's table at ``place``, and keep it until the transaction ends.

    ``guess`` is the name that it had a moment ago.
    """
    of_name = sa.select(*_COLUMNS).where(table_is(guess)).with_for_update()
    row = connection.execute(of_name).one_or_none()
    if row is not None and _located(row).place == place:
        return guess
    database, _, table = place.partition("/")
    own = sa.and_(TABLES.c.storage.is_(None), TABLES.c.database_name == database, TABLES.c.name == table)
    there = sa.and_(TABLES.c.account_id == guess.account_id, sa.or_(TABLES.c.storage == place, own))
    row = connection.execute(sa.select(*_COLUMNS).where(there).with_for_update()).one_or_none()
    return None if row is None else _located(row).ref
