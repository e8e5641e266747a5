"""Which name an attachment gets in an app, and what must be confirmed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.addons.errors import ConfirmationRequired
from platform_core.addons.market import fit_drains
from platform_core.addons.names import check_attachment_name, free_attachment_name
from platform_core.base.errors import InvalidInput
from platform_core.store.attachments import (
    add_attachment,
    attachments_of_apps,
    delete_attachment,
    find_attachment,
)
from platform_core.store.config import own_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from platform_core.models.addons import AddOn, Attachment
    from platform_core.models.apps import App


def place(
    connection: sa.Connection,
    addon: AddOn,
    app: App,
    vars_: Sequence[str],
    *,
    name: str | None,
    confirm: str | None,
    at: float,
) -> Attachment:
    """Attach an add-on to an app under ``name``, or under a free one made from the vendor's prefix.

    ``vars_`` are the vendor's config var names. A confirmed request takes the name from another attachment.

    Raises:
        ConfirmationRequired: the name is another attachment's, and ``confirm`` is not the app's name.
        InvalidInput: one of the config vars is set by hand already.
    """
    if name is None:
        chosen = _free_name(connection, addon, app, vars_)
    else:
        chosen = check_place(connection, app, name, confirm)
        previous = find_attachment(connection, app.id, chosen)
        if previous is not None:
            delete_attachment(connection, previous.id)
            fit_drains(connection, previous.addon, at)
    attachment = add_attachment(connection, addon, app.id, chosen, at=at)
    own = own_config(connection, app.id)
    clash = [attachment.var_name(var) for var in vars_ if attachment.var_name(var) in own]
    if clash:
        raise InvalidInput(
            f"Attaching as {chosen} would overwrite the config var {clash[0]} of {app.name}.",
            hint="Choose another name with --as, or unset the config var.",
        )
    return attachment


def check_place(connection: sa.Connection, app: App, name: str, confirm: str | None) -> str:
    """Return ``name`` as an attachment's name when it is free, or its taking over is confirmed.

    Raises:
        ConfirmationRequired: it is another attachment's.
        InvalidInput: it cannot be a name, or is the last one of an add-on that the app owns.
    """
    chosen = check_attachment_name(name)
    previous = find_attachment(connection, app.id, chosen)
    if previous is None:
        return chosen
    if confirm != app.name:
        raise ConfirmationRequired(
            f"{previous.addon.name} is attached to {app.name} as {chosen} and would be replaced."
        )
    check_not_last(connection, previous)
    return chosen


def check_not_last(connection: sa.Connection, attachment: Attachment) -> None:
    """Refuse to take an add-on's last attachment from the app that owns it.

    Raises:
        InvalidInput: it is the last.
    """
    if attachment.app_id != attachment.addon.app_id:
        return
    same = [
        other
        for other in attachments_of_apps(connection, [attachment.app_id])
        if other.addon.id == attachment.addon.id
    ]
    if len(same) == 1:
        raise InvalidInput(
            f"{attachment.name} is the last attachment of {attachment.addon.name} to the app that owns it.",
            hint="Attach it under another name first, or destroy it with `heroku addons:destroy`.",
        )


def _free_name(connection: sa.Connection, addon: AddOn, app: App, vars_: Sequence[str]) -> str:
    taken = {attachment.name for attachment in attachments_of_apps(connection, [app.id])}
    if set(vars_) & own_config(connection, app.id).keys():
        taken.add(addon.config_prefix)
    return free_attachment_name(addon.config_prefix, taken)
