"""``/internal/…``: what the nodes of a fleet ask each other, signed with their shared secret, on raw ASGI.

Without a fleet the paths do not exist. An unsigned request learns nothing but that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from addon.api.raw import Scope, answer, answer_error, headers_of, read_body
from addon.fleet.peers import FLUSH, FORGET
from addon.fleet.signing import check
from platform_core.base.errors import InvalidInput, NotFound, SluiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from platform_core.base.clock import Clock

PREFIX = "/internal/"
_MAX_BODY = 4096


class InternalRoutes:
    """Both calls; ``flush`` and ``forget`` take an account's id."""

    def __init__(
        self,
        secret: str,
        flush: Callable[[int], Awaitable[object]],
        forget: Callable[[int], Awaitable[object]],
        clock: Clock,
    ) -> None:
        """Serve those who know ``secret``."""
        self._secret = secret
        self._work = {FLUSH: flush, FORGET: forget}
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one call; the 204 goes out when the work is done."""
        try:
            path, headers = scope["path"], headers_of(scope)
            body = await read_body(receive, headers, _MAX_BODY)
            check(self._secret, path, body, headers, self._clock.now())
            work = self._work.get(path)
            if work is None or scope["method"] != "POST":
                raise NotFound("There is no such call.")
            await work(_account(body))
        except SluiceError as error:
            await answer_error(send, error)
        else:
            await answer(send, 204)


def _account(body: bytes) -> int:
    try:
        return int(orjson.loads(body)["account_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput("The call names no account.") from error
