"""Apps: names, owners, host uids, maintenance."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from platform_core.base.errors import Conflict
from platform_core.base.ids import new_uuid
from platform_core.models.apps import Account, App
from platform_core.models.missing import Missing
from platform_core.store.tables import accounts, app_uids, apps

FIRST_UID = 20_000
"""Where the range of per-app host uids starts by default."""


def _select() -> sa.Select[Any]:
    return sa.select(apps, accounts.c.email.label("owner_email"), accounts.c.name.label("owner_name")).join(
        accounts, accounts.c.id == apps.c.owner_id
    )


def _app_of(row: Any) -> App:
    return App(
        id=row.id,
        name=row.name,
        owner=Account(row.owner_id, row.owner_email, row.owner_name),
        created_at=row.created_at,
        updated_at=row.updated_at,
        maintenance=row.maintenance,
        stack=row.stack,
        region=row.region,
        buildpack=row.buildpack,
        released_at=row.released_at,
    )


def create_app(
    connection: sa.Connection,
    name: str,
    owner: Account,
    at: float,
    *,
    region: str = "us",
    stack: str = "heroku-24",
    first_uid: int = FIRST_UID,
) -> App:
    """Make an app with a host uid of its own.

    Raises:
        Conflict: the name is taken.
    """
    if connection.execute(sa.select(apps.c.id).where(apps.c.name == name)).first() is not None:
        raise Conflict(f"Name {name} is already taken")
    highest = connection.execute(sa.select(sa.func.max(app_uids.c.uid))).scalar()
    uid = first_uid if highest is None else max(first_uid, highest + 1)
    connection.execute(sa.insert(app_uids).values(uid=uid))
    new_id = new_uuid()
    connection.execute(
        sa.insert(apps).values(
            id=new_id,
            name=name,
            owner_id=owner.id,
            uid=uid,
            maintenance=False,
            stack=stack,
            region=region,
            current_version=0,
            created_at=at,
            updated_at=at,
        )
    )
    return get_app(connection, new_id)


def get_app(connection: sa.Connection, name_or_id: str) -> App:
    """Return an app by its name or id.

    Raises:
        NotFound: there is none.
    """
    query = _select().where((apps.c.name == name_or_id) | (apps.c.id == name_or_id))
    row = connection.execute(query).first()
    if row is None:
        raise Missing("app", "Couldn't find that app.")
    return _app_of(row)


def list_apps(connection: sa.Connection, owner_id: str | None = None) -> list[App]:
    """Return all apps, or an account's, by name."""
    query = _select().order_by(apps.c.name)
    if owner_id is not None:
        query = query.where(apps.c.owner_id == owner_id)
    return [_app_of(row) for row in connection.execute(query)]


def app_ids(connection: sa.Connection) -> list[str]:
    """Return every app's id."""
    return list(connection.execute(sa.select(apps.c.id).order_by(apps.c.created_at)).scalars())


def uid_of(connection: sa.Connection, app_id: str) -> int:
    """Return the host uid that the app's processes drop to.

    Raises:
        NotFound: the app is gone.
    """
    uid = connection.execute(sa.select(apps.c.uid).where(apps.c.id == app_id)).scalar()
    if uid is None:
        raise Missing("app", "Couldn't find that app.")
    return int(uid)


def rename_app(connection: sa.Connection, app_id: str, name: str, at: float) -> App:
    """Give an app another name.

    Raises:
        Conflict: the name is taken.
    """
    taken = sa.select(apps.c.id).where((apps.c.name == name) & (apps.c.id != app_id))
    if connection.execute(taken).first() is not None:
        raise Conflict(f"Name {name} is already taken")
    connection.execute(sa.update(apps).where(apps.c.id == app_id).values(name=name, updated_at=at))
    return get_app(connection, app_id)


def set_maintenance(connection: sa.Connection, app_id: str, maintenance: bool, at: float) -> App:
    """Switch an app's maintenance page on or off."""
    connection.execute(
        sa.update(apps).where(apps.c.id == app_id).values(maintenance=maintenance, updated_at=at)
    )
    return get_app(connection, app_id)


def set_buildpack(connection: sa.Connection, app_id: str, buildpack: str | None, at: float) -> App:
    """Pin an app's buildpack, or let it be detected (None)."""
    connection.execute(sa.update(apps).where(apps.c.id == app_id).values(buildpack=buildpack, updated_at=at))
    return get_app(connection, app_id)


def delete_app(connection: sa.Connection, app_id: str) -> None:
    """Delete an app and everything that belongs to it; its uid is never given out again."""
    connection.execute(sa.delete(apps).where(apps.c.id == app_id))
