"""One TCP connection as bytes to take: reads ahead up to a mark, then lets TCP hold the sender back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class Inflow(asyncio.Protocol):
    """The transport's side calls the protocol methods, the handler's side ``take`` and ``write``."""

    def __init__(self, ahead_bytes: int, opened: Callable[[Inflow], None]) -> None:
        """Read at most about ``ahead_bytes`` ahead; call ``opened`` when the connection stands."""
        self._ahead = ahead_bytes
        self._opened = opened
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._stopped = False
        self._ended = False
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self.clean_end = False
        """The sender has closed its side in order."""
        self.peer = ""

    # The transport's side
    # ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport and the peer's address."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Keep bytes; stop reading when there are enough."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= self._ahead and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        """Keep our own side open for what is still to be answered."""
        self.clean_end = self._ended = True
        self._changed.set()
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self._ended = True
        self.clean_end |= exc is None
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Let ``write`` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let ``write`` go on."""
        self._writable.set()

    # The handler's side
    # ----------------------------------------------------------------------------------------------------

    async def take(self, timeout_s: float) -> bytes:
        """Return everything that has come, at least one byte; empty at the end.

        Raises:
            TimeoutError: nothing came.
        """
        while not self._chunks:
            if self._ended or self._stopped:
                return b""
            self._changed.clear()
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._read_on()
        return data

    def _read_on(self) -> None:
        if self._transport is None or self._transport.is_closing() or self._stopped or self._ended:
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    async def write(self, data: bytes, timeout_s: float) -> None:
        """Send bytes; wait while the peer does not take them.

        Raises:
            TimeoutError: the peer takes nothing.
        """
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        async with asyncio.timeout(timeout_s):
            await self._writable.wait()

    def stop(self) -> None:
        """Read nothing more; ``take`` returns what is here, then the end."""
        self._stopped = True
        if self._transport is not None and not self._transport.is_closing() and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._changed.set()

    def close(self) -> None:
        """Close the connection; what was written is still sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
