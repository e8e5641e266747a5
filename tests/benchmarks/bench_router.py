"""The HTTP router: requests per second through it, beside the same requests sent to the backend directly.

Router and backend are processes of their own, as in a real installation; this process is the client: a few
keep-alive connections, one request at a time on each, small answers. The ratio says what the hop costs. The
second figure counts the router's own processor time, which other work on the machine does not blur.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.figures import Figure, interleaved

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "router"
CONNECTIONS: Final = 4
REQUESTS: Final = 1_500
ROUNDS: Final = 3
BODY: Final = b"x" * 512
READY_SECONDS: Final = 30
REQUEST: Final = (
    b"GET /products/blue-ledger HTTP/1.1\r\nHost: shop.localhost\r\nUser-Agent: bench\r\n"
    b"Accept: */*\r\nCookie: visitor=c00042\r\nReferer: https://www.example.com/search?q=discs\r\n\r\n"
)
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Set-Cookie: visitor=c00042; HttpOnly; Path=/; SameSite=Lax\r\n\r\n" % len(BODY)
) + BODY

BACKEND: Final = f"""
import asyncio, uvloop
class Backend(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.seen = transport, b""
    def data_received(self, data):
        self.seen += data
        while b"\\r\\n\\r\\n" in self.seen:
            head, _, self.seen = self.seen.partition(b"\\r\\n\\r\\n")
            self.transport.write({ANSWER!r})
            if b"onnection: close" in head:
                self.transport.close()
async def main():
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""
ROUTER: Final = """
import asyncio, contextlib, socket, sys, uvloop
from platform_core.logplex.router import Logplex
from platform_core.logplex.settings import LogplexSettings
from platform_core.base.clock import SystemClock
from platform_core.models.routing import AppRoute, WebState
from platform_core.router.server import HttpRouter
from platform_core.router.table import RouteTable
class Backend:
    dyno = "web.1"
    async def connect(self):
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", int(sys.argv[1])))
        return sock
    def lease(self):
        return contextlib.nullcontext()
async def main():
    table = RouteTable()
    table.publish(AppRoute("app-1", "shop", WebState.UP, (Backend(),)))
    router = HttpRouter(table, Logplex(LogplexSettings(), SystemClock()))
    await router.start()
    print(router.port, flush=True)
    await asyncio.Event().wait()
asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


@contextlib.contextmanager
def program(code: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """Run a program that prints its port; lend its process id and the port."""
    argv = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def visit(port: int, requests: int) -> None:
    """Send ``requests`` requests, one after the other, on one connection; every answer must be whole."""
    with socket.create_connection(("127.0.0.1", port), timeout=READY_SECONDS) as sock:
        for _ in range(requests):
            sock.sendall(REQUEST)
            answer = b""
            while not answer.endswith(BODY):
                piece = sock.recv(1 << 16)
                if not piece:
                    raise RuntimeError(f"the connection ended after {answer[:80]!r}")
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"answered {answer[:80]!r}")


def rate(port: int) -> float:
    """Return requests per second over all connections."""
    each = REQUESTS // CONNECTIONS
    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as clients:
        list(clients.map(lambda _: visit(port, each), range(CONNECTIONS)))
    return CONNECTIONS * each / (time.perf_counter() - started)


def processor_seconds(pid: int) -> float:
    """Return the processor time, user and system, that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures() -> list[Figure]:
    """Measure both ways in turns."""
    with program(BACKEND) as (_, backend), program(ROUTER, str(backend)) as (router_pid, router):
        rate(router)  # its imports and first connections are no part of the figures
        before = processor_seconds(router_pid)
        rates = interleaved({"router": lambda: rate(router), "direct": lambda: rate(backend)}, ROUNDS)
        took = processor_seconds(router_pid) - before
    peer = "the backend itself, without a router"
    return [
        Figure.measured(
            "router.requests", rates["router"], "requests/s",
            bar=">= 700 requests/s", peer=peer, peer_value=rates["direct"],
        ),
        Figure.measured(
            "router.requests_per_core", ROUNDS * REQUESTS / took, "requests/s", bar=">= 1500 requests/s"
        ),
    ]  # fmt: skip
