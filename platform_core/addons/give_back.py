"""Tells vendors that resources are no longer wanted, until they have heard it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger
from platform_core.store.addons import (
    delete_addon,
    owe_give_back,
    owed_give_backs,
    settle_give_back,
    unanswered_addons,
)

if TYPE_CHECKING:
    from platform_core.addons.market import Market
    from platform_core.models.addons import AddOn

_log = get_logger(__name__)
_OWED = "vendor_give_back_owed"


class GiveBacks:
    """The resources that are gone here and may still exist at their vendors.

    They are rows of the database, so a crash forgets none; `settle` runs after each new one and at start.
    """

    def __init__(self, market: Market) -> None:
        """Work on ``market``."""
        self._market = market

    async def abandon(self, addon: AddOn) -> None:
        """Delete an add-on here at once and tell its vendor in the background."""
        await self._market.store.run(owe_give_back, addon, self._market.clock.now())
        self._market.background.start("give back", self.settle())

    async def take_back(self, addon: AddOn) -> None:
        """Tell the vendor now; the add-on is not touched here.

        Raises:
            VendorRefused: the vendor said no.
            VendorUnavailable: it cannot be reached.
        """
        await self._market.partner.deprovision(self._market.catalog.get(addon.service), addon.id)

    async def recover(self) -> None:
        """After a start: give back what a crash left without an answer, and what is still owed."""
        for addon in await self._market.store.run(unanswered_addons):
            await self._market.store.run(owe_give_back, addon, self._market.clock.now())
        await self.settle()

    async def settle(self) -> None:
        """Tell vendors of everything that is owed; what fails stays owed."""
        for addon_id, service_id in await self._market.store.run(owed_give_backs):
            try:
                service = self._market.catalog.get(service_id)
                await self._market.partner.deprovision(service, addon_id)
            except SluiceError as error:
                _log.warning(_OWED, addon=addon_id, service=service_id, reason=error.message)
                continue
            await self._market.store.run(settle_give_back, addon_id)

    async def forget(self, addon: AddOn) -> None:
        """Delete an add-on whose vendor knows already."""
        await self._market.store.run(delete_addon, addon.id)
