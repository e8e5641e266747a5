"""An h11 connection over asyncio streams: events in, events out, with a timeout on every wait."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import h11

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 16


class WatchedReader(asyncio.StreamReader):
    """A stream that can tell of its end when nobody reads from it."""

    def __init__(self, limit: int) -> None:
        """Buffer at most twice ``limit`` bytes."""
        super().__init__(limit=limit)
        self.ended = False
        self.when_ended: Callable[[], object] | None = None

    def feed_eof(self) -> None:
        """Take the peer's end of it."""
        super().feed_eof()
        self._end()

    def set_exception(self, exc: Exception) -> None:
        """Take the connection's breakdown."""
        super().set_exception(exc)
        self._end()

    def _end(self) -> None:
        self.ended = True
        if self.when_ended is not None:
            self.when_ended()


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

    async def events(self, timeout: float) -> list[Any]:  # noqa: ASYNC109  # as above
        """Return the next event and all that came with it, to be passed on in one piece.

        Raises:
            TimeoutError, h11.RemoteProtocolError, OSError: as `event`, when nothing came before it.
        """
        return [await self.event(timeout), *self.at_hand()]

    def at_hand(self) -> list[Any]:
        """Return the message's events that need no waiting; a fault behind them shows at the next call."""
        found: list[Any] = []
        try:
            while self.http.their_state is h11.SEND_BODY:
                event = self.http.next_event()
                if event is h11.NEED_DATA:
                    break
                found.append(event)
        except h11.RemoteProtocolError:
            if not found:
                raise
        return found

    @property
    def hung_up(self) -> bool:
        """Whether the peer has ended its side, read or unread; known of watched connections only."""
        return isinstance(self.reader, WatchedReader) and self.reader.ended

    @contextlib.contextmanager
    def on_hang_up(self, act: Callable[[], object]) -> Iterator[None]:
        """Call ``act`` when the peer hangs up during the block, or has done so already."""
        reader = self.reader
        if not isinstance(reader, WatchedReader):
            raise TypeError("only a watched connection tells of its end")
        if reader.ended:
            act()
        reader.when_ended = act
        try:
            yield
        finally:
            reader.when_ended = None

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
