"""Bulk import calls. A short perform is held until it ends, for clients poll every five seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from addon.api.auth import Anyone, Rooms, Writer
from addon.api.td.fresh import FRESH
from addon.api.td.params import Parameters
from addon.api.td.serializers import bulk_json
from addon.bulk.errors import no_error_records
from addon.models.bulk import Action, BulkState
from addon.models.tables import TableRef
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from addon.bulk.files import SessionFiles
    from addon.models.bulk import BulkSession

router = APIRouter(prefix="/v3/bulk_import")
_HOLD_PERFORM_S = 0.4
_HOLD_COMMIT_S = 10.0
_PRIORITIES = range(-2, 3)
_MODES = frozenset({"", "append"})
_PIECE = 1 << 18


@router.post("/create/{name}/{database}/{table}", dependencies=[FRESH])
def create(  # noqa: PLR0917  (a route: what the framework hands over)
    name: str, database: str, table: str, identity: Writer, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Create a session for a table."""
    mode = params.text("mode")
    if mode not in _MODES:
        raise InvalidInput(
            f"The mode {mode[:40]!r} is not supported.",
            hint="Append; or delete the table first, for a load that replaces it.",
        )
    session = rooms.bulk.create(TableRef(identity.account.id, database, table), name)
    return {"bulk_import": name, "name": name, "database": session.database, "table": session.table}


@router.get("/list")
def list_sessions(identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """List the account's sessions, newest first."""
    return {"bulk_imports": [bulk_json(one) for one in rooms.bulk.store.sessions(identity.account.id)]}


@router.get("/show/{name}")
def show(name: str, identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """Show a session."""
    return bulk_json(rooms.bulk.store.get(identity.account.id, name))


@router.get("/list_parts/{name}")
def list_parts(name: str, identity: Anyone, rooms: Rooms) -> dict[str, Any]:
    """List the names of a session's parts."""
    session = rooms.bulk.store.get(identity.account.id, name)
    return {"bulk_import": name, "parts": [part.name for part in rooms.bulk.store.parts(session.id)]}


@router.post("/delete_part/{name}/{part}")
def delete_part(name: str, part: str, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Delete a part."""
    rooms.bulk.delete_part(identity.account.id, name, part)
    return {"bulk_import": name, "part": part}


@router.post("/freeze/{name}")
def freeze(name: str, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Close a session for parts."""
    return _done(rooms.bulk.store.freeze(identity.account.id, name))


@router.post("/unfreeze/{name}")
def unfreeze(name: str, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Open a session for parts again; what was performed is dropped."""
    return _done(rooms.bulk.store.unfreeze(identity.account.id, name))


@router.post("/perform/{name}")
async def perform(name: str, identity: Writer, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Queue the job that makes a session ready."""
    account = identity.account
    await rooms.quotas.check(account)
    priority = params.integer("priority", 0, _PRIORITIES)
    await rooms.runner.check_room(account.id)
    job = await asyncio.to_thread(rooms.bulk.begin_perform, account, name, priority)
    rooms.runner.wake()
    await rooms.runner.wait_final(account.id, job.id, _HOLD_PERFORM_S)
    return {"bulk_import": name, "name": name, "job_id": str(job.id)}


@router.post("/commit/{name}")
async def commit(name: str, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Make a session's rows part of its table, all at once; what takes longer goes on after the answer."""
    account = identity.account
    session = await asyncio.to_thread(rooms.bulk.store.get, account.id, name)
    if session.state is BulkState.READY and session.performed is not None:
        stored = sum(file.size for file in session.performed.files)
        await rooms.quotas.check(account, rows=session.performed.valid_records, bytes_=stored)
    return _done(await rooms.bulk.commit(account.id, name, _HOLD_COMMIT_S))


@router.post("/delete/{name}")
def delete(name: str, identity: Writer, rooms: Rooms) -> dict[str, Any]:
    """Delete a session; what it committed stays."""
    rooms.bulk.delete(identity.account.id, name)
    return {"bulk_import": name, "name": name}


@router.get("/error_records/{name}")
def error_records(name: str, identity: Writer, rooms: Rooms) -> Response:
    """Return the records that could not be rows, as gzipped msgpack maps, each with the reason."""
    session = rooms.bulk.store.check(identity.account.id, name, Action.ERROR_RECORDS)
    done = session.performed
    kind = "application/x-msgpack+gzip"
    if done is None or done.errors_file is None:
        return Response(no_error_records(), media_type=kind)
    return StreamingResponse(_pieces(rooms.bulk.files, session, done.errors_file), media_type=kind)


def _pieces(files: SessionFiles, session: BulkSession, file: str) -> Iterator[bytes]:
    with files.reading(session, [file]) as (path,), path.open("rb") as source:
        while piece := source.read(_PIECE):
            yield piece


def _done(session: BulkSession) -> dict[str, Any]:
    return {"bulk_import": session.name, "name": session.name, "status": session.state.value}
