"""Single sign-on to a vendor's dashboard: tokens for the vendor, tickets for our own links.

A link (``web_url``) carries a ticket signed by the platform. It works once and for a short while, then the
browser gets a page whose form posts the vendor's tokens to the vendor.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import Forbidden
from platform_core.base.ids import new_secret, same_secret

if TYPE_CHECKING:
    from platform_core.models.addons import AddOn, Service
    from platform_core.models.apps import Account

TICKET_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who may sign in to which add-on, seen from which app; ``expires_at`` in Unix seconds."""

    addon_id: str
    account_id: str
    app_name: str
    nonce: str
    expires_at: float


def new_ticket(addon_id: str, account_id: str, app_name: str, at: float) -> Ticket:
    """Return a fresh ticket."""
    return Ticket(addon_id, account_id, app_name, new_secret(16), at + TICKET_SECONDS)


def seal(ticket: Ticket, key: str) -> str:
    """Return the ticket as URL-safe text that only the holder of ``key`` can have made."""
    payload = base64.urlsafe_b64encode(json.dumps(asdict(ticket)).encode()).decode().rstrip("=")
    return f"{payload}.{_mac(payload, key)}"


def unseal(text: str, key: str, at: float) -> Ticket:
    """Return the ticket in ``text``.

    Raises:
        Forbidden: it was not made with ``key``, or is too old.
    """
    payload, _, mac = text.partition(".")
    if not same_secret(mac, _mac(payload, key)):
        raise _refusal()
    try:
        padded = payload + "=" * (-len(payload) % 4)
        ticket = Ticket(**json.loads(base64.urlsafe_b64decode(padded)))
    except (ValueError, TypeError, binascii.Error) as error:
        raise _refusal() from error
    if ticket.expires_at <= at:
        raise _refusal()
    return ticket


def _refusal() -> Forbidden:
    return Forbidden(
        "This sign-in link is not valid any more.", hint="Get a new one with `heroku addons:open`."
    )


def _mac(payload: str, key: str) -> str:
    return hmac.new(key.encode(), payload.encode(), hashlib.sha256).hexdigest()


def sso_form(service: Service, addon: AddOn, account: Account, app_name: str, at: float) -> dict[str, str]:
    """Return the fields that a vendor's ``sso_url`` expects, with the tokens of all three versions."""
    stamp, salt = str(int(at)), service.sso_salt
    provider_id = addon.provider_id or addon.id
    nav = base64.b64encode(json.dumps({"addon": service.human_name, "appname": app_name}).encode()).decode()
    scoped = f"{addon.id}:{salt}:{stamp}:{account.id}:{account.email}"
    return {
        "resource_id": addon.id,
        "resource_token": _sha1(f"{addon.id}:{salt}:{stamp}"),
        "user_scoped_resource_token": hashlib.sha256(scoped.encode()).hexdigest(),
        "user_id": account.id,
        "email": account.email,
        "timestamp": stamp,
        "nav-data": nav,
        "app": addon.app_name,
        "context_app": app_name,
        "id": provider_id,
        "token": _sha1(f"{provider_id}:{salt}:{stamp}"),
    }


def _sha1(text: str) -> str:
    # The protocol's own choice; the salt makes it a keyed hash, and the token lives for minutes.
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
