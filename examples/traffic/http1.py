"""A small, fast HTTP/1.1 client: one keep-alive connection, one request at a time.

It never repeats a request: a purchase that was sent twice would be counted twice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import httptools

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class HttpError(Exception):
    """A request did not get a whole answer."""


class Answer:
    """One response, as the parser fills it in."""

    def __init__(self) -> None:
        """Start empty."""
        self.body = b""
        self.complete = False

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note the end."""
        self.complete = True


class Connection:
    """A keep-alive connection to one server."""

    def __init__(self, address: str, port: int, host: str) -> None:
        """Connect to ``address:port``, asking for the site ``host``."""
        self._address, self._port, self._host = address, port, host
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        """Return the connection; it opens with the first request."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self._close()

    async def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Send one request; return its status and body.

        Raises:
            HttpError: the server closed the connection before the answer was complete.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._address, self._port)
        reader, writer = self._streams
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines.append("Content-Type: application/x-www-form-urlencoded")
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            data = await reader.read(65_536)
            if not data:
                await self._close()
                raise HttpError(f"{method} {target}: the server closed the connection")
            parser.feed_data(data)
        if not parser.should_keep_alive():
            await self._close()
        return parser.get_status_code(), answer.body
