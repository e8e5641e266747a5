"""Table calls."""

from __future__ import annotations

import json
from typing import Any

import msgpack
from fastapi import APIRouter, Response

from addon.api.auth import Anyone, Master, Reader, Rooms, Writer
from addon.api.td.params import Parameters, Params
from addon.api.td.serializers import schema_text, table_json
from addon.models.catalog import DeclaredColumn
from addon.models.tables import TableRef
from addon.query.results import rows
from platform_core.base.errors import InvalidInput

router = APIRouter(prefix="/v3/table")
_MAX_TAIL = 10_000
_DEFAULT_TAIL = 80
_MAX_COLUMNS = 4_096


@router.get("/list/{database}")
def list_tables(database: str, identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """List a database's tables."""
    account_id = identity.account.id
    found = rooms.catalog.tables(account_id, database)
    shown = [
        table_json(info, rooms.warehouse.snapshot(TableRef(account_id, database, info.name)))
        for info in found
    ]
    return {"database": database, "tables": shown}


@router.get("/show/{database}/{table}")
def show_table(database: str, table: str, identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """Show one table."""
    ref = TableRef(identity.account.id, database, table)
    return table_json(rooms.catalog.table(ref), rooms.warehouse.snapshot(ref))


@router.post("/create/{database}/{table}")
@router.post("/create/{database}/{table}/log")
def create_table(
    database: str, table: str, identity: Writer, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Create a table."""
    options = _options(params)
    rooms.catalog.create_table(TableRef(identity.account.id, database, table), **options)
    return {"database": database, "table": table, "type": "log"}


@router.post("/delete/{database}/{table}")
def delete_table(database: str, table: str, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Delete a table and its files."""
    ref = TableRef(identity.account.id, database, table)
    rooms.catalog.delete_table(ref)
    rooms.warehouse.drop(ref)
    return {"database": database, "table": table, "type": "log"}


@router.post("/update/{database}/{table}")
@router.post("/update-schema/{database}/{table}")
def update_table(
    database: str, table: str, identity: Writer, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Change a table's declared schema or settings."""
    ref = TableRef(identity.account.id, database, table)
    rooms.catalog.update_table(ref, **_options(params))
    return {
        "database": database,
        "table": table,
        "type": "log",
        "schema": schema_text(rooms.catalog.table(ref)),
    }


@router.post("/append-schema/{database}/{table}")
def append_schema(
    database: str, table: str, identity: Writer, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Add columns to a table's declared schema."""
    ref = TableRef(identity.account.id, database, table)
    added = {column.name: column for column in parse_schema(params.text("schema", "[]"))}
    kept = [column for column in rooms.catalog.table(ref).declared if column.name not in added]
    rooms.catalog.update_table(ref, declared=[*kept, *added.values()])
    return {
        "database": database,
        "table": table,
        "type": "log",
        "schema": schema_text(rooms.catalog.table(ref)),
    }


@router.post("/swap/{database}/{table}/{other}")
@router.post("/rename/{database}/{table}/{other}")
def move_table(database: str, table: str, other: str, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Refuse: not there yet."""
    rooms.catalog.table(TableRef(identity.account.id, database, table))
    raise InvalidInput(
        f"Tables cannot be swapped or renamed yet ({table[:140]!r}, {other[:140]!r}).",
        hint="Import into a new table, and delete the old one.",
    )


@router.get("/tail/{database}/{table}")
async def tail_table(
    database: str, table: str, identity: Reader, rooms: Rooms, params: Parameters
) -> Response:
    """Return the newest rows as msgpack maps."""
    rooms.catalog.table(TableRef(identity.account.id, database, table))
    count = max(0, min(params.integer("count", _DEFAULT_TAIL), _MAX_TAIL))
    sql = f'SELECT * FROM "{database}"."{table}" ORDER BY time DESC LIMIT {count}'  # noqa: S608  (names of a table that exists)
    result = await rooms.query.run(identity, sql, database, "duckdb")
    names = [name for name, _ in result.columns]
    packer = msgpack.Packer()
    body = b"".join(packer.pack(dict(zip(names, row, strict=True))) for row in rows(result.body))
    return Response(body, media_type="application/x-msgpack")


def _options(params: Params) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in ("include_v", "detect_schema", "delete_protected"):
        value = params.flag(name)
        if value is not None:
            options[name] = value
    if params.optional("expire_days") is not None:
        options["expire_days"] = params.integer("expire_days", 0) or None
    if params.optional("schema") is not None:
        options["declared"] = parse_schema(params.text("schema"))
    return options


def parse_schema(text: str) -> list[DeclaredColumn]:
    """Parse a schema: JSON text ``[[name, type(, alias)], …]``.

    Raises:
        InvalidInput: it is none.
    """
    try:
        entries = json.loads(text)
        columns = [DeclaredColumn(*map(str, entry)) for entry in entries if 2 <= len(entry) <= 3]  # noqa: PLR2004
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(
            "The schema does not parse.", hint='Send [["name","type"], …] as JSON text.'
        ) from error
    names = [column.name for column in columns]
    if len(columns) != len(entries) or len(set(names)) != len(names) or len(names) > _MAX_COLUMNS:
        raise InvalidInput("The schema has malformed, repeated or too many columns.")
    return columns
