"""Log drains."""

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import app_named
from platform_core.api.ranges import paged
from platform_core.base.errors import Forbidden, InvalidInput
from platform_core.base.ids import new_uuid
from platform_core.logplex.delivery import check_url
from platform_core.models.apps import App
from platform_core.models.logs import Drain
from platform_core.models.missing import Missing
from platform_core.store import drains as rows
from platform_core.store.addons import get_addon

router = APIRouter()
MAX_DRAINS = 6
"""Drains of an app that users add, as Logplex counts them."""
MAX_URL = 2048


class NewDrain(BaseModel):
    """What ``drains:add`` sends."""

    url: str


def check_drain_url(url: str) -> str:
    """Return ``url`` when lines can be sent there.

    Raises:
        InvalidInput: they cannot.
    """
    if len(url) > MAX_URL:
        raise InvalidInput(f"Url is longer than {MAX_URL} characters.")
    check_url(url)
    return url


def _names(connection: sa.Connection, drains: list[Drain]) -> dict[str, str]:
    return {each.addon_id: get_addon(connection, each.addon_id).name for each in drains if each.addon_id}


@router.get("/apps/{app}/log-drains")
async def list_drains(request: Request, app: str, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the app's drains."""
    found = await app_named(platform, caller, app)
    drains = await platform.store.run(rows.list_drains, found.id)
    names = await platform.store.run(_names, drains)
    return paged(request, [serializers.drain(each, names.get(each.addon_id or "")) for each in drains], "id")


@router.post("/apps/{app}/log-drains", status_code=201)
async def add_drain(app: str, body: NewDrain, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Add a drain."""
    found = await app_named(platform, caller, app)
    drain = Drain(new_uuid(), found.id, f"d.{new_uuid()}", check_drain_url(body.url))

    def write(connection: sa.Connection) -> None:
        own = [each for each in rows.list_drains(connection, found.id) if each.addon_id is None]
        if len(own) >= MAX_DRAINS:
            raise InvalidInput(f"You have already added {MAX_DRAINS} drains.", hint="Remove one first.")
        rows.add_drain(connection, drain, platform.clock.now())

    await platform.store.run(write)
    await _apply(platform, found)
    return serializers.drain(drain, None)


async def _apply(platform: Platform, app: App) -> None:
    platform.logs.set_drains(app.id, await platform.store.run(rows.list_drains, app.id))


# A drain may be named by its URL, percent-encoded in the path: ``:path`` takes the decoded slashes too.
@router.get("/apps/{app}/log-drains/{drain:path}")
async def drain_info(app: str, drain: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show a drain by its URL, token or id."""
    found = await _named(platform, await app_named(platform, caller, app), drain)
    names = await platform.store.run(_names, [found])
    return serializers.drain(found, names.get(found.addon_id or ""))


@router.delete("/apps/{app}/log-drains/{drain:path}")
async def remove_drain(app: str, drain: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Remove a drain by its URL, token or id."""
    owner = await app_named(platform, caller, app)
    found = await _named(platform, owner, drain)
    if found.addon_id is not None:
        raise Forbidden("This drain belongs to an add-on.", hint="Detach or destroy the add-on.")
    await platform.store.run(rows.delete_drain, found.id)
    await _apply(platform, owner)
    return serializers.drain(found, None)


async def _named(platform: Platform, app: App, drain: str) -> Drain:
    for each in await platform.store.run(rows.list_drains, app.id):
        if drain in {each.url, each.token, each.id}:
            return each
    raise Missing("log_drain", "No such drain found.")
