"""Single sign-on: the ``web_url`` of an add-on, and the page that it opens."""

import html

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from platform_core.addons.sso import Ticket, new_ticket, seal, sso_form, unseal
from platform_core.api.context import Platform, PlatformDep
from platform_core.base.errors import Forbidden
from platform_core.models.addons import AddOn
from platform_core.models.apps import Account
from platform_core.store.accounts import get_account
from platform_core.store.addons import get_addon
from platform_core.store.tickets import platform_secret, use_ticket

public = APIRouter()
_SECRET = "sso"  # noqa: S105  the secret's name, not the secret
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Signing in to {name}</title></head>
<body><form id="sso" method="post" action="{action}">
{fields}
<noscript><button>Sign in to {name}</button></noscript></form>
<script>document.getElementById("sso").submit();</script></body></html>
"""


async def sso_url(platform: Platform, addon: AddOn, caller: Account, app_name: str) -> str:
    """Return a link that signs ``caller`` in to the add-on's dashboard, once, within some minutes."""
    ticket = new_ticket(addon.id, caller.id, app_name, platform.clock.now())
    key = await platform.store.run(platform_secret, _SECRET)
    return f"{platform.urls.api}/sso/{seal(ticket, key)}"


def _redeem(connection: sa.Connection, text: str, now: float) -> tuple[Ticket, AddOn, Account]:
    ticket = unseal(text, platform_secret(connection, _SECRET), now)
    if not use_ticket(connection, ticket.nonce, ticket.expires_at, now):
        raise Forbidden("This sign-in link was used.", hint="Get a new one with `heroku addons:open`.")
    return ticket, get_addon(connection, ticket.addon_id), get_account(connection, ticket.account_id)


@public.get("/sso/{ticket}")
async def sign_in(ticket: str, platform: PlatformDep) -> HTMLResponse:
    """Post the vendor's tokens from the user's browser; the ticket in the path is the authorization."""
    now = platform.clock.now()
    redeemed, addon, user = await platform.store.run(_redeem, ticket, now)
    service = platform.catalog.get(addon.service)
    form = sso_form(service, addon, user, redeemed.app_name, now)
    fields = "\n".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in form.items()
    )
    page = _PAGE.format(
        name=html.escape(service.human_name), action=html.escape(service.sso_url), fields=fields
    )
    return HTMLResponse(page, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
