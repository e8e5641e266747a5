"""Attach an add-on to apps, and detach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.addons.market import fit_drains
from platform_core.addons.placing import check_not_last, place
from platform_core.base.errors import Conflict, InvalidInput
from platform_core.models.addons import AddOnState
from platform_core.releases import descriptions
from platform_core.store.attachments import delete_attachment

if TYPE_CHECKING:
    import sqlalchemy as sa

    from platform_core.addons.market import Market
    from platform_core.models.addons import AddOn, Attachment
    from platform_core.models.apps import App


class Sharing:
    """Makes and ends attachments. Methods belong to the event loop."""

    def __init__(self, market: Market) -> None:
        """Work on ``market``."""
        self._market = market

    async def attach(
        self, addon: AddOn, app: App, user_email: str, *, name: str | None, confirm: str | None
    ) -> Attachment:
        """Attach an add-on to an app: its config vars, and its log drain, come with a release.

        Raises:
            InvalidInput: the vendor does not share across apps.
            ConfirmationRequired: the name belongs to another attachment.
        """
        service = self._market.catalog.get(addon.service)
        if addon.app_id != app.id and "attachable" not in service.requires:
            raise InvalidInput(f"{service.human_name} cannot be attached to a second app.")
        if addon.state is not AddOnState.PROVISIONED:
            raise Conflict(f"{addon.name} is {addon.state}; wait for it with `heroku addons:wait`.")

        def write(connection: sa.Connection) -> Attachment:
            now = self._market.clock.now()
            made = place(connection, addon, app, service.config_vars, name=name, confirm=confirm, at=now)
            fit_drains(connection, addon, now)
            return made

        made = await self._market.releases.record(
            app.id, lambda each: descriptions.attach(each.name, addon.name), user_email, write
        )
        await self._market.apply_drains(app.id)
        return made

    async def detach(self, attachment: Attachment, user_email: str) -> None:
        """Detach: the config vars go with a release, the log drain with the app's last attachment.

        Raises:
            InvalidInput: it is the last attachment to the app that owns the add-on.
        """

        def write(connection: sa.Connection) -> None:
            check_not_last(connection, attachment)
            delete_attachment(connection, attachment.id)
            fit_drains(connection, attachment.addon, self._market.clock.now())

        description = descriptions.detach(attachment.name, attachment.addon.name)
        await self._market.releases.record(attachment.app_id, description, user_email, write)
        await self._market.apply_drains(attachment.app_id)
