"""The Platform API for Partners: what an add-on's vendor may see and do with its own token."""

from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import BaseModel

from platform_core.addons.oauth import TOKEN_SECONDS
from platform_core.addons.partner import check_config
from platform_core.api import serializers
from platform_core.api.auth import AuthorizationDep
from platform_core.api.context import Platform, PlatformDep
from platform_core.api.lookups import addon_named
from platform_core.base.errors import Forbidden
from platform_core.models.access import Authorization
from platform_core.models.addons import AddOn
from platform_core.models.missing import Missing
from platform_core.store.addons import get_addon

router = APIRouter()
public = APIRouter()


class ConfigVar(BaseModel):
    """One config var under the vendor's own name; null removes it."""

    name: str
    value: str | None = None


class ConfigChange(BaseModel):
    """What a vendor sends to change its config vars."""

    config: list[ConfigVar]


async def vendor_addon(platform: Platform, found: Authorization, addon: str) -> AddOn:
    """Return the add-on that a vendor's token is for.

    Raises:
        Missing: the token is for another one.
        Forbidden: the token is not a vendor's.
    """
    if found.addon_id is None:
        raise Forbidden("Only the add-on's vendor may do this.")
    own = await platform.store.run(get_addon, found.addon_id)
    if addon not in {own.id, own.name}:
        raise Missing("add_on", "Couldn't find that add-on.")
    return own


def _shown(platform: Platform, addon: AddOn) -> dict[str, Any]:
    return serializers.addon(addon, platform.catalog.get(addon.service), None, sorted(addon.config))


@router.get("/addons/{addon}")
async def info(addon: str, found: AuthorizationDep, platform: PlatformDep) -> dict[str, Any]:
    """Show an add-on to its vendor, or to an account that has it."""
    if found.account is not None:
        # Here, not at the top: that module needs this one's `vendor_addon` through attachments.
        from platform_core.api.addons import shown  # noqa: PLC0415

        return await shown(platform, found.account, await addon_named(platform, found.account, addon))
    return _shown(platform, await vendor_addon(platform, found, addon))


@router.get("/addons/{addon}/config")
async def config(addon: str, found: AuthorizationDep, platform: PlatformDep) -> list[dict[str, Any]]:
    """Show the vendor its config vars."""
    return serializers.vendor_config((await vendor_addon(platform, found, addon)).config)


@router.patch("/addons/{addon}/config")
async def change_config(
    addon: str, body: ConfigChange, found: AuthorizationDep, platform: PlatformDep
) -> list[dict[str, Any]]:
    """Change the vendor's config vars; the attached apps restart once the add-on is provisioned."""
    own = await vendor_addon(platform, found, addon)
    changes = {var.name: var.value for var in body.config}
    check_config(
        platform.catalog.get(own.service),
        {name: value for name, value in changes.items() if value is not None},
    )
    return serializers.vendor_config((await platform.addons.change_config(own, changes)).config)


@router.post("/addons/{addon}/actions/provision")
async def provisioned(addon: str, found: AuthorizationDep, platform: PlatformDep) -> dict[str, Any]:
    """The vendor has finished an asynchronous provisioning."""
    own = await vendor_addon(platform, found, addon)
    return _shown(platform, await platform.addons.finish(own))


@router.post("/addons/{addon}/actions/deprovision")
async def deprovisioned(addon: str, found: AuthorizationDep, platform: PlatformDep) -> dict[str, Any]:
    """The vendor gives up an asynchronous provisioning."""
    own = await vendor_addon(platform, found, addon)
    await platform.addons.give_up(own)
    return serializers.addon(own, platform.catalog.get(own.service), None, [], state="deprovisioned")


@public.post("/oauth/token")
async def exchange(
    platform: PlatformDep,
    grant_type: Annotated[str, Form()],
    client_secret: Annotated[str, Form()],
    code: Annotated[str, Form()] = "",
    refresh_token: Annotated[str, Form()] = "",
) -> dict[str, Any]:
    """Trade a provision request's code, or a refresh token, for an access token."""
    grant = code if grant_type == "authorization_code" else refresh_token
    tokens = await platform.tokens.exchange(grant_type, grant, client_secret)
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "expires_in": TOKEN_SECONDS,
        "token_type": "Bearer",
    }
