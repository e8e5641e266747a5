"""The life of an add-on: create, change plan, rename, destroy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from platform_core.addons.give_back import GiveBacks
from platform_core.addons.market import fit_drains
from platform_core.addons.names import addon_name, check_addon_name
from platform_core.addons.placing import check_place, place
from platform_core.base.clock import iso8601
from platform_core.base.errors import Conflict, InvalidInput, SluiceError
from platform_core.base.ids import new_secret, new_uuid
from platform_core.models.addons import AddOn, AddOnState
from platform_core.releases import descriptions
from platform_core.store import addons as rows
from platform_core.store.attachments import attachments_of_addon, delete_attachment
from platform_core.store.tickets import GRANT_CODE, add_grant

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from platform_core.addons.market import Market
    from platform_core.addons.partner import Provisioned
    from platform_core.models.addons import Attachment, Plan, Service
    from platform_core.models.apps import App

GRANT_SECONDS = 300
_REGION = "amazon-web-services::us-east-1"
"""What vendors are told for the platform's only region, in Heroku's notation."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a user asks for with ``addons:create``."""

    plan: str
    """``service:plan`` or ``service``."""
    name: str | None = None
    attachment_name: str | None = None
    options: Mapping[str, str] | None = None
    confirm: str | None = None


class AddOns:
    """Makes, changes and ends add-ons. Methods belong to the event loop."""

    def __init__(self, market: Market) -> None:
        """Work on ``market``."""
        self._market = market
        self.give_backs = GiveBacks(market)

    async def create(self, app: App, order: Order, user_email: str) -> AddOn:
        """Provision an add-on and attach it to ``app``. A failure leaves nothing behind, here or there.

        Raises:
            VendorRefused: the vendor said no; the message is the vendor's.
            VendorUnavailable: the vendor cannot be reached.
            ConfirmationRequired: the attachment name belongs to another add-on.
        """
        service, plan = self._market.catalog.find_plan(order.plan)
        code = new_secret()
        addon = await self._market.store.run(self._reserve, app, (service, plan), order, code)
        try:
            answer = await self._market.partner.provision(service, self._request(service, addon, code))
            return await self._accept(app, addon, answer, order, user_email)
        except BaseException:  # cancelled or failed: the vendor may have made it, so it must be told
            await self.give_backs.abandon(addon)
            raise

    def _reserve(
        self, connection: sa.Connection, app: App, offer: tuple[Service, Plan], order: Order, code: str
    ) -> AddOn:
        service, plan = offer
        owned = [
            addon for addon in rows.list_addons(connection, app_ids=[app.id]) if addon.service == service.id
        ]
        if owned and "many_per_app" not in service.requires:
            raise InvalidInput(
                f"{app.name} has {owned[0].name} already, and {service.human_name} allows one per app.",
                hint="Change its plan with `heroku addons:upgrade`.",
            )
        if order.attachment_name is not None:
            check_place(connection, app, order.attachment_name, order.confirm)
        now = self._market.clock.now()
        addon = AddOn(
            id=new_uuid(),
            name=check_addon_name(order.name) if order.name else addon_name(service.id),
            app_id=app.id,
            app_name=app.name,
            service=service.id,
            plan=plan.name,
            state=AddOnState.PROVISIONING,
            provider_id=None,
            config={},
            config_prefix=service.config_vars_prefix,
            message=None,
            log_drain_url=None,
            log_drain_token=f"d.{new_uuid()}" if "syslog_drain" in service.requires else None,
            options=dict(order.options or {}),
            created_at=now,
            updated_at=now,
        )
        rows.add_addon(connection, addon)
        add_grant(connection, code, addon.id, GRANT_CODE, now + GRANT_SECONDS)
        return addon

    def _request(self, service: Service, addon: AddOn, code: str) -> dict[str, Any]:
        request: dict[str, Any] = {
            "uuid": addon.id,
            "name": addon.name,
            "plan": addon.plan,
            "region": _REGION,
            "callback_url": f"{self._market.api_url}/addons/{addon.id}",
            "oauth_grant": {
                "code": code,
                "expires_at": iso8601(addon.created_at + GRANT_SECONDS),
                "type": "authorization_code",
            },
            "options": dict(addon.options),
        }
        if "syslog_drain" in service.requires:
            request["log_drain_token"] = addon.log_drain_token
        return request

    async def _accept(
        self, app: App, addon: AddOn, answer: Provisioned, order: Order, user_email: str
    ) -> AddOn:
        service = self._market.catalog.get(addon.service)

        def write(connection: sa.Connection) -> Attachment:
            now = self._market.clock.now()
            state = AddOnState.PROVISIONING if answer.pending else AddOnState.PROVISIONED
            updated = rows.update_addon(
                connection,
                addon.id,
                now,
                state=state.value,
                provider_id=answer.provider_id,
                config=dict(answer.config or {}),
                message=answer.message,
                log_drain_url=answer.log_drain_url,
            )
            made = place(
                connection,
                updated,
                app,
                service.config_vars,
                name=order.attachment_name,
                confirm=order.confirm,
                at=now,
            )
            if not answer.pending:
                fit_drains(connection, updated, now)
            return made

        if answer.pending:
            return (await self._market.store.run(write)).addon
        made = await self._market.releases.record(
            app.id, lambda each: descriptions.attach(each.name, addon.name), user_email, write
        )
        await self._market.apply_drains(app.id)
        return made.addon

    async def change_plan(self, addon: AddOn, plan_text: str, user_email: str) -> AddOn:
        """Change the plan; new config vars make a release in every attached app.

        Raises:
            VendorRefused: the vendor said no.
            VendorUnavailable: the vendor cannot be reached.
        """
        wanted = plan_text if ":" in plan_text else f"{addon.service}:{plan_text}"
        service, plan = self._market.catalog.find_plan(wanted)
        if service.id != addon.service:
            raise InvalidInput(f"{addon.name} is {addon.service}; it cannot become {service.id}.")
        if addon.state is not AddOnState.PROVISIONED:
            raise Conflict(f"{addon.name} is {addon.state}; its plan cannot change now.")
        answer = await self._market.partner.change_plan(service, addon.id, plan.name)

        def write(connection: sa.Connection) -> AddOn:
            now = self._market.clock.now()
            return rows.update_addon(connection, addon.id, now, plan=plan.name, message=answer.message)

        updated = await self._market.store.run(write)
        if answer.config is None or {**addon.config, **answer.config} == addon.config:
            return updated
        return await self.change_config(updated, answer.config, user_email)

    async def change_config(
        self, addon: AddOn, changes: Mapping[str, str | None], user_email: str | None = None
    ) -> AddOn:
        """Set or remove (None) the vendor's config vars; each attached app gets a release for it."""
        merged = {**addon.config, **changes}
        config = {name: value for name, value in merged.items() if value is not None}
        if config == addon.config:
            return addon
        now = self._market.clock.now()

        def write(connection: sa.Connection) -> AddOn:
            return rows.update_addon(connection, addon.id, now, config=config)

        if addon.state is not AddOnState.PROVISIONED:
            return await self._market.store.run(write)
        user = user_email or f"{addon.service}@addons.heroku.com"
        return await self._in_each_app(addon, user, write)

    async def _in_each_app(self, addon: AddOn, user_email: str, write: Any) -> AddOn:
        attachments = await self._market.store.run(attachments_of_addon, addon.id)
        names = {attachment.app_id: attachment.name for attachment in attachments}
        updated = addon
        for app_id, name in names.items():
            description = descriptions.addon_update(name, addon.service)
            updated = await self._market.releases.record(app_id, description, user_email, write)
        return updated

    async def finish(self, addon: AddOn) -> AddOn:
        """End an asynchronous provisioning: the config vars reach the app with one release.

        Raises:
            Conflict: the add-on is not being provisioned.
        """
        if addon.state is not AddOnState.PROVISIONING:
            raise Conflict(f"{addon.name} is {addon.state}, not provisioning.")
        attachments = await self._market.store.run(attachments_of_addon, addon.id)

        def write(connection: sa.Connection) -> AddOn:
            now = self._market.clock.now()
            updated = rows.update_addon(connection, addon.id, now, state=AddOnState.PROVISIONED.value)
            fit_drains(connection, updated, now)
            return updated

        label = attachments[0].name if attachments else addon.config_prefix
        user = f"{addon.service}@addons.heroku.com"
        done = await self._market.releases.record(
            addon.app_id, descriptions.attach(label, addon.name), user, write
        )
        for app_id in {attachment.app_id for attachment in attachments}:
            await self._market.apply_drains(app_id)
        return done

    async def rename(self, addon: AddOn, name: str) -> AddOn:
        """Give an add-on another global name.

        Raises:
            Conflict: it is taken.
        """

        def write(connection: sa.Connection) -> AddOn:
            rows.check_addon_name(connection, check_addon_name(name))
            return rows.update_addon(connection, addon.id, self._market.clock.now(), name=name)

        return await self._market.store.run(write)

    async def destroy(self, addon: AddOn, user_email: str, *, force: bool = False) -> AddOn:
        """End an add-on: at the vendor first, then here, with a release in every app that had it.

        Raises:
            InvalidInput: other apps use it and ``force`` is not given.
            VendorRefused: the vendor said no; nothing was changed.
            VendorUnavailable: the vendor cannot be reached; nothing was changed.
        """
        attachments = await self._market.store.run(attachments_of_addon, addon.id)
        others = sorted({each.app_name for each in attachments if each.app_id != addon.app_id})
        if others and not force:
            raise InvalidInput(
                f"{addon.name} is attached to {', '.join(others)} too.",
                hint="Detach it there first, or repeat with --force.",
            )
        await self.give_backs.take_back(addon)
        for attachment in sorted(attachments, key=lambda each: each.app_id == addon.app_id):
            await self._market.releases.record(
                attachment.app_id,
                descriptions.detach(attachment.name, addon.name),
                user_email,
                partial(delete_attachment, attachment_id=attachment.id),
            )
        await self.give_backs.forget(addon)
        for app_id in {attachment.app_id for attachment in attachments}:
            await self._market.apply_drains(app_id)
        return replace(addon, state=AddOnState.DEPROVISIONED)

    async def leave_app(self, app: App) -> None:
        """Before an app is deleted: end what it owns. Vendors that cannot be told now are told later."""
        for addon in await self._market.store.run(rows.list_addons, app_ids=[app.id]):
            try:
                await self.destroy(addon, app.owner.email, force=True)
            except SluiceError:
                await self.give_backs.abandon(addon)

    async def give_up(self, addon: AddOn) -> None:
        """The vendor could not provision what it had promised: the add-on goes.

        Raises:
            Conflict: the add-on is not being provisioned.
        """
        if addon.state is not AddOnState.PROVISIONING:
            raise Conflict(f"{addon.name} is {addon.state}, not provisioning.")
        await self.give_backs.forget(addon)
