"""Add-ons: list, create, show, change plan, rename, destroy."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from platform_core.addons.resolve import resolve_addons
from platform_core.addons.service import Order
from platform_core.api import serializers
from platform_core.api.auth import AccountDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import addon_named, app_named, own_app
from platform_core.api.ranges import paged
from platform_core.api.sso import sso_url
from platform_core.base.errors import InvalidInput, NotFound
from platform_core.models.addons import AddOn, Service
from platform_core.models.apps import Account
from platform_core.store.addons import list_addons
from platform_core.store.apps import list_apps
from platform_core.store.attachments import attachments_of_addon, attachments_of_apps

router = APIRouter()


class Named(BaseModel):
    """A plan or attachment by its name."""

    name: str | None = None


class NewAddOn(BaseModel):
    """What ``addons:create`` sends; ``apps:create --addons`` sends the plan as text."""

    plan: Named | str
    name: str | None = None
    attachment: Named | None = None
    config: dict[str, str | bool | int | float | None] | None = None
    confirm: str | None = None


class AddOnChange(BaseModel):
    """What ``addons:upgrade`` and ``addons:rename`` send."""

    plan: Named | str | None = None
    name: str | None = None


class Resolve(BaseModel):
    """What to look for, and where."""

    addon: str
    app: str | None = None
    addon_service: str | None = None


def _option(value: str | float | bool | None) -> str:
    if isinstance(value, bool) or value is None:
        return "false" if value is False else "true"
    return str(value)


def _plan_name(plan: Named | str) -> str:
    name = plan if isinstance(plan, str) else plan.name
    if not name:
        raise InvalidInput("The plan is missing.", hint="Name one, e.g. service:plan.")
    return name


def _service(platform: Platform, addon: AddOn) -> Service | None:
    try:
        return platform.catalog.get(addon.service)
    except NotFound:
        return None


async def shown(platform: Platform, caller: Account, addon: AddOn) -> dict[str, Any]:
    """Return an add-on as the API shows it to ``caller``."""
    attachments = await platform.store.run(attachments_of_addon, addon.id)
    names = sorted(name for each in attachments if each.app_id == addon.app_id for name in each.config_vars)
    url = await sso_url(platform, addon, caller, addon.app_name)
    return serializers.addon(addon, _service(platform, addon), url, names)


async def _all_shown(
    request: Request, platform: Platform, caller: Account, addons: list[AddOn]
) -> JSONResponse:
    return paged(request, [await shown(platform, caller, each) for each in addons], "name")


def _mine(connection: sa.Connection, caller: Account) -> list[AddOn]:
    return list_addons(connection, app_ids=[app.id for app in list_apps(connection, caller.id)])


def _of_app(connection: sa.Connection, app_id: str) -> list[AddOn]:
    owned = {addon.id: addon for addon in list_addons(connection, app_ids=[app_id])}
    attached = {each.addon.id: each.addon for each in attachments_of_apps(connection, [app_id])}
    return list({**owned, **attached}.values())


@router.get("/addons")
async def list_all(request: Request, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the add-ons of all the caller's apps."""
    return await _all_shown(request, platform, caller, await platform.store.run(_mine, caller))


@router.get("/apps/{app}/addons")
async def list_of_app(request: Request, app: str, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List what the app owns or has attached."""
    found = await app_named(platform, caller, app)
    return await _all_shown(request, platform, caller, await platform.store.run(_of_app, found.id))


@router.get("/apps/{app}/addons/{addon}")
async def info_in_app(app: str, addon: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show an add-on that the app has."""
    return await shown(platform, caller, await addon_named(platform, caller, addon, app))


@router.post("/apps/{app}/addons", status_code=201)
async def create(app: str, body: NewAddOn, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Provision an add-on and attach it."""
    found = await app_named(platform, caller, app)
    order = Order(
        plan=_plan_name(body.plan),
        name=body.name or None,
        attachment_name=(body.attachment.name if body.attachment else None) or None,
        options={name: _option(value) for name, value in (body.config or {}).items()},
        confirm=body.confirm,
    )
    made = await platform.addons.create(found, order, caller.email)
    return await shown(platform, caller, made)


@router.patch("/apps/{app}/addons/{addon}")
@router.patch("/addons/{addon}")
async def change(
    addon: str, body: AddOnChange, caller: AccountDep, platform: PlatformDep, app: str | None = None
) -> dict[str, Any]:
    """Change the plan or the name."""
    found = await addon_named(platform, caller, addon, app)
    if body.name is not None and body.name != found.name:
        found = await platform.addons.rename(found, body.name)
    if body.plan is not None:
        found = await platform.addons.change_plan(found, _plan_name(body.plan), caller.email)
    return await shown(platform, caller, found)


@router.delete("/apps/{app}/addons/{addon}")
async def destroy(
    app: str,
    addon: str,
    caller: AccountDep,
    platform: PlatformDep,
    force: Annotated[bool, Body(embed=True)] = False,
) -> dict[str, Any]:
    """Deprovision an add-on."""
    found = await addon_named(platform, caller, addon)
    owner = await platform.store.run(own_app, caller, app)
    if owner.id != found.app_id:
        raise InvalidInput(f"{found.name} is owned by {found.app_name}.", hint="Detach it here instead.")
    gone = await platform.addons.destroy(found, caller.email, force=force)
    return serializers.addon(gone, _service(platform, gone), None, [])


@router.post("/actions/addons/resolve")
async def resolve(body: Resolve, caller: AccountDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """Find add-ons by whatever they may be called."""

    def read(connection: sa.Connection) -> list[AddOn]:
        app = own_app(connection, caller, body.app) if body.app else None
        found = resolve_addons(connection, body.addon, app, list_apps(connection, caller.id))
        return [each for each in found if body.addon_service in {None, each.service}]

    return [await shown(platform, caller, each) for each in await platform.store.run(read)]
