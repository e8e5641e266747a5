"""Calls of Treasure Data's API that this version does not serve: their lists are empty, the rest says so.

Without this a client would report a missing path, and its user would look for a mistake of their own.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from addon.api.auth import Anyone
from platform_core.base.errors import InvalidInput

router = APIRouter(prefix="/v3")
_GROUPS = {
    "bulk_loads": "Data connectors",
    "export": "Exports",
    "result": "Result outputs",
    "user": "Users besides the account's own",
    "access_control": "Access policies",
    "partial_delete": "Partial deletes",
}
_HINTS = {
    "export": "Download the result of a query instead.",
    "result": "Download the job's result instead.",
}


@router.get("/bulk_loads")
def list_connectors(_identity: Anyone) -> list[Any]:
    """List data connectors: there are none."""
    return []


@router.get("/result/list")
def list_result_outputs(_identity: Anyone) -> dict[str, Any]:
    """List result outputs: there are none."""
    return {"results": []}


async def _refuse(request: Request, _identity: Anyone) -> None:
    """Say that a whole group of calls is not there yet."""
    group = request.url.path.split("/")[2]
    raise InvalidInput(f"{_GROUPS[group]} are not supported by this version.", hint=_HINTS.get(group))


for _group in _GROUPS:
    router.add_api_route(f"/{_group}", _refuse, methods=["POST"])
    router.add_api_route(f"/{_group}/{{rest:path}}", _refuse, methods=["GET", "POST", "PUT", "DELETE"])
