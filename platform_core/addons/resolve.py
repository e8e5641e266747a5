"""Finds add-ons and attachments by the many ways in which people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.models.missing import Missing
from platform_core.store.addons import list_addons
from platform_core.store.attachments import attachments_of_apps

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from platform_core.models.addons import AddOn, Attachment
    from platform_core.models.apps import App


def resolve_addons(
    connection: sa.Connection, text: str, app: App | None, visible: Iterable[App]
) -> list[AddOn]:
    """Return the add-ons that ``text`` may mean among those of the apps that the caller may see.

    By id or global name anywhere; by attachment, service or plan within ``app``, when one is given, or
    within the app of ``app::name``.

    Raises:
        Missing: it means none.
    """
    apps = list(visible)
    text, app = _split(text, app, apps)
    addons = list_addons(connection, app_ids=[each.id for each in apps])
    exact = [addon for addon in addons if text in {addon.id, addon.name}]
    if exact:
        return exact
    holders = [app] if app is not None else apps
    attached = attachments_of_apps(connection, [each.id for each in holders])
    by_attachment = {each.addon.id: each.addon for each in attached if each.name == text.upper()}
    if by_attachment:
        return list(by_attachment.values())
    near = {each.addon.id: each.addon for each in attached}
    near |= {addon.id: addon for addon in addons if app is None or addon.app_id == app.id}
    found = [addon for addon in near.values() if text in {addon.service, f"{addon.service}:{addon.plan}"}]
    if not found:
        raise Missing("add_on", f"Couldn't find the add-on {text}{_in(app)}.")
    return found


def resolve_attachments(
    connection: sa.Connection, text: str, app: App | None, visible: Iterable[App]
) -> list[Attachment]:
    """Return the attachments that ``text`` may mean: by id, name, config var, or the add-on's names.

    Raises:
        Missing: it means none.
    """
    apps = list(visible)
    text, app = _split(text, app, apps)
    holders = [app] if app is not None else apps
    attached = attachments_of_apps(connection, [each.id for each in holders])
    for matches in (
        lambda each: text == each.id or text.upper() == each.name,
        lambda each: text in each.config_vars,
        lambda each: text in {each.addon.id, each.addon.name},
        lambda each: text in {each.addon.service, f"{each.addon.service}:{each.addon.plan}"},
    ):
        found = [each for each in attached if matches(each)]
        if found:
            return found
    raise Missing("attachment", f"Couldn't find the add-on attachment {text}{_in(app)}.")


def _split(text: str, app: App | None, apps: Iterable[App]) -> tuple[str, App | None]:
    app_name, separator, rest = text.partition("::")
    if not separator:
        return text, app
    named = next((each for each in apps if each.name == app_name), None)
    if named is None:
        raise Missing("app", f"Couldn't find the app {app_name}.")
    return rest, named


def _in(app: App | None) -> str:
    return "" if app is None else f" in {app.name}"
