"""Pinned versions of a table, and its versions by time: ``/api/tables/DATABASE/TABLE/pins``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from addon.api.auth import Reader, Rooms, Writer
from addon.api.td.params import json_object
from addon.models.tables import TableRef
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.api.services import Services
    from addon.models.accounts import Identity
    from addon.warehouse.versions import PinInfo

router = APIRouter(prefix="/api/tables")


async def _found(database: str, table: str, identity: Identity, rooms: Services) -> TableRef:
    """Return the account's table, with what is acknowledged now in it."""
    ref = TableRef(identity.account.id, database, table)
    await rooms.ingestor.flush(ref.account_id)
    await asyncio.to_thread(rooms.catalog.table, ref)
    return ref


@router.get("/{database}/{table}/pins")
async def pins(database: str, table: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """List the table's pins by name."""
    ref = await _found(database, table, identity, rooms)
    return {"pins": [_shown(pin) for pin in await asyncio.to_thread(rooms.versions.pins, ref)]}


@router.post("/{database}/{table}/pins", status_code=201)
async def pin(database: str, table: str, request: Request, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Keep a version under {name}: the newest, or the one of {version}."""
    body = json_object(await request.body())
    name, version = body.get("name"), body.get("version")
    if not isinstance(name, str) or isinstance(version, bool) or not isinstance(version, int | None):
        raise InvalidInput(
            "A pin is made of a name and maybe a version.", hint='Send {"name": "month-end", "version": 12}.'
        )
    ref = await _found(database, table, identity, rooms)
    made = _shown(await asyncio.to_thread(rooms.versions.pin, ref, name, version))
    subject = f"{database}.{table} pin={name} version={made['version']}"
    await asyncio.to_thread(rooms.audit.record, "api", "table.pin", subject, ref.account_id)
    return made


@router.delete("/{database}/{table}/pins/{name}", status_code=204)
async def unpin(database: str, table: str, name: str, identity: Writer, rooms: Rooms) -> None:
    """Let a pinned version go."""
    ref = await _found(database, table, identity, rooms)
    await asyncio.to_thread(rooms.versions.unpin, ref, name)
    subject = f"{database}.{table} pin={name}"
    await asyncio.to_thread(rooms.audit.record, "api", "table.unpin", subject, ref.account_id)


def _shown(pin: PinInfo) -> dict[str, Any]:
    return {"name": pin.name, "version": pin.version, "rows": pin.rows, "bytes": pin.bytes}
