"""What the modules of this room work with together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from platform_core.base.ids import new_uuid
from platform_core.models.logs import Drain
from platform_core.store.attachments import attachments_of_addon
from platform_core.store.drains import add_drain, delete_drain, drains_of_addon, list_drains

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from platform_core.addons.manifests import Catalog
    from platform_core.addons.partner import PartnerClient
    from platform_core.base.clock import Clock
    from platform_core.models.addons import AddOn
    from platform_core.releases.background import Background
    from platform_core.releases.service import Releases
    from platform_core.store.database import Store


class DrainSetter(Protocol):
    """The part of the log router that add-ons need."""

    def set_drains(self, app_id: str, drains: Sequence[Drain]) -> None:
        """Make these the channel's drains."""


@dataclass(frozen=True, slots=True)
class Market:
    """The rooms and the catalog that add-ons are made from."""

    store: Store
    releases: Releases
    catalog: Catalog
    partner: PartnerClient
    logs: DrainSetter
    clock: Clock
    background: Background
    api_url: str

    async def apply_drains(self, app_id: str) -> None:
        """Tell the log router which drains an app has now."""
        self.logs.set_drains(app_id, await self.store.run(list_drains, app_id))


def fit_drains(connection: sa.Connection, addon: AddOn, at: float) -> set[str]:
    """Make the add-on's drains those of the apps that it is attached to; return the apps that changed.

    Every attached app sends its lines, all with the one drain token that the vendor was told when it
    provisioned: that token is how the vendor knows the resource.
    """
    if addon.log_drain_url is None or addon.log_drain_token is None:
        return set()
    wanted = {attachment.app_id for attachment in attachments_of_addon(connection, addon.id)}
    there = {drain.app_id: drain for drain in drains_of_addon(connection, addon.id)}
    for app_id in there.keys() - wanted:
        delete_drain(connection, there[app_id].id)
    for app_id in wanted - there.keys():
        drain = Drain(new_uuid(), app_id, addon.log_drain_token, addon.log_drain_url, addon.id)
        add_drain(connection, drain, at)
    return wanted ^ there.keys()
