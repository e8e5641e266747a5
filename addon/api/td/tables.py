"""Table calls."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import msgpack
from fastapi import APIRouter, Response

from addon.api.auth import Anyone, Master, Reader, Rooms, Writer
from addon.api.services import Services
from addon.api.td.fresh import FRESH
from addon.api.td.params import Parameters, Params
from addon.api.td.serializers import schema_text, table_json
from addon.models.catalog import DeclaredColumn
from addon.models.tables import TableRef
from addon.query.results import rows
from addon.query.shown import column_kind
from platform_core.base.errors import InvalidInput

router = APIRouter(prefix="/v3/table")
_MAX_TAIL = 10_000
_DEFAULT_TAIL = 80
_MAX_COLUMNS = 4_096
_SCHEMA_HINT = 'Send [["name","type"], …] as JSON text.'
_COLUMN = re.compile(r"^[a-z0-9_]{1,255}$")
_IMPLIED = frozenset({"time", "v"})
_EXPIRE_DAYS = range(36_501)


@router.get("/list/{database}", dependencies=[FRESH])
def list_tables(database: str, identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """List a database's tables."""
    account_id = identity.account.id
    found = rooms.catalog.tables(account_id, database)
    shown = [
        table_json(info, rooms.warehouse.snapshot(TableRef(account_id, database, info.name)))
        for info in found
    ]
    return {"database": database, "tables": shown}


@router.get("/show/{database}/{table}", dependencies=[FRESH])
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
    rooms.drops.finish(ref, rooms.catalog.delete_table(ref))
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


@router.post("/change_database/{database}/{table}")
async def change_database(
    database: str, table: str, identity: Master, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Move a table to another database; its files stay where they are."""
    other = params.text("dest_database_name")
    if not other:
        raise InvalidInput("The destination is missing.", hint="Send it as the parameter dest_database_name.")
    old = TableRef(identity.account.id, database, table)
    await _rename(rooms, old, TableRef(old.account_id, other, table), overwrite=False)
    return {"database": other, "table": table, "type": "log"}


@router.post("/rename/{database}/{table}/{other}")
async def rename_table(  # noqa: PLR0917  (a route: what the framework hands over)
    database: str, table: str, other: str, identity: Master, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Give a table another name, in place of a table of that name with ``overwrite``."""
    old = TableRef(identity.account.id, database, table)
    new = TableRef(old.account_id, database, other)
    await _rename(rooms, old, new, overwrite=bool(params.flag("overwrite")))
    return {"database": database, "table": other, "type": "log"}


@router.post("/swap/{database}/{table}/{other}")
async def swap_tables(
    database: str, table: str, other: str, identity: Master, rooms: Rooms
) -> dict[str, Any]:
    """Exchange the names of two tables; queries that run keep what they read."""
    account_id = identity.account.id
    one, two = TableRef(account_id, database, table), TableRef(account_id, database, other)
    await rooms.ingestor.flush(account_id)  # what was accepted before belongs to the names of before
    await asyncio.to_thread(rooms.moves.swap, one, two)
    return {"database": database, "table1": table, "table2": other}


async def _rename(rooms: Services, old: TableRef, new: TableRef, *, overwrite: bool) -> None:
    await rooms.ingestor.flush(old.account_id)
    replaced = await asyncio.to_thread(rooms.moves.rename, old, new, overwrite=overwrite)
    if replaced is not None:
        await asyncio.to_thread(rooms.drops.finish, new, replaced)


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
        options["expire_days"] = params.integer("expire_days", 0, _EXPIRE_DAYS) or None
    if params.optional("schema") is not None:
        options["declared"] = parse_schema(params.text("schema"))
    return options


def parse_schema(text: str) -> list[DeclaredColumn]:
    """Parse a schema: JSON text ``[[name, type(, alias)], …]``; ``time``, which every table has, is left out.

    Raises:
        InvalidInput: it is none; the message says what is wrong with which column.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The schema does not parse.", hint=_SCHEMA_HINT) from error
    if not isinstance(entries, list) or len(entries) > _MAX_COLUMNS:
        raise InvalidInput(f"A schema is a list of at most {_MAX_COLUMNS} columns.", hint=_SCHEMA_HINT)
    columns = [_declared(entry) for entry in entries]
    shown = [column.alias or column.name for column in columns]
    names = [column.name for column in columns]
    if len(set(names)) != len(names) or len(set(shown)) != len(shown):
        raise InvalidInput(
            "The schema names a column twice.", hint="Give each a name and an alias of its own."
        )
    return [column for column in columns if column.name not in _IMPLIED]


def _declared(entry: Any) -> DeclaredColumn:
    if not isinstance(entry, list) or not 2 <= len(entry) <= 3 or not all(isinstance(x, str) for x in entry):  # noqa: PLR2004
        raise InvalidInput(f"The schema's entry {str(entry)[:80]} is malformed.", hint=_SCHEMA_HINT)
    name, kind, *alias = entry
    for one in (name, *alias):
        if not _COLUMN.match(one):
            raise InvalidInput(
                f"The column name {one[:140]!r} is not valid.", hint="Use 1 to 255 of a-z, 0-9 and _."
            )
    if column_kind(kind) is None:
        raise InvalidInput(
            f"The column {name[:140]} has the unknown type {kind[:40]!r}.",
            hint="Use int, long, float, double, boolean, string, array<…> or map<…>.",
        )
    return DeclaredColumn(name, kind, *alias)
