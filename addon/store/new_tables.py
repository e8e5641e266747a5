"""Databases and tables that come into being, within a caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.store.database import insert_ignoring
from addon.store.schema import DATABASES, TABLES
from addon.store.table_moves import free_place

if TYPE_CHECKING:
    import sqlalchemy as sa

    from addon.models.tables import TableRef


def insert_database(connection: sa.Connection, account_id: int, name: str, now: float) -> int:
    """Insert a database; return 0 when it is there already."""
    row = {"account_id": account_id, "name": name, "created_at": now, "updated_at": now}
    return insert_ignoring(connection, DATABASES, [row])


def insert_table(connection: sa.Connection, ref: TableRef, now: float) -> int:
    """Insert a table at a place where none ever was; return 0 when there is one of the name already."""
    row = {
        "account_id": ref.account_id,
        "database_name": ref.database,
        "name": ref.table,
        "row_count": 0,
        "declared_schema": "[]",
        "detected_schema": "[]",
        "detect_schema": True,
        "include_v": True,
        "delete_protected": False,
        "storage": free_place(connection, ref),
        "created_at": now,
        "updated_at": now,
    }
    return insert_ignoring(connection, TABLES, [row])
