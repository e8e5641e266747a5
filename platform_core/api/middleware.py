"""What holds for every request: a request id, the API version, a limit on bodies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from platform_core.api.errors import error_response
from platform_core.base.ids import new_uuid

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1 << 20
"""Bytes of a request body; the largest legal one is a PATCH of all config vars (64 KiB)."""
_VERSION = re.compile(r"application/vnd\.heroku\+json\s*;\s*version=(\w+)")
_REQUEST_ID = re.compile(r"[\w.-]{1,128}")


class ProtocolRules:
    """Checks a request before any endpoint sees it, and stamps its answer."""

    def __init__(self, app: ASGIApp, *, max_body: int = MAX_BODY) -> None:
        """Wrap ``app``."""
        self._app = app
        self._max_body = max_body
        self._limit_text = f"The request body is over {max_body} bytes."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("request-id"))

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Request-Id"] = request_id
            await send(message)

        version = _VERSION.search(headers.get("accept", ""))
        if version is not None and version[1] != "3":
            text = f"Version {version[1]} of the API is not served here; ask for version=3."
            await error_response(406, "not_acceptable", text)(scope, receive, stamped)
            return
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > self._max_body:
            await error_response(413, "too_large", self._limit_text)(scope, receive, stamped)
            return
        await self._app(scope, self._limited(receive), stamped)

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_body:
                    # This class passes through FastAPI's body reader untouched.
                    raise HTTPException(413, self._limit_text)
            return message

        return limited


def _request_id(header: str | None) -> str:
    # The CLI appends to a comma list on each call of one process; the last is this request's own.
    own = (header or "").rpartition(",")[2].strip()
    return own if _REQUEST_ID.fullmatch(own) else new_uuid()
