"""How tables drift: when a column appeared or widened, and how many values did not fit it.

Written within the transaction that counts a flush's rows, which happens once for each segment and table, so a
repeat after a crash neither moves a date nor counts a value twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.catalog import ColumnDrift
from addon.store.database import insert_ignoring
from addon.store.schema import COLUMN_HISTORY, COLUMN_MISFITS, TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.tables import Column, TableRef

_TABLES = (COLUMN_HISTORY, COLUMN_MISFITS)


def _table_key(ref: TableRef) -> dict[str, Any]:
    return {"account_id": ref.account_id, "database_name": ref.database, "table_name": ref.table}


def _is(table: sa.Table, key: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == value for name, value in key.items()))


def note_columns(connection: sa.Connection, ref: TableRef, columns: Sequence[Column], now: float) -> None:
    """Date the columns and types that the table is not known to have; call it before they are stored."""
    known = sa.select(TABLES.c.detected_schema).where(
        TABLES.c.account_id == ref.account_id,
        TABLES.c.database_name == ref.database,
        TABLES.c.name == ref.table,
    )
    text = connection.execute(known).scalar_one_or_none() or "[]"
    before = {tuple(entry[:2]) for entry in json.loads(text)}
    rows = [
        {**_table_key(ref), "column_name": column.name, "type": column.type, "at": now}
        for column in columns
        if (column.name, column.type) not in before
    ]
    if rows:
        insert_ignoring(connection, COLUMN_HISTORY, rows)


def count_misfits(connection: sa.Connection, ref: TableRef, misfits: Mapping[str, int], now: float) -> None:
    """Add to the columns' counts of values that did not fit."""
    for name, values in sorted(misfits.items()):
        key = {**_table_key(ref), "column_name": name}
        insert_ignoring(connection, COLUMN_MISFITS, [{**key, "values": 0, "first_at": now, "last_at": now}])
        more = {"values": COLUMN_MISFITS.c["values"] + values, "last_at": now}
        connection.execute(sa.update(COLUMN_MISFITS).where(_is(COLUMN_MISFITS, key)).values(more))


def drift_of(connection: sa.Connection, ref: TableRef) -> dict[str, ColumnDrift]:
    """Return what is known of each column that has a date or a misfit."""
    found: dict[str, ColumnDrift] = {}
    dated = sa.select(COLUMN_HISTORY).where(_is(COLUMN_HISTORY, _table_key(ref)))
    # A long column widens to double, so when both have one date, that is their order.
    for row in connection.execute(dated.order_by(COLUMN_HISTORY.c.at, COLUMN_HISTORY.c.type.desc())):
        found.setdefault(row.column_name, ColumnDrift()).types.append((row.type, row.at))
    counted = sa.select(COLUMN_MISFITS).where(_is(COLUMN_MISFITS, _table_key(ref)))
    for entry in connection.execute(counted).mappings():
        one = found.setdefault(entry["column_name"], ColumnDrift())
        one.misfits, one.first_misfit, one.last_misfit = entry["values"], entry["first_at"], entry["last_at"]
    return found


def forget_drift(connection: sa.Connection, account_id: int, database: str, table: str | None = None) -> None:
    """Drop what is known of a deleted table, or of a database with all its tables."""
    for kept in _TABLES:
        gone = sa.and_(kept.c.account_id == account_id, kept.c.database_name == database)
        if table is not None:
            gone = sa.and_(gone, kept.c.table_name == table)
        connection.execute(sa.delete(kept).where(gone))
