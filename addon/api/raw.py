"""Requests and answers of the hot routes, straight on ASGI: a framework makes them 3 times slower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from addon.api.errors import error_headers, status_of, td_error
from platform_core.base.errors import SluiceError, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

Scope = dict[str, Any]
MAX_BODY = 32 << 20


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the request's headers by lower-case name; of repeated ones the last."""
    return dict(scope["headers"])


async def read_body(receive: Any, headers: Mapping[bytes, bytes], limit: int = MAX_BODY) -> bytes:
    """Read a whole body, counting while it streams; how slowly it may come is the connection's matter.

    Raises:
        TooLarge: it is over ``limit``; the rest is not read.
        ClientGone: the client went away.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over the limit of {limit >> 20} MiB.", hint="Send smaller batches.")


async def answer(
    send: Any,
    status: int,
    body: bytes = b"",
    kind: bytes = b"application/json",
    more: Mapping[str, str] | None = None,
) -> None:
    """Send one complete answer."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in (more or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def answer_json(
    send: Any, status: int, content: Mapping[str, Any], more: Mapping[str, str] | None = None
) -> None:
    """Send a JSON object."""
    await answer(send, status, orjson.dumps(content), more=more)


async def answer_error(send: Any, error: SluiceError) -> None:
    """Send an error in Treasure Data's form."""
    status = status_of(error)
    text = str(error) if status != 500 else "Something went wrong inside the service."  # noqa: PLR2004
    await answer_json(send, status, td_error(status, text), error_headers(error))
