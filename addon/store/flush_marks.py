"""Which flushes the counters of the tables hold: the newest segment of each writer, moved with the counters.

A flush commits to the table first and to the counters then. A crash between the two repeats the segment; the
mark tells whether its rows were counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.store.database import insert_ignoring
from addon.store.schema import FLUSHES

if TYPE_CHECKING:
    from addon.models.tables import TableRef


def first_count(connection: sa.Connection, ref: TableRef, writer: str, segment: int) -> bool:
    """Move the writer's mark to ``segment``; False when it is there or beyond, so that nothing is to count.

    The mark's row is locked until the transaction ends.
    """
    key: dict[str, Any] = {
        "account_id": ref.account_id,
        "database_name": ref.database,
        "table_name": ref.table,
        "writer": writer,
    }
    same = sa.and_(*(FLUSHES.c[name] == value for name, value in key.items()))
    ahead = sa.update(FLUSHES).where(same, FLUSHES.c.segment < segment).values(segment=segment)
    if connection.execute(ahead).rowcount:
        return True
    return insert_ignoring(connection, FLUSHES, [{**key, "segment": segment}]) == 1


def forget_marks(connection: sa.Connection, account_id: int, database: str, table: str | None = None) -> None:
    """Drop the marks of a deleted table, or of a database with all its tables."""
    gone = sa.and_(FLUSHES.c.account_id == account_id, FLUSHES.c.database_name == database)
    if table is not None:
        gone = sa.and_(gone, FLUSHES.c.table_name == table)
    connection.execute(sa.delete(FLUSHES).where(gone))
