"""The listeners: HTTP for the API, TLS for git and the API on one port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
from typing import TYPE_CHECKING, Any

import uvicorn

from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

_GIT_PATH = re.compile(r"/[^/]+\.git/")
_MAX_HEADERS = 64 << 10
"""The CLI's Request-Id grows with each call of a process, to some 7 KB."""
_GRACE_SECONDS = 1


class GitOrApi:
    """Sends ``/<app>.git/…`` to git and the rest to the API."""

    def __init__(self, git: ASGIApp, api: ASGIApp) -> None:
        """Dispatch between the two."""
        self._git = git
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_git = scope["type"] == "http" and _GIT_PATH.match(scope["path"])
        await (self._git if is_git else self._api)(scope, receive, send)


def bind(host: str, port: int, what: str) -> socket.socket:
    """Return a listening socket.

    Raises:
        Unavailable: the port is taken; the message says so in one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise port_taken(host, port, what, error) from error
    listener.setblocking(False)
    return listener


def port_taken(host: str, port: int, what: str, error: OSError) -> Unavailable:
    """Return the error that says in one line which port cannot be used, and what to do."""
    reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return Unavailable(
        f"Port {port} ({what}) on {host} cannot be used: {reason}.",
        hint="Stop what listens there, or give another --port-base.",
    )


class _Server(uvicorn.Server):
    """A uvicorn server that tells when it accepts and leaves signals to the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()


class Listener:
    """One listening socket with an ASGI application behind it."""

    def __init__(
        self, listener: socket.socket, app: ASGIApp, *, cert: Path | None = None, key: Path | None = None
    ) -> None:
        """Serve ``app``; TLS with a certificate."""
        options: dict[str, Any] = {}
        if cert is not None:
            options = {"ssl_certfile": str(cert), "ssl_keyfile": str(key)}
        config = uvicorn.Config(
            app,
            http="h11",
            h11_max_incomplete_event_size=_MAX_HEADERS,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=30,
            **options,
        )
        self._socket = listener
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when connections are accepted.

        Raises:
            Unavailable: the server could not start.
        """
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[self._socket]))
        accepting = asyncio.ensure_future(self._server.accepting.wait())
        await asyncio.wait({accepting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not accepting.done():
            accepting.cancel()
            reason = self._task.exception() if self._task.done() else None
            raise Unavailable(f"A listener could not start: {reason}.")

    async def close(self) -> None:
        """Stop accepting, give open requests a second, then cut them."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait({self._task})
        self._socket.close()
