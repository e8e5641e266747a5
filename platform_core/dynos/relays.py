"""Lets a dyno without a network reach single services of the host: a listener inside, a pump outside."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from platform_core.base.sandbox.spec import SandboxProcess

_CHUNK = 1 << 16
_MAX_CONNECTIONS = 256
log = get_logger(__name__)


class Relays:
    """The relays of one dyno: 127.0.0.1:port inside leads to (host, port) outside."""

    def __init__(self) -> None:
        """Start with none."""
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, process: SandboxProcess, services: Sequence[tuple[str, int]]) -> None:
        """Listen inside ``process`` for each service.

        Raises:
            Unavailable: the process has ended already.
        """
        for host, port in services:
            listener = await process.listen(port)
            self._listeners.append(listener)
            self._start(self._accept(listener, host, port))

    def close(self) -> None:
        """End all listeners and connections."""
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners:
            listener.close()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                inside, _address = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("relay_accept_failed", port=port, error=str(error))
                return
            if len(self._tasks) >= _MAX_CONNECTIONS:
                inside.close()
                continue
            self._start(_serve(inside, host, port))


async def _serve(inside: socket.socket, host: str, port: int) -> None:
    with inside:
        outside = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with outside:
            outside.setblocking(False)
            for end in (inside, outside):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_connect(outside, (host, port))
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(inside, outside))
                    both.create_task(_pump(outside, inside))


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with contextlib.suppress(OSError):
        while count := await loop.sock_recv_into(source, buffer):
            await loop.sock_sendall(sink, view[:count])
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
