"""Attachments: list, attach, detach, resolve."""

from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from platform_core.addons.resolve import resolve_attachments
from platform_core.api import serializers
from platform_core.api.auth import AccountDep, AuthorizationDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import addon_named, app_named, own_app
from platform_core.api.ranges import paged
from platform_core.api.sso import sso_url
from platform_core.api.vendors import vendor_addon
from platform_core.base.errors import InvalidInput
from platform_core.models.addons import Attachment
from platform_core.models.apps import Account
from platform_core.models.missing import Missing
from platform_core.store import attachments as rows
from platform_core.store.apps import list_apps

router = APIRouter()


class Ref(BaseModel):
    """A thing by its name or id."""

    name: str | None = None
    id: str | None = None

    def text(self) -> str:
        """Return whichever was given."""
        return self.name or self.id or ""


class NewAttachment(BaseModel):
    """What ``addons:attach`` sends."""

    addon: Ref | str
    app: Ref | str
    name: str | None = None
    namespace: str | None = None
    confirm: str | None = None


class Resolve(BaseModel):
    """What to look for, and where."""

    addon_attachment: str
    app: str | None = None
    addon_service: str | None = None


async def shown(platform: Platform, caller: Account, each: Attachment) -> dict[str, Any]:
    """Return an attachment as the API shows it to ``caller``."""
    return serializers.attachment(each, await sso_url(platform, each.addon, caller, each.app_name))


async def _all_shown(
    request: Request, platform: Platform, caller: Account, found: list[Attachment]
) -> JSONResponse:
    return paged(request, [await shown(platform, caller, each) for each in found], "name")


def _mine(connection: sa.Connection, caller: Account) -> list[Attachment]:
    return rows.attachments_of_apps(connection, [app.id for app in list_apps(connection, caller.id)])


def _text(ref: Ref | str) -> str:
    return ref if isinstance(ref, str) else ref.text()


@router.get("/addon-attachments")
async def list_all(request: Request, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the attachments of all the caller's apps."""
    return await _all_shown(request, platform, caller, await platform.store.run(_mine, caller))


@router.get("/apps/{app}/addon-attachments")
async def list_of_app(request: Request, app: str, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List an app's attachments."""
    found = await app_named(platform, caller, app)
    return await _all_shown(
        request, platform, caller, await platform.store.run(rows.attachments_of_apps, [found.id])
    )


@router.get("/addons/{addon}/addon-attachments")
async def list_of_addon(
    request: Request, addon: str, found: AuthorizationDep, platform: PlatformDep
) -> JSONResponse:
    """List where an add-on is attached; its vendor may ask too."""
    if found.account is None:
        mine = await vendor_addon(platform, found, addon)
        attached = await platform.store.run(rows.attachments_of_addon, mine.id)
        return paged(request, [serializers.attachment(each, None) for each in attached], "name")
    named = await addon_named(platform, found.account, addon)
    attached = await platform.store.run(rows.attachments_of_addon, named.id)
    return await _all_shown(request, platform, found.account, attached)


@router.get("/apps/{app}/addon-attachments/{name}")
async def info_in_app(app: str, name: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show an app's attachment by its name or id."""
    found = await app_named(platform, caller, app)
    for each in await platform.store.run(rows.attachments_of_apps, [found.id]):
        if name == each.id or name.upper() == each.name:
            return await shown(platform, caller, each)
    raise Missing("attachment", "Couldn't find that add-on attachment.")


def _own(connection: sa.Connection, caller: Account, attachment_id: str) -> Attachment:
    found = rows.get_attachment(connection, attachment_id)
    own_app(connection, caller, found.app_id)
    return found


@router.get("/addon-attachments/{attachment_id}")
async def info(attachment_id: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Show an attachment."""
    return await shown(platform, caller, await platform.store.run(_own, caller, attachment_id))


@router.post("/addon-attachments", status_code=201)
async def attach(body: NewAttachment, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Attach an add-on to an app."""
    if body.namespace:
        raise InvalidInput("Add-ons have no credentials here.", hint="Leave --credential out.")
    app = await app_named(platform, caller, _text(body.app))
    addon = await addon_named(platform, caller, _text(body.addon))
    made = await platform.sharing.attach(
        addon, app, caller.email, name=body.name or None, confirm=body.confirm
    )
    return await shown(platform, caller, made)


@router.delete("/addon-attachments/{attachment_id}")
async def detach(attachment_id: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Detach an add-on from an app."""
    found = await platform.store.run(_own, caller, attachment_id)
    await platform.sharing.detach(found, caller.email)
    return serializers.attachment(found, None)


@router.post("/actions/addon-attachments/resolve")
async def resolve(body: Resolve, caller: AccountDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """Find attachments by whatever they may be called."""

    def read(connection: sa.Connection) -> list[Attachment]:
        app = own_app(connection, caller, body.app) if body.app else None
        found = resolve_attachments(connection, body.addon_attachment, app, list_apps(connection, caller.id))
        return [each for each in found if body.addon_service in {None, each.addon.service}]

    return [await shown(platform, caller, each) for each in await platform.store.run(read)]
