"""Attachments: add-ons under a name in an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from platform_core.base.errors import Conflict
from platform_core.base.ids import new_uuid
from platform_core.models.addons import Attachment
from platform_core.models.missing import Missing
from platform_core.store.addons import addon_of, select_addons
from platform_core.store.tables import addons, apps, attachments

if TYPE_CHECKING:
    from collections.abc import Iterable

from platform_core.models.addons import AddOn

_holder = apps.alias("holder")


def _select() -> sa.Select[Any]:
    return (
        select_addons()
        .join(attachments, attachments.c.addon_id == addons.c.id)
        .join(_holder, _holder.c.id == attachments.c.app_id)
        .add_columns(
            attachments.c.id.label("attachment_id"),
            attachments.c.name.label("attachment_name"),
            attachments.c.app_id.label("holder_id"),
            _holder.c.name.label("holder_name"),
            attachments.c.namespace,
            attachments.c.created_at.label("attached_at"),
            attachments.c.updated_at.label("reattached_at"),
        )
    )


def _attachment_of(row: Any) -> Attachment:
    return Attachment(
        id=row.attachment_id,
        name=row.attachment_name,
        addon=addon_of(row),
        app_id=row.holder_id,
        app_name=row.holder_name,
        namespace=row.namespace,
        created_at=row.attached_at,
        updated_at=row.reattached_at,
    )


def add_attachment(
    connection: sa.Connection, addon: AddOn, app_id: str, name: str, *, at: float
) -> Attachment:
    """Attach an add-on to an app under a name.

    Raises:
        Conflict: the app has an attachment of that name.
    """
    if find_attachment(connection, app_id, name) is not None:
        raise Conflict(f"An attachment named {name} already exists.", hint="Choose another with --as.")
    attachment_id = new_uuid()
    connection.execute(
        sa.insert(attachments).values(
            id=attachment_id,
            name=name,
            addon_id=addon.id,
            app_id=app_id,
            created_at=at,
            updated_at=at,
        )
    )
    return get_attachment(connection, attachment_id)


def get_attachment(connection: sa.Connection, attachment_id: str) -> Attachment:
    """Return an attachment by its id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(_select().where(attachments.c.id == attachment_id)).one_or_none()
    if row is None:
        raise Missing("attachment", "Couldn't find that add-on attachment.")
    return _attachment_of(row)


def find_attachment(connection: sa.Connection, app_id: str, name: str) -> Attachment | None:
    """Return an app's attachment by its name."""
    where = (attachments.c.app_id == app_id) & (attachments.c.name == name)
    row = connection.execute(_select().where(where)).one_or_none()
    return None if row is None else _attachment_of(row)


def attachments_of_apps(connection: sa.Connection, app_ids: Iterable[str]) -> list[Attachment]:
    """Return what is attached to these apps, by name."""
    query = _select().where(attachments.c.app_id.in_(list(app_ids))).order_by(attachments.c.name)
    return [_attachment_of(row) for row in connection.execute(query)]


def attachments_of_addon(connection: sa.Connection, addon_id: str) -> list[Attachment]:
    """Return where an add-on is attached, oldest first."""
    query = _select().where(attachments.c.addon_id == addon_id).order_by(attachments.c.created_at)
    return [_attachment_of(row) for row in connection.execute(query)]


def delete_attachment(connection: sa.Connection, attachment_id: str) -> None:
    """Detach."""
    connection.execute(sa.delete(attachments).where(attachments.c.id == attachment_id))
