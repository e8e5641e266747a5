"""A web dyno as the router reaches it, counting the requests it is serving."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from platform_core.base.sandbox.spec import SandboxProcess


class DynoBackend:
    """The `Backend` of one run of a web dyno."""

    def __init__(self, dyno: str, process: SandboxProcess, port: int) -> None:
        """Reach ``port`` inside ``process``."""
        self._dyno = dyno
        self._process = process
        self._port = port
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def dyno(self) -> str:
        """The dyno's name."""
        return self._dyno

    async def connect(self) -> socket.socket:
        """Return a connected, non-blocking socket.

        Raises:
            OSError: refused or unreachable.
        """
        return await self._process.connect(self._port)

    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        """Count a request for the block."""
        self._active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def drained(self, seconds: float) -> bool:
        """Wait until no request is being served; False when ``seconds`` were not enough."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
