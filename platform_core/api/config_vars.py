"""Config vars."""

from fastapi import APIRouter

from platform_core.api.auth import AccountDep
from platform_core.api.context import PlatformDep
from platform_core.api.lookups import app_named
from platform_core.store.config import full_config

router = APIRouter()


@router.get("/apps/{app}/config-vars")
async def config_vars(app: str, caller: AccountDep, platform: PlatformDep) -> dict[str, str]:
    """Show all config vars, those of add-ons too."""
    found = await app_named(platform, caller, app)
    return await platform.store.run(full_config, found.id)


@router.patch("/apps/{app}/config-vars")
async def change_config_vars(
    app: str, body: dict[str, str | None], caller: AccountDep, platform: PlatformDep
) -> dict[str, str]:
    """Set config vars; null removes one. Answers with all of them."""
    found = await app_named(platform, caller, app)
    return dict(await platform.releases.change_config(found.id, body, caller.email))
