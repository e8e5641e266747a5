"""Who asks, and whether they may: one of these dependencies is on every route (a test walks them all)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from addon.api.services import Services
from addon.models.accounts import AccountState, Identity, Right
from addon.store.accounts import AccountStore
from platform_core.base.errors import Forbidden, Unauthenticated

_SCHEME = "TD1"
_MAX_KEY = 200
AUTH_MARK = "decides_access"
"""An attribute of every dependency that settles who may call a route."""


def services(request: Request) -> Services:
    """Return the rooms that the application was made with."""
    found: Services = request.app.state.services
    return found


Rooms = Annotated[Services, Depends(services)]


def identify(accounts: AccountStore, authorization: str) -> Identity:
    """Return who the header ``TD1 <key>`` belongs to.

    Raises:
        Unauthenticated: no key, or a wrong one.
    """
    scheme, _, key = authorization.strip().partition(" ")
    key = key.strip()
    if scheme.upper() != _SCHEME or not key or len(key) > _MAX_KEY:
        raise Unauthenticated(
            "The API key is missing.", hint="Send the header Authorization: TD1 <your API key>."
        )
    identity = accounts.identify(key)
    if identity is None or identity.account.state is not AccountState.PROVISIONED:
        raise Unauthenticated("The API key is not valid.", hint="Look it up in TREASURE_DATA_API_KEY.")
    return identity


def check_right(identity: Identity, *allowed: Right) -> Identity:
    """Return the identity when its key carries one of the rights; a master key carries all.

    Raises:
        Forbidden: it does not.
    """
    if identity.right is not Right.MASTER and identity.right not in allowed:
        raise Forbidden(
            f"This API key has the right {identity.right.value!r}, which is not enough for this.",
            hint="Use the account's master key.",
        )
    return identity


def marked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a dependency as one that decides access."""
    setattr(function, AUTH_MARK, True)
    return function


def _with_key(*allowed: Right) -> Callable[..., Awaitable[Identity]]:
    async def dependency(request: Request, rooms: Rooms) -> Identity:
        identity = identify(rooms.accounts, request.headers.get("authorization", ""))
        check_right(identity, *allowed)
        if Right.READ in allowed:
            rooms.query.pool.prewarm(identity.account)
        return identity

    return marked(dependency)


reader = _with_key(Right.READ)
writer = _with_key(Right.WRITE)
anyone = _with_key(Right.READ, Right.WRITE)
master = _with_key()

Reader = Annotated[Identity, Depends(reader)]
Writer = Annotated[Identity, Depends(writer)]
Anyone = Annotated[Identity, Depends(anyone)]
Master = Annotated[Identity, Depends(master)]


@marked
def public() -> None:
    """Open to everybody; says so where others say who may call."""
