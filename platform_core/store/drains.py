"""Log drains of apps: those that users added and those of add-ons."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from platform_core.base.errors import Conflict, InvalidInput
from platform_core.models.logs import Drain
from platform_core.store.tables import drains

MAX_PER_APP = 20
"""Users' and add-ons' together; the log router takes no more."""


def _drain_of(row: Any) -> Drain:
    return Drain(id=row.id, app_id=row.app_id, token=row.token, url=row.url, addon_id=row.addon_id)


def add_drain(connection: sa.Connection, drain: Drain, at: float) -> None:
    """Add a drain to an app. Users' drains have different URLs; add-ons share theirs.

    Raises:
        Conflict: a user added a drain with that URL already.
        InvalidInput: the app has as many as it may.
    """
    count = sa.select(sa.func.count()).select_from(drains).where(drains.c.app_id == drain.app_id)
    if connection.execute(count).scalar_one() >= MAX_PER_APP:
        raise InvalidInput(f"An app has at most {MAX_PER_APP} drains.", hint="Remove one first.")
    same = (drains.c.app_id == drain.app_id) & (drains.c.url == drain.url)
    where = same & drains.c.addon_id.is_(None)
    if drain.addon_id is None and connection.execute(sa.select(drains.c.id).where(where)).first():
        raise Conflict("Url has already been taken")
    connection.execute(
        sa.insert(drains).values(
            id=drain.id,
            app_id=drain.app_id,
            addon_id=drain.addon_id,
            token=drain.token,
            url=drain.url,
            created_at=at,
        )
    )


def list_drains(connection: sa.Connection, app_id: str) -> list[Drain]:
    """Return an app's drains, oldest first."""
    query = sa.select(drains).where(drains.c.app_id == app_id).order_by(drains.c.created_at)
    return [_drain_of(row) for row in connection.execute(query)]


def drains_of_addon(connection: sa.Connection, addon_id: str) -> list[Drain]:
    """Return the drains that an add-on has, in whatever apps."""
    query = sa.select(drains).where(drains.c.addon_id == addon_id).order_by(drains.c.created_at)
    return [_drain_of(row) for row in connection.execute(query)]


def delete_drain(connection: sa.Connection, drain_id: str) -> None:
    """Remove a drain."""
    connection.execute(sa.delete(drains).where(drains.c.id == drain_id))
