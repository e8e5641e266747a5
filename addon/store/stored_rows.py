"""Counting rows that became part of a table, within the transaction of what made them so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.store.catalog_rows import columns_text
from addon.store.database import insert_ignoring
from addon.store.drift import note_columns
from addon.store.meters import count_in
from addon.store.schema import TABLES, USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import Column, TableRef


def table_is(ref: TableRef) -> sa.ColumnElement[bool]:
    """Return the condition that names one table's row."""
    return sa.and_(
        TABLES.c.account_id == ref.account_id,
        TABLES.c.database_name == ref.database,
        TABLES.c.name == ref.table,
    )


def usage_month(now: float) -> str:
    """Return the UTC month that rows stored at ``now`` count towards, as ``2026-11``."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m")


def count_rows(
    connection: sa.Connection,
    ref: TableRef,
    columns: Sequence[Column],
    rows: int,
    *,
    last_time: int | None,
    now: float,
    size: int = 0,
) -> None:
    """Add ``rows`` to the table's count, to the account's month and to the hour's meter.

    Note the columns and the newest time. ``size`` is the rows' bytes, for the meter.
    """
    count_in(connection, ref, rows, size, now)
    note_columns(connection, ref, columns, now)
    newest: Any = TABLES.c.last_log_time
    if last_time is not None:
        newest = sa.case((newest >= last_time, newest), else_=last_time)
    values = {
        "row_count": TABLES.c.row_count + rows,
        "detected_schema": columns_text(columns),
        "last_log_time": newest,
        "imported_at": now,
        "updated_at": now,
    }
    connection.execute(sa.update(TABLES).where(table_is(ref)).values(values))
    month = usage_month(now)
    insert_ignoring(connection, USAGE, [{"account_id": ref.account_id, "month": month, "row_count": 0}])
    mine = sa.and_(USAGE.c.account_id == ref.account_id, USAGE.c.month == month)
    connection.execute(sa.update(USAGE).where(mine).values(row_count=USAGE.c.row_count + rows))
