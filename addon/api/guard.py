"""What stands before the framework's routes: a body limit, security headers."""

from __future__ import annotations

from typing import Any

from addon.api.raw import MAX_BODY, Scope
from platform_core.base.errors import TooLarge

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """ASGI middleware: counts the body while it streams, and adds security headers."""

    def __init__(self, app: Any, limit: int = MAX_BODY) -> None:
        """Protect ``app``; reading a body over ``limit`` bytes raises TooLarge inside it."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0

        async def counted() -> dict[str, Any]:
            nonlocal seen
            message: dict[str, Any] = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise TooLarge(f"The body is over the limit of {self._limit >> 20} MiB.")
            return message

        async def guarded(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = [header for header in _HEADERS if header[0] not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, counted, guarded)
