"""Config vars: those that users set, and what an app sees together with its add-ons'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from platform_core.store.attachments import attachments_of_apps
from platform_core.store.tables import config_vars

if TYPE_CHECKING:
    from collections.abc import Mapping


def own_config(connection: sa.Connection, app_id: str) -> dict[str, str]:
    """Return the vars that users set on the app, without those of add-ons."""
    query = sa.select(config_vars.c.name, config_vars.c.value).where(config_vars.c.app_id == app_id)
    return {row.name: row.value for row in connection.execute(query.order_by(config_vars.c.name))}


def addon_config(connection: sa.Connection, app_id: str) -> dict[str, str]:
    """Return the vars that the app's attachments give it."""
    found: dict[str, str] = {}
    for attachment in attachments_of_apps(connection, [app_id]):
        found.update(attachment.config_vars)
    return found


def full_config(connection: sa.Connection, app_id: str) -> dict[str, str]:
    """Return all config vars of an app, sorted by name."""
    return dict(sorted({**own_config(connection, app_id), **addon_config(connection, app_id)}.items()))


def change_config(connection: sa.Connection, app_id: str, changes: Mapping[str, str | None]) -> None:
    """Set the given vars; None removes one."""
    where = (config_vars.c.app_id == app_id) & config_vars.c.name.in_(list(changes))
    connection.execute(sa.delete(config_vars).where(where))
    rows = [
        {"app_id": app_id, "name": name, "value": value}
        for name, value in changes.items()
        if value is not None
    ]
    if rows:
        connection.execute(sa.insert(config_vars), rows)


def replace_config(connection: sa.Connection, app_id: str, config: Mapping[str, str]) -> None:
    """Make exactly these the app's own vars."""
    connection.execute(sa.delete(config_vars).where(config_vars.c.app_id == app_id))
    change_config(connection, app_id, dict(config))
