"""``python -m addon init`` makes the folder and prints what a platform needs; ``serve`` runs the add-on."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import socket
import ssl
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
import uvloop

from addon.api.connection import GuardedProtocol
from addon.bootstrap import Addon, initialise
from addon.ingest.allocator import give_back_freed_memory
from addon.receivers.service import Way
from addon.settings import Settings, settings_from
from platform_core.base.errors import SluiceError, Unavailable
from platform_core.base.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOOPBACK = "127.0.0.1"
_DRAIN_S = 3
_KEEP_ALIVE_S = 150
"""Longer than a log router keeps an idle connection (144 s and a bit), so that it is the one to close."""


class _Server(uvicorn.Server):
    """A server among others: signals are handled once for all, and its start is announced."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept."""
        await super().startup(sockets)
        self.ready.set()


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        message = f"Cannot listen on {address}:{port}: {error.strerror}."
        raise Unavailable(message, hint="Stop what uses the port, or choose another --port-base.") from error
    return listener


def _listen_to_ways(settings: Settings, tls: bool) -> dict[Way, socket.socket]:
    """Return a bound socket for each way in over TCP that the settings want."""
    wanted: dict[Way, int] = {}
    if settings.receivers and "ingest" in settings.roles():
        wanted |= {Way.SYSLOG: settings.syslog_port, Way.FORWARD: settings.forward_port}
        if tls:
            wanted[Way.SYSLOG_TLS] = settings.syslog_tls_port
        if settings.forward_local:
            wanted[Way.FORWARD_LOCAL] = settings.forward_local_port
    # Whatever address the others listen on: what asks for no key is for this machine only.
    hosts = {Way.FORWARD_LOCAL: _LOOPBACK}
    return {way: _listen(hosts.get(way, settings.host), port) for way, port in wanted.items()}


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as we may: each idle connection costs one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _config(application: Any, **tls: Any) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=GuardedProtocol,
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        **tls,
    )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain, flush and return.

    Raises:
        Unavailable: a port is in use, or another process uses the folder.
        InvalidInput: the settings are not valid.
    """
    _allow_many_connections()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listeners = [_listen(settings.host, settings.http_port)]
    tls = _tls_context(settings)
    if tls is not None:
        listeners.append(_listen(settings.host, settings.tls_port))
    ways = _listen_to_ways(settings, tls is not None)
    addon = Addon(settings)
    await addon.start()
    for way, listener in ways.items():
        await addon.receivers.start(
            way,
            listener,
            tls if way is Way.SYSLOG_TLS else None,
            local_account=addon.local_account if way is Way.FORWARD_LOCAL else None,
        )
    try:
        await _serve_until(stop, addon.application, listeners, settings)
    finally:
        await addon.close()


async def _serve_until(
    stop: asyncio.Event, application: Any, listeners: Sequence[socket.socket], settings: Settings
) -> None:
    tls = [{}, {"ssl_certfile": settings.tls_cert, "ssl_keyfile": settings.tls_key}]
    servers = [_Server(_config(application, **options)) for options, _ in zip(tls, listeners, strict=False)]
    running = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, listeners, strict=True)
    ]
    ready: asyncio.Future[Any] = asyncio.gather(*(server.ready.wait() for server in servers))
    await asyncio.wait([ready, *running], return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        stopped: asyncio.Future[Any] = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m addon", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make the folder and print manifest and keys as JSON")
    init.add_argument("--public-tls", metavar="HOST:PORT", help="where the TLS listener is reached")
    run = commands.add_parser("serve", help="serve until SIGTERM")
    run.add_argument("--role", help="ingest,api,worker or a part of them")
    run.add_argument("--tls-cert", type=Path, metavar="FILE")
    run.add_argument("--tls-key", type=Path, metavar="FILE")
    for command in (init, run):
        command.add_argument("--home", type=Path, metavar="DIR")
        command.add_argument("--port-base", type=int, metavar="N")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 1 and one line on stderr for what can be mended."""
    given = vars(_parser().parse_args(arguments))
    command, public_tls = given.pop("command"), given.pop("public_tls", None)
    configure_logs()
    try:
        settings = settings_from(given)
        if command == "init":
            print(json.dumps(initialise(settings, public_tls), indent=2))
        else:
            give_back_freed_memory()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve(settings))
    except SluiceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
