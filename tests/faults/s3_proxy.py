"""A proxy before an S3-compatible server that breaks requests on purpose.

Rules are tried in turn for each request; the first that matches and has turns left does its harm. Everything
else goes through as it is: the signature covers the Host header, which is passed on.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import unquote


class Fault(StrEnum):
    """What is done to a request."""

    BUSY = "busy"
    """503 Slow Down; the server never sees the request."""
    LOST_REQUEST = "lost request"
    """The connection ends before the server has seen anything."""
    LOST_RESPONSE = "lost response"
    """The server carries the request out, then the connection ends without an answer."""
    FAILED_RESPONSE = "failed response"
    """The server carries the request out, and the answer is 500."""
    TWICE = "twice"
    """The server gets the request twice; the second answer is passed on."""
    CUT = "cut"
    """The answer ends in the middle of its body."""
    FLIPPED = "flipped"
    """A bit of the answer's body is another one."""
    SLOW = "slow"
    """The answer comes after ``delay_s``."""
    FULL = "full"
    """507, as a server without room answers."""


@dataclass
class Rule:
    """Which requests meet a fault, and how many of them still do."""

    fault: Fault
    method: str = ""
    part: str = ""
    """What the path must contain."""
    left: int = 1
    delay_s: float = 0.3

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the request is meant; the method is any when empty."""
        return self.left > 0 and self.method in {"", method} and self.part in path


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    head: bytes
    headers: dict[str, str]
    body: bytes


@dataclass
class S3Proxy:
    """Runs in a thread of its own between ``__enter__`` and ``__exit__``."""

    upstream: int
    rules: list[Rule] = field(default_factory=list)
    strip_conditions: bool = False
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of every request."""
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="s3-proxy")
        self._thread.start()
        assert ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def _run(self, ready: threading.Event) -> None:
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                self.seen.append((request.method, request.path))
                if not await self._answer(request, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _rule(self, request: Request) -> Rule | None:
        for rule in self.rules:
            if rule.matches(request.method, request.path):
                rule.left -= 1
                return rule
        return None

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer, or not; tell whether the connection goes on."""
        rule = self._rule(request)
        fault = rule.fault if rule is not None else None
        if fault is Fault.LOST_REQUEST:
            return False
        if fault in {Fault.BUSY, Fault.FULL}:
            writer.write(_refusal(503 if fault is Fault.BUSY else 507))
            await writer.drain()
            return True
        if fault is Fault.TWICE:
            await self._forward(request)
        answer = await self._forward(request)
        if fault is Fault.LOST_RESPONSE:
            return False
        if fault is Fault.FAILED_RESPONSE:
            answer = _refusal(500)
        if fault is Fault.SLOW and rule is not None:
            await asyncio.sleep(rule.delay_s)
        if fault is Fault.CUT:
            writer.write(answer[: len(answer) - max(1, _body_size(answer) // 2)])
            await writer.drain()
            return False
        if fault is Fault.FLIPPED:
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        writer.write(answer)
        await writer.drain()
        return True

    async def _forward(self, request: Request) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            lines = [
                line
                for line in request.head.split(b"\r\n")
                if not line.lower().startswith((b"connection:", b"expect:"))
                and not (self.strip_conditions and line.lower().startswith(b"if-none-match:"))
            ]
            head = b"\r\n".join([*[line for line in lines if line], b"Connection: close", b"", b""])
            writer.write(head + request.body)
            await writer.drain()
            answer = await reader.read(-1)
        finally:
            writer.close()
        return _kept_alive(answer)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, unquote(path), head, headers, body)


def _kept_alive(answer: bytes) -> bytes:
    """Return the answer without the upstream's ``Connection: close``."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"", b""]) + body


def _body_size(answer: bytes) -> int:
    return len(answer.partition(b"\r\n\r\n")[2])


def _refusal(status: int) -> bytes:
    code = {503: "SlowDown", 507: "XMinioStorageFull"}.get(status, "InternalError")
    body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
    return b"HTTP/1.1 %d Fault\r\nContent-Length: %d\r\nContent-Type: application/xml\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
