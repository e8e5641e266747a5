"""OAuth for vendors: the code of a provision request becomes tokens for that one add-on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import Unauthenticated
from platform_core.base.ids import new_secret, same_secret
from platform_core.store.accounts import add_authorization
from platform_core.store.addons import get_addon
from platform_core.store.tickets import (
    GRANT_CODE,
    GRANT_REFRESH,
    add_grant,
    delete_grant,
    find_grant,
)

if TYPE_CHECKING:
    import sqlalchemy as sa

    from platform_core.addons.market import Market

TOKEN_SECONDS = 28_800
_KINDS = {"authorization_code": GRANT_CODE, "refresh_token": GRANT_REFRESH}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a vendor gets: an access token for `TOKEN_SECONDS`, and a refresh token without an end."""

    access_token: str
    refresh_token: str


class TokenExchange:
    """The token endpoint's work."""

    def __init__(self, market: Market) -> None:
        """Work on ``market``."""
        self._market = market

    async def exchange(self, grant_type: str, grant: str, client_secret: str) -> Tokens:
        """Trade a code (once) or a refresh token for an access token.

        Raises:
            Unauthenticated: the grant or the vendor's client secret is wrong, spent or too old.
        """
        kind = _KINDS.get(grant_type)
        if kind is None or not grant:
            raise Unauthenticated("The grant is not valid.", hint="Send grant_type and its code or token.")
        return await self._market.store.run(self._trade, kind, grant, client_secret)

    def _trade(self, connection: sa.Connection, kind: str, grant: str, client_secret: str) -> Tokens:
        now = self._market.clock.now()
        addon_id = find_grant(connection, grant, kind, now)
        if addon_id is None:
            raise Unauthenticated("The grant is not valid: unknown, spent or too old.")
        addon = get_addon(connection, addon_id)
        expected = self._market.catalog.get(addon.service).client_secret
        if not expected or not same_secret(client_secret, expected):
            raise Unauthenticated("The client secret is wrong.")
        refresh = grant
        if kind == GRANT_CODE:
            delete_grant(connection, grant)
            refresh = new_secret()
            add_grant(connection, refresh, addon_id, GRANT_REFRESH, None)
        access = new_secret()
        add_authorization(
            connection,
            access,
            f"{addon.service} for {addon.name}",
            now,
            addon_id=addon_id,
            expires_at=now + TOKEN_SECONDS,
        )
        return Tokens(access, refresh)
