"""The formation: how many dynos of which size each process type of the current slug gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from platform_core.models.apps import Process
from platform_core.store.releases import current_release
from platform_core.store.tables import formation

if TYPE_CHECKING:
    from platform_core.models.apps import Release

DEFAULT_SIZE = "Basic"
RELEASE_TYPE = "release"
"""The process type that is run once per release and never scaled."""


def list_formation(connection: sa.Connection, app_id: str) -> list[Process]:
    """Return the process types of the app's current slug, ``web`` first, then by name."""
    return formation_of(connection, current_release(connection, app_id))


def formation_of(connection: sa.Connection, release: Release | None) -> list[Process]:
    """Return a release's process types with the quantities that are wanted now."""
    if release is None or release.slug is None:
        return []
    query = sa.select(formation).where(formation.c.app_id == release.app_id)
    wanted = {row.type: (row.quantity, row.size) for row in connection.execute(query)}
    types = release.slug.process_types
    return [
        Process(release.app_id, name, types[name], *wanted.get(name, (0, DEFAULT_SIZE)))
        for name in sorted(types, key=lambda name: (name != "web", name))
        if name != RELEASE_TYPE
    ]


def scale(connection: sa.Connection, app_id: str, process_type: str, quantity: int, size: str) -> None:
    """Set what is wanted of a process type."""
    where = (formation.c.app_id == app_id) & (formation.c.type == process_type)
    values = {"quantity": quantity, "size": size}
    if connection.execute(sa.update(formation).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(formation).values(app_id=app_id, type=process_type, **values))


def start_with(connection: sa.Connection, app_id: str, process_type: str) -> None:
    """Scale a type to one dyno unless its quantity was ever set: a first deploy shows itself at once."""
    where = (formation.c.app_id == app_id) & (formation.c.type == process_type)
    if connection.execute(sa.select(formation.c.type).where(where)).first() is None:
        scale(connection, app_id, process_type, 1, DEFAULT_SIZE)
