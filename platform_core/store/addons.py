"""Add-ons: provisioned resources and their states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from platform_core.base.errors import Conflict
from platform_core.models.addons import AddOn, AddOnState
from platform_core.models.missing import Missing
from platform_core.store.tables import addons, apps, give_backs

if TYPE_CHECKING:
    from collections.abc import Iterable


def select_addons() -> sa.Select[Any]:
    """Return the query that `addon_of` reads."""
    return sa.select(addons, apps.c.name.label("app_name")).join(apps, apps.c.id == addons.c.app_id)


def addon_of(row: Any) -> AddOn:
    """Read an add-on from a row of `select_addons`."""
    return AddOn(
        id=row.id,
        name=row.name,
        app_id=row.app_id,
        app_name=row.app_name,
        service=row.service,
        plan=row.plan,
        state=AddOnState(row.state),
        provider_id=row.provider_id,
        config=row.config,
        config_prefix=row.config_prefix,
        message=row.message,
        log_drain_url=row.log_drain_url,
        log_drain_token=row.log_drain_token,
        options=row.options,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def add_addon(connection: sa.Connection, addon: AddOn) -> None:
    """Record a new add-on.

    Raises:
        Conflict: the name is taken.
    """
    check_addon_name(connection, addon.name)
    connection.execute(
        sa.insert(addons).values(
            id=addon.id,
            name=addon.name,
            app_id=addon.app_id,
            service=addon.service,
            plan=addon.plan,
            state=addon.state.value,
            provider_id=addon.provider_id,
            config=dict(addon.config),
            config_prefix=addon.config_prefix,
            message=addon.message,
            log_drain_url=addon.log_drain_url,
            log_drain_token=addon.log_drain_token,
            options=dict(addon.options),
            created_at=addon.created_at,
            updated_at=addon.updated_at,
        )
    )


def check_addon_name(connection: sa.Connection, name: str) -> None:
    """Make sure that a global add-on name is free.

    Raises:
        Conflict: it is taken.
    """
    if connection.execute(sa.select(addons.c.id).where(addons.c.name == name)).first() is not None:
        raise Conflict(f"Add-on name {name} is already taken.", hint="Choose another with --name.")


def get_addon(connection: sa.Connection, name_or_id: str) -> AddOn:
    """Return an add-on by its global name or id.

    Raises:
        NotFound: there is none.
    """
    where = (addons.c.id == name_or_id) | (addons.c.name == name_or_id)
    row = connection.execute(select_addons().where(where)).first()
    if row is None:
        raise Missing("add_on", "Couldn't find that add-on.")
    return addon_of(row)


def list_addons(connection: sa.Connection, *, app_ids: Iterable[str]) -> list[AddOn]:
    """Return the add-ons that these apps own, by name."""
    query = select_addons().where(addons.c.app_id.in_(list(app_ids))).order_by(addons.c.name)
    return [addon_of(row) for row in connection.execute(query)]


def unanswered_addons(connection: sa.Connection) -> list[AddOn]:
    """Return add-ons whose provision call a crash of the platform cut short."""
    where = (addons.c.state == AddOnState.PROVISIONING.value) & addons.c.provider_id.is_(None)
    return [addon_of(row) for row in connection.execute(select_addons().where(where))]


def owe_give_back(connection: sa.Connection, addon: AddOn, at: float) -> None:
    """Delete an add-on and remember that its vendor must still be told."""
    delete_addon(connection, addon.id)
    connection.execute(sa.insert(give_backs).values(addon_id=addon.id, service=addon.service, created_at=at))


def owed_give_backs(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return ``(add-on id, service)`` of what vendors must still be told, oldest first."""
    query = sa.select(give_backs).order_by(give_backs.c.created_at)
    return [(row.addon_id, row.service) for row in connection.execute(query)]


def settle_give_back(connection: sa.Connection, addon_id: str) -> None:
    """Forget a give-back: the vendor knows."""
    connection.execute(sa.delete(give_backs).where(give_backs.c.addon_id == addon_id))


def update_addon(connection: sa.Connection, addon_id: str, at: float, **values: Any) -> AddOn:
    """Change columns of an add-on and return it."""
    connection.execute(sa.update(addons).where(addons.c.id == addon_id).values(updated_at=at, **values))
    return get_addon(connection, addon_id)


def delete_addon(connection: sa.Connection, addon_id: str) -> None:
    """Delete an add-on with its attachments, drains and grants."""
    connection.execute(sa.delete(addons).where(addons.c.id == addon_id))
