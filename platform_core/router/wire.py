"""An h11 connection over asyncio streams: events in, events out, with a timeout on every wait."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import h11

_CHUNK = 1 << 16


class Wire:
    """One side of an exchange. ``sent`` counts the bytes written so far."""

    def __init__(
        self,
        role: Any,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        max_head: int,
    ) -> None:
        """Speak as ``role`` (`h11.SERVER` to clients, `h11.CLIENT` to dynos)."""
        self.http = h11.Connection(role, max_incomplete_event_size=max_head)
        self.reader = reader
        self.writer = writer
        self.sent = 0

    async def event(self, timeout: float) -> Any:  # noqa: ASYNC109  # per read, not for the whole
        """Return the next event; ``timeout`` seconds apply to each wait for bytes.

        Raises:
            TimeoutError: nothing came in time.
            h11.RemoteProtocolError: what came is not HTTP.
            OSError: the connection broke.
        """
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            async with asyncio.timeout(timeout):
                self.http.receive_data(await self.reader.read(_CHUNK))

    async def send(self, *events: Any) -> None:
        """Write events and wait until the peer takes them in.

        Raises:
            OSError: the connection broke.
        """
        data = b"".join(self.http.send(event) or b"" for event in events)
        await self.send_raw(data)

    async def send_raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.sent += len(data)
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.close()

    def abort(self) -> None:
        """Break the connection, so that the peer does not take what it has for the whole."""
        self.writer.transport.abort()
