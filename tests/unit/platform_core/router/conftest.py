"""Fixtures of the router tests: a router on a real port, dynos that are asyncio servers, a raw client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from platform_core.models.routing import AppRoute, WebState
from platform_core.router.server import HttpRouter
from platform_core.router.settings import RouterSettings
from platform_core.router.table import RouteTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

APP = "app-1"


class MemoryLog:
    """A `LogWriter` that keeps router lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(
        self,
        app_id: str,
        source: str,
        process: str,
        lines: Sequence[bytes],
        *,
        pri: int = 190,
        at: float | None = None,
    ) -> None:
        assert (app_id, source, process, pri) == (APP, "heroku", "router", 158)
        assert at is not None
        self.lines += [line.decode() for line in lines]


@dataclass
class SocketBackend:
    """A `Backend` on a port of this machine."""

    port: int
    dyno: str = "web.1"
    leases: int = 0
    most_leases: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def connect(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    @contextlib.contextmanager
    def lease(self) -> Iterator[None]:
        self.leases += 1
        self.most_leases = max(self.most_leases, self.leases)
        try:
            yield
        finally:
            self.leases -= 1


class RawClient:
    """Bytes in, bytes out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(10):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = text.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in rest)
        return int(first.split()[1]), {key.lower(): value for key, value in headers.items()}

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        while headers.get("transfer-encoding") == "chunked":
            size = int(await self.reader.readline(), 16)
            body += await self.reader.readexactly(size)
            await self.reader.readline()
            if size == 0:
                break
        return status, headers, body

    async def rest(self) -> bytes:
        try:
            async with asyncio.timeout(10):
                return await self.reader.read()
        except ConnectionResetError:
            return b""


@dataclass
class Bench:
    """A router and what surrounds it."""

    router: HttpRouter
    table: RouteTable
    log: MemoryLog
    stack: contextlib.AsyncExitStack

    async def dyno(self, handler: Handler, name: str = "web.1") -> SocketBackend:
        """Start a server that stands for a dyno."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
                await handler(reader, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.stack.callback(server.close)
        return SocketBackend(server.sockets[0].getsockname()[1], name)

    async def web(self, handler: Handler) -> SocketBackend:
        """Route the app to one such dyno."""
        backend = await self.dyno(handler)
        self.publish(backend)
        return backend

    def publish(
        self, *backends: SocketBackend, web: WebState = WebState.UP, maintenance: bool = False
    ) -> None:
        self.table.publish(AppRoute(APP, "shop", web, backends, maintenance))

    async def client(self) -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.router.port)
        self.stack.callback(writer.close)
        return RawClient(reader, writer)

    async def get(self, path: str = "/", host: str = "shop.localhost") -> tuple[int, dict[str, str], bytes]:
        client = await self.client()
        await client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return await client.response()


def answering(body: bytes = b"hello", head: bytes = b"") -> Handler:
    """Return a handler that reads a request's head and answers."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), head, body))
        await writer.drain()

    return handle


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def router_settings() -> RouterSettings:
    return RouterSettings(
        connect_timeout=0.3,
        boot_timeout=0.5,
        first_byte_timeout=0.4,
        idle_timeout=0.4,
        head_timeout=0.4,
        body_timeout=0.2,
        keep_alive_timeout=0.6,
    )


@pytest.fixture
async def bench(router_settings: RouterSettings) -> AsyncIterator[Bench]:
    table, log = RouteTable(), MemoryLog()
    router = HttpRouter(table, log, router_settings)
    await router.start()
    async with contextlib.AsyncExitStack() as stack:
        yield Bench(router, table, log, stack)
        await router.close(grace=1)
