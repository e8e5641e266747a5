"""What runs: list, restart, stop."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import app_named
from platform_core.api.ranges import paged
from platform_core.base.errors import UserError
from platform_core.models.apps import Account
from platform_core.models.missing import Missing

router = APIRouter()


@router.get("/apps/{app}/dynos")
async def list_dynos(request: Request, app: str, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the app's dynos."""
    found = await app_named(platform, caller, app)
    listed = [serializers.dyno(each, found) for each in platform.dynos.dynos(found.id)]
    return paged(request, listed, "name")


@router.post("/apps/{app}/dynos")
async def run_dyno(app: str, caller: AccountDep, platform: PlatformDep) -> None:
    """Tell whoever types ``heroku run`` what to do instead."""
    await app_named(platform, caller, app)
    raise UserError(
        "One-off dynos (`heroku run`) are not available in this version of the platform.",
        hint="For a task of each deploy write a `release:` line into the Procfile, for others a process type "
        "that you scale up and down.",
    )


@router.get("/apps/{app}/dynos/{name}")
async def dyno_info(app: str, name: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show one dyno."""
    found = await app_named(platform, caller, app)
    for each in platform.dynos.dynos(found.id):
        if name in {each.name, each.id}:
            return serializers.dyno(each, found)
    raise Missing("dyno", "Couldn't find that dyno.")


async def _restart(platform: Platform, caller: Account, app: str, selector: str | None) -> dict[str, Any]:
    found = await app_named(platform, caller, app)
    _check_selector(platform, found.id, selector)
    what = f" {selector}" if selector else ""
    platform.releases.announce(found.id, f"Restarting{what} by user {caller.email}")
    platform.background.start("restart", platform.dynos.restart(found.id, selector))
    return {}


async def _stop(platform: Platform, caller: Account, app: str, selector: str) -> dict[str, Any]:
    found = await app_named(platform, caller, app)
    _check_selector(platform, found.id, selector)
    platform.releases.announce(found.id, f"Stopping {selector} by user {caller.email}")
    platform.background.start("stop", platform.dynos.stop(found.id, selector))
    return {}


def _check_selector(platform: Platform, app_id: str, selector: str | None) -> None:
    # Answered at once, as a restart may take as long as the slowest process needs to stop.
    names = {name for each in platform.dynos.dynos(app_id) for name in (each.name, each.type, each.id)}
    if selector is not None and selector not in names:
        raise Missing("dyno", f"Couldn't find that dyno ({selector}).")


@router.delete("/apps/{app}/dynos", status_code=202)
async def restart_all(app: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Restart every dyno of the app."""
    return await _restart(platform, caller, app, None)


@router.delete("/apps/{app}/dynos/{name}", status_code=202)
async def restart_dyno(app: str, name: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Restart one dyno."""
    return await _restart(platform, caller, app, name)


@router.delete("/apps/{app}/formations/{process_type}", status_code=202)
async def restart_type(
    app: str, process_type: str, caller: AccountDep, platform: PlatformDep
) -> dict[str, Any]:
    """Restart the dynos of a process type."""
    return await _restart(platform, caller, app, process_type)


@router.post("/apps/{app}/dynos/{name}/actions/stop", status_code=202)
async def stop_dyno(app: str, name: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Stop one dyno."""
    return await _stop(platform, caller, app, name)


@router.post("/apps/{app}/formations/{process_type}/actions/stop", status_code=202)
async def stop_type(app: str, process_type: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Stop the dynos of a process type."""
    return await _stop(platform, caller, app, process_type)
