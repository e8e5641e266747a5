"""Database calls."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from addon.api.auth import Anyone, Master, Rooms, Writer
from addon.api.td.fresh import FRESH
from addon.api.td.serializers import database_json
from platform_core.base.errors import NotFound

router = APIRouter(prefix="/v3/database")


@router.get("/list", dependencies=[FRESH])
def list_databases(identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """List the account's databases."""
    return {"databases": [database_json(info) for info in rooms.catalog.databases(identity.account.id)]}


@router.get("/show/{database}", dependencies=[FRESH])
def show_database(database: str, identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """Show one database."""
    for info in rooms.catalog.databases(identity.account.id):
        if info.name == database:
            return database_json(info)
    raise NotFound(f"Database {database[:140]!r} does not exist.")


@router.post("/create/{database}")
def create_database(database: str, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Create a database."""
    rooms.catalog.create_database(identity.account.id, database)
    return {"database": database}


@router.post("/delete/{database}")
def delete_database(database: str, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Delete a database, its tables and their files."""
    for ref, place in rooms.catalog.delete_database(identity.account.id, database):
        rooms.drops.finish(ref, place)
    return {"database": database}
