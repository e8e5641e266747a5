"""Our own routes: a query in one call, and what a forward sender is configured with."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from addon.api.auth import Master, Reader, Rooms
from addon.api.td.params import Parameters
from addon.query.results import json_row, rows
from addon.query.service import QueryResult
from platform_core.base.errors import InvalidInput

router = APIRouter(prefix="/sluice/v1")
_ARROW = "application/vnd.apache.arrow.stream"


@router.post("/query")
async def query(request: Request, identity: Reader, rooms: Rooms, params: Parameters) -> Response:
    """Run {sql, database, dialect}; the rows come as JSON, or as an Arrow IPC stream when Accept says so."""
    sql, database = params.text("sql"), params.text("database", "logs")
    if not sql.strip():
        raise InvalidInput("The query is empty.", hint='Send {"sql": "SELECT …", "database": "…"}.')
    dialect = params.text("dialect", "trino")
    if _ARROW in request.headers.get("accept", ""):
        arrow = await rooms.query.run(identity, sql, database, dialect, form="arrow")
        headers = {"sluice-rows": str(arrow.rows), **_warned(arrow)}
        return Response(arrow.body, media_type=_ARROW, headers=headers)
    result = await rooms.query.run(identity, sql, database, dialect)
    columns = orjson.dumps([{"name": name, "type": kind} for name, kind in result.columns])
    body = await asyncio.to_thread(lambda: b",".join(json_row(row) for row in rows(result.body)))
    content = b'{"columns":%b,"rows":[%b]}' % (columns, body)
    return Response(content, media_type="application/json", headers=_warned(result))


def _warned(result: QueryResult) -> dict[str, str]:
    """Say in a header what may be missing because a node is away."""
    return {"sluice-warning": " ".join(result.warnings)} if result.warnings else {}


@router.get("/forward")
async def forward_settings(identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Show what a Fluentd forward sender is configured with: user name and shared key."""
    account = identity.account.id
    return {"username": str(account), "shared_key": rooms.forward_key(account)}
