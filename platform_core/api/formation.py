"""The formation: quantities and sizes of process types."""

import re
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
from platform_core.base.errors import InvalidInput
from platform_core.models.apps import DYNO_SIZES, App, Process, dyno_size
from platform_core.models.missing import Missing
from platform_core.store import formation as rows

router = APIRouter()
_QUANTITY = re.compile(r"([+-]?)(\d{1,4})")
MAX_QUANTITY = 100
"""Dynos of one type."""


class ProcessChange(BaseModel):
    """A change to a process type. The CLI sends quantities as text, deltas with their sign."""

    quantity: int | str | None = None
    size: str | None = None


class NamedChange(ProcessChange):
    """A change that says which process type it is for."""

    type: str


class Changes(BaseModel):
    """What ``ps:scale`` and ``ps:type`` send."""

    updates: list[NamedChange]


def new_quantity(wanted: int | str | None, now: int) -> int:
    """Return the quantity that ``"3"``, ``3``, ``"+1"`` or ``"-1"`` makes of ``now``.

    Raises:
        InvalidInput: it is not a number, or out of range.
    """
    if wanted is None:
        return now
    match = _QUANTITY.fullmatch(str(wanted).strip())
    if match is None:
        raise InvalidInput(f"Quantity {wanted!r} is not a number.", hint="Write e.g. web=2 or web+1.")
    sign, digits = match.groups()
    value = max(0, now + int(sign + digits)) if sign else int(digits)
    if value > MAX_QUANTITY:
        raise InvalidInput(f"Cannot scale to {value}: the limit is {MAX_QUANTITY} dynos of a type.")
    return value


def new_size(wanted: str | None, now: str) -> str:
    """Return a dyno size by its proper name.

    Raises:
        InvalidInput: there is no such size.
    """
    size = dyno_size(wanted or now)
    if size is None:
        raise InvalidInput(f"No such size as {wanted}.", hint=f"There are: {', '.join(DYNO_SIZES)}.")
    return size.name


@router.get("/dyno-sizes")
async def dyno_sizes(caller: AccountDep) -> list[dict[str, Any]]:
    """List dyno sizes."""
    del caller
    return serializers.dyno_sizes()


@router.get("/apps/{app}/formation")
async def formation(request: Request, app: str, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the process types of what runs now."""
    found = await app_named(platform, caller, app)
    listed = await platform.store.run(rows.list_formation, found.id)
    return paged(request, [serializers.process(each, found) for each in listed], "type")


@router.get("/apps/{app}/formation/{process_type}")
async def process_info(
    app: str, process_type: str, caller: AccountDep, platform: PlatformDep
) -> dict[str, Any]:
    """Show one process type."""
    found = await app_named(platform, caller, app)
    listed = await platform.store.run(rows.list_formation, found.id)
    return serializers.process(_find(listed, process_type), found)


@router.patch("/apps/{app}/formation")
async def change_formation(
    app: str, body: Changes, caller: AccountDep, platform: PlatformDep
) -> list[dict[str, Any]]:
    """Scale or resize process types; answers with those that were named."""
    found = await app_named(platform, caller, app)
    changed = await _change(platform, found, body.updates, caller.email)
    return [serializers.process(each, found) for each in changed]


@router.patch("/apps/{app}/formation/{process_type}")
async def change_process(
    app: str, process_type: str, body: ProcessChange, caller: AccountDep, platform: PlatformDep
) -> dict[str, Any]:
    """Scale or resize one process type."""
    found = await app_named(platform, caller, app)
    update = NamedChange(type=process_type, quantity=body.quantity, size=body.size)
    changed = await _change(platform, found, [update], caller.email)
    return serializers.process(changed[0], found)


def _find(listed: list[Process], process_type: str) -> Process:
    for each in listed:
        if each.type == process_type:
            return each
    raise Missing("formation", f"Couldn't find that process type ({process_type}).")


async def _change(platform: Platform, app: App, updates: list[NamedChange], email: str) -> list[Process]:
    def write(connection: sa.Connection) -> list[Process]:
        for update in updates:
            now = _find(rows.list_formation(connection, app.id), update.type)
            quantity = new_quantity(update.quantity, now.quantity)
            rows.scale(connection, app.id, now.type, quantity, new_size(update.size, now.size))
        listed = rows.list_formation(connection, app.id)
        return [_find(listed, name) for name in dict.fromkeys(update.type for update in updates)]

    changed = await platform.store.run(write)
    scaled = " ".join(f"{each.type}@{each.quantity}:{each.size}" for each in changed)
    platform.releases.announce(app.id, f"Scaled to {scaled} by user {email}")
    platform.background.start("reconcile", platform.dynos.reconcile(app.id))
    return changed
