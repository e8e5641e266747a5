"""The caller's account, its authorizations, and login."""

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from platform_core.api import serializers
from platform_core.api.auth import AccountDep, AuthorizationDep, presented_token
from platform_core.api.context import PlatformDep
from platform_core.api.ranges import paged
from platform_core.base.errors import Unauthenticated
from platform_core.base.ids import new_uuid
from platform_core.models.missing import Missing
from platform_core.store import accounts as rows

router = APIRouter()
public = APIRouter()
_MAX_LIFE = 10 * 365 * 86_400


class NewAuthorization(BaseModel):
    """What ``heroku login -i`` and ``authorizations:create`` send."""

    description: str = "Long-lived user authorization"
    expires_in: Annotated[int | None, Field(ge=1, le=_MAX_LIFE)] = None


@router.get("/account")
@router.get("/users/~")
async def account_info(caller: AccountDep) -> dict[str, Any]:
    """Tell who calls."""
    return serializers.account(caller)


@router.get("/oauth/authorizations")
async def list_authorizations(request: Request, caller: AccountDep, platform: PlatformDep) -> JSONResponse:
    """List the caller's authorizations; their tokens are not known any more."""
    found = await platform.store.run(rows.list_authorizations, caller.id)
    now = platform.clock.now()
    return paged(request, [serializers.authorization(each, now) for each in found], "created_at")


@router.get("/oauth/authorizations/~")
async def current_authorization(
    request: Request, found: AuthorizationDep, caller: AccountDep, platform: PlatformDep
) -> dict[str, Any]:
    """Show the authorization of the very token that was sent."""
    del caller
    token = presented_token(request.headers.get("authorization"))
    return serializers.authorization(found, platform.clock.now(), token)


@router.delete("/oauth/authorizations/{authorization_id}")
async def revoke(authorization_id: str, caller: AccountDep, platform: PlatformDep) -> dict[str, Any]:
    """Revoke one of the caller's tokens."""
    if not await platform.store.run(rows.delete_authorization, caller.id, authorization_id):
        raise Missing("authorization", "Couldn't find that authorization.")
    return {"id": authorization_id}


@router.delete("/oauth/sessions/~")
async def end_session(caller: AccountDep) -> dict[str, Any]:
    """End the caller's browser session: there are none here, which the CLI takes well."""
    raise Missing("session", f"There is no session of {caller.email}.")


@public.post("/oauth/authorizations", status_code=201)
async def create_authorization(
    request: Request, body: NewAuthorization, platform: PlatformDep
) -> dict[str, Any]:
    """Make a token for whoever proves to hold one: Basic with the address and an API key as password.

    This is what ``heroku login -i`` calls; the platform keeps no passwords. Bearer works as well.
    """
    header = request.headers.get("authorization")
    token, now = presented_token(header), platform.clock.now()
    held = await platform.store.run(rows.find_authorization, token, now) if token else None
    if held is None or held.account is None or _address(header) not in {None, held.account.email}:
        raise Unauthenticated("Invalid credentials provided.", hint="Give your API key as the password.")
    fresh = f"HRKU-{new_uuid()}"
    expires_at = None if body.expires_in is None else now + body.expires_in
    await platform.store.run(
        rows.add_authorization,
        fresh,
        body.description,
        now,
        account_id=held.account.id,
        expires_at=expires_at,
    )
    made = await platform.store.run(rows.find_authorization, fresh, now)
    assert made is not None  # noqa: S101  written a line above
    return serializers.authorization(made, now, fresh)


def _address(header: str | None) -> str | None:
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
