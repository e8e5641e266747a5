"""A table's columns with their history: when each appeared and widened, and how many values did not fit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from addon.api.auth import Reader, Rooms
from addon.models.catalog import ColumnDrift
from addon.models.tables import TableRef

if TYPE_CHECKING:
    from addon.models.tables import Column

router = APIRouter(prefix="/api/tables")


@router.get("/{database}/{table}/schema")
async def schema(database: str, table: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Show the columns, ``time`` first, with what is acknowledged now in them.

    ``since`` is null for a column older than the record of dates. ``other_misfits`` counts the values that
    have no column: keys beyond the limit, keys that differ from a column in case only, repeated keys.
    """
    ref = TableRef(identity.account.id, database, table)
    await rooms.ingestor.flush(ref.account_id)
    info = await asyncio.to_thread(rooms.catalog.table, ref)
    drift = await asyncio.to_thread(rooms.catalog.drift, ref)
    names = {column.name for column in info.detected}
    others = {name: one.misfits for name, one in sorted(drift.items()) if name not in names and one.misfits}
    return {
        "database": database,
        "table": table,
        "rows": info.rows,
        "columns": [_shown(column, drift.get(column.name, ColumnDrift())) for column in info.detected],
        "other_misfits": others,
    }


def _shown(column: Column, drift: ColumnDrift) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "original": column.original or column.name,
        "since": _time(drift.types[0][1]) if drift.types else None,
        "history": [{"type": kind, "since": _time(at)} for kind, at in drift.types],
        "misfits": drift.misfits,
        "first_misfit": _time(drift.first_misfit),
        "last_misfit": _time(drift.last_misfit),
    }


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
