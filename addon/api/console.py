"""Single sign-on and the signed-in page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from addon.api.auth import Rooms, marked, public
from addon.api.services import Services
from addon.api.td.params import Parameters
from addon.models.resources import Resource
from addon.provisioning.manifest import limits_text
from addon.provisioning.sso import SESSION_S
from platform_core.base.ids import new_secret

router = APIRouter()
_COOKIE = "sluice-session"
_NAV_COOKIE = "heroku-nav-data"
_MAX_NAV = 3_000
_NOWHERE_ELSE = "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_PAGE = Environment(
    loader=PackageLoader("addon.api"), autoescape=True, undefined=StrictUndefined
).get_template("account.html")
_FIELDS = (
    "resource_id", "resource_token", "user_scoped_resource_token", "user_id", "email", "timestamp", "id",
    "token",
)  # fmt: skip


@router.post("/sso/login", dependencies=[Depends(public)])
async def login(request: Request, rooms: Rooms, params: Parameters) -> Response:
    """Open a session for a good sign-on form, and go to the page."""
    form = {name: params.text(name) for name in _FIELDS}
    resource = await asyncio.to_thread(rooms.sign_on.login, form)
    answer = RedirectResponse("/account", status_code=302)
    secure = request.url.scheme == "https"
    session = rooms.sign_on.open_session(resource)
    answer.set_cookie(_COOKIE, session, max_age=SESSION_S, httponly=True, secure=secure, samesite="lax")
    navigation = params.text("nav-data")[:_MAX_NAV]
    if navigation.isascii() and navigation.isprintable():
        answer.set_cookie(_NAV_COOKIE, navigation, secure=secure, samesite="lax")
    return answer


@marked
async def signed_in(request: Request, rooms: Rooms) -> Resource:
    """Let in who has a session."""
    return await asyncio.to_thread(rooms.sign_on.session, request.cookies.get(_COOKIE, ""))


@router.get("/account")
def account_page(rooms: Rooms, resource: Annotated[Resource, Depends(signed_in)]) -> Response:
    """Show the account: plan, limits, usage, tables, how to connect."""
    nonce = new_secret(16)
    account = resource.account
    page = _PAGE.render(
        nonce=nonce,
        resource=resource,
        app="",
        plan=account.plan,
        limits=limits_text(account.plan),
        usage=rooms.quotas.usage(account),
        server=rooms.public_url,
        tables=_tables(rooms, account.id),
    )
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; {_NOWHERE_ELSE}"
    return HTMLResponse(page, headers={"content-security-policy": policy})


def _tables(rooms: Services, account_id: int) -> list[dict[str, Any]]:
    shown = []
    for database in rooms.catalog.databases(account_id):
        for table in rooms.catalog.tables(account_id, database.name):
            newest = table.last_log_time
            stamp = None if newest is None else datetime.fromtimestamp(newest, UTC).isoformat(" ")
            shown.append({"database": database.name, "name": table.name, "rows": table.rows, "newest": stamp})
    return shown
