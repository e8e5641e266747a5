"""The router's front: accepts connections, keeps their number bounded, ends them in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from platform_core.base.logs import get_logger
from platform_core.router.connection import ClientConnection, Listener
from platform_core.router.settings import RouterSettings
from platform_core.router.wire import WatchedReader

if TYPE_CHECKING:
    from platform_core.models.logs import LogWriter
    from platform_core.router.table import RouteTable

_BACKLOG = 1024
_BUFFER = 1 << 16
log = get_logger(__name__)


class HttpRouter:
    """Routes HTTP/1.1 requests to web dynos by their Host header."""

    def __init__(
        self, routes: RouteTable, log_writer: LogWriter, settings: RouterSettings | None = None
    ) -> None:
        """Read routes from ``routes``; write a log line per request through ``log_writer``."""
        self._routes = routes
        self._log = log_writer
        self._settings = settings or RouterSettings()
        self._server: asyncio.Server | None = None
        self._listener = Listener(0)
        self._connections: dict[asyncio.Task[None], ClientConnection] = {}

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._listener.port

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 picks a free one.

        Raises:
            OSError: the port is in use.
        """
        self._server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(WatchedReader(_BUFFER), self._accepted),
            host,
            port,
            backlog=_BACKLOG,
        )
        self._listener = Listener(self._server.sockets[0].getsockname()[1])

    async def close(self, grace: float = 5.0) -> None:
        """Accept nothing more, let running requests finish for ``grace`` seconds, end the rest."""
        if self._server is None:
            return
        self._server.close()
        for task, connection in list(self._connections.items()):
            connection.closing = True
            if not connection.busy:
                task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace)
        leftover = list(self._connections)
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)
        self._server = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._settings.max_connections:
            log.warning("router_full", connections=len(self._connections))
            writer.transport.abort()
            return
        connection = ClientConnection(
            reader, writer, self._routes, self._log, self._settings, listener=self._listener
        )
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # we run in one
        self._connections[task] = connection
        try:
            await connection.serve()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._connections.pop(task, None)
