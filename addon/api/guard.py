"""What stands before the framework's routes: a body limit, a receive timeout, security headers."""

from __future__ import annotations

import asyncio
from typing import Any

from addon.api.errors import td_error
from addon.api.raw import MAX_BODY, Scope, answer_json

_RECEIVE_TIMEOUT_S = 30.0
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Guard:
    """ASGI middleware: counts the body while it streams and cuts off senders that pause."""

    def __init__(self, app: Any, limit: int = MAX_BODY) -> None:
        """Protect ``app``; a body over ``limit`` bytes is refused."""
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        seen = 0

        async def counted() -> dict[str, Any]:
            nonlocal seen
            if started:  # only waiting for the client to go away now: that may take as long as it likes
                later: dict[str, Any] = await receive()
                return later
            try:
                message: dict[str, Any] = await asyncio.wait_for(receive(), _RECEIVE_TIMEOUT_S)
            except TimeoutError as error:
                raise _Refused(408, "The request's body did not come in time.") from error
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise _Refused(413, f"The body is over the limit of {self._limit >> 20} MiB.")
            return message

        async def guarded(message: dict[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                given = {name.lower() for name, _ in message["headers"]}
                added = [header for header in _HEADERS if header[0] not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        try:
            await self._app(scope, counted, guarded)
        except _Refused as refused:
            if not started:
                await answer_json(send, refused.status, td_error(refused.status, refused.message))
