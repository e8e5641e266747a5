"""Finds what a path names, among what the caller may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.models.missing import Missing
from platform_core.store.addons import get_addon
from platform_core.store.apps import get_app, list_apps
from platform_core.store.attachments import attachments_of_addon

if TYPE_CHECKING:
    import sqlalchemy as sa

    from platform_core.api.context import Platform
    from platform_core.models.addons import AddOn
    from platform_core.models.apps import Account, App


async def app_named(platform: Platform, caller: Account, name_or_id: str) -> App:
    """Return the caller's app.

    Raises:
        Missing: there is none, or it is somebody else's (which is not told apart).
    """
    return await platform.store.run(own_app, caller, name_or_id)


def own_app(connection: sa.Connection, caller: Account, name_or_id: str) -> App:
    """Like `app_named`, within a transaction."""
    app = get_app(connection, name_or_id)
    if app.owner.id != caller.id:
        raise Missing("app", "Couldn't find that app.")
    return app


async def addon_named(
    platform: Platform, caller: Account, name_or_id: str, app_name: str | None = None
) -> AddOn:
    """Return an add-on of the caller's by global name or id; with ``app_name``, one that this app has.

    Raises:
        Missing: there is none such.
    """
    return await platform.store.run(_own_addon, caller, name_or_id, app_name)


def _own_addon(connection: sa.Connection, caller: Account, name_or_id: str, app_name: str | None) -> AddOn:
    addon = get_addon(connection, name_or_id)
    mine = {app.id for app in list_apps(connection, caller.id)}
    if app_name is not None:
        mine &= {own_app(connection, caller, app_name).id}
    holders = {attachment.app_id for attachment in attachments_of_addon(connection, addon.id)}
    if not mine & {addon.app_id, *holders}:
        raise Missing("add_on", "Couldn't find that add-on.")
    return addon
