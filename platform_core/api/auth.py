"""Who calls: every endpoint names one of these dependencies, or is listed as public."""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request

from platform_core.api.context import PlatformDep
from platform_core.base.errors import Forbidden, Unauthenticated
from platform_core.models.access import Authorization
from platform_core.models.apps import Account
from platform_core.store.accounts import find_authorization

_HINT = "Run `heroku login`, or set HEROKU_API_KEY to a key of this platform."


def presented_token(header: str | None) -> str | None:
    """Return the token of an Authorization header: ``Bearer KEY``, or Basic with the key as password."""
    scheme, _, rest = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        return decoded.partition(":")[2] or None
    return None


async def authorization(request: Request, platform: PlatformDep) -> Authorization:
    """Return the authorization of any valid token: an account's, or a vendor's for one add-on.

    Raises:
        Unauthenticated: there is no token, or it is not one of ours.
    """
    token = presented_token(request.headers.get("authorization"))
    found = await platform.store.run(find_authorization, token, platform.clock.now()) if token else None
    if found is None:
        raise Unauthenticated("Invalid credentials provided.", hint=_HINT)
    return found


async def account(found: Annotated[Authorization, Depends(authorization)]) -> Account:
    """Return the account that calls.

    Raises:
        Forbidden: the token is a vendor's; it opens the endpoints of its add-on only.
    """
    if found.account is None:
        raise Forbidden("This token is limited to its own add-on.")
    return found.account


AccountDep = Annotated[Account, Depends(account)]
"""The calling account, as a parameter of an endpoint."""
AuthorizationDep = Annotated[Authorization, Depends(authorization)]
"""The caller's authorization where vendors' tokens are welcome too."""
