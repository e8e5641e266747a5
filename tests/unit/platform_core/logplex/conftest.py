"""A drain's receiver on the loopback that answers as a test tells it to."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import h11
import pytest

from platform_core.logplex.settings import LogplexSettings
from platform_core.wire.logplex import decode_body, parse_frame

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

FAST = LogplexSettings(linger=0.01, backoff_slot=0.001, backoff_doublings=4, close_grace=0.5)


@dataclass
class Request:
    """What came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def messages(self) -> list[bytes]:
        body = decode_body(self.body)
        assert body.lost is None
        assert len(body.frames) == int(self.headers["logplex-msg-count"])
        return [parse_frame(frame).msg for frame in body.frames]


@dataclass
class Receiver:
    """An HTTP server that keeps all requests; ``answers`` are used up one by one, then it is ``default``."""

    default: int = 200
    answers: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    open_gate: asyncio.Event = field(default_factory=asyncio.Event)
    reply: bytes = b"ok"
    location: str = ""
    port: int = 0
    connections: int = 0
    _server: asyncio.Server | None = None
    _socket: socket.socket | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> str:
        self.open_gate.set()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=self._socket, ssl=tls)
        return f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/drain"

    def release(self) -> None:
        """Close the listening socket; for after the loop's end."""
        if self._socket is not None:
            self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        head: h11.Request | None = None
        body = b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    data = await reader.read(65536)
                    connection.receive_data(data)
                elif isinstance(event, h11.Request):
                    head, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    await self._answer(connection, writer, head, body)
                    connection.start_next_cycle()
                else:
                    return
        except (OSError, h11.ProtocolError):
            return
        finally:
            writer.close()

    async def _answer(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, head: h11.Request, body: bytes
    ) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in head.headers}
        await self.open_gate.wait()
        async with self._changed:
            self.requests.append(Request(headers, body))
            self._changed.notify_all()
        status = self.answers.pop(0) if self.answers else self.default
        fields = [("Content-Length", str(len(self.reply)))]
        if self.location:
            fields.append(("Location", self.location))
        out = connection.send(h11.Response(status_code=status, headers=fields)) or b""
        out += connection.send(h11.Data(data=self.reply)) or b""
        out += connection.send(h11.EndOfMessage()) or b""
        writer.write(out)
        await writer.drain()

    async def wait(self, ready: Callable[[Receiver], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: ready(self))

    @property
    def messages(self) -> list[bytes]:
        return [message for request in self.requests for message in request.messages]


@pytest.fixture
def fast() -> LogplexSettings:
    """Limits with short times."""
    return replace(FAST)


async def until(ready: Callable[[], bool]) -> None:
    """Give the loop turns until a condition holds."""
    async with asyncio.timeout(10):
        while not ready():  # noqa: ASYNC110 - the condition is in counters, which tell nobody
            await asyncio.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], object]:
    """The same as a fixture: importlib mode has no imports between tests."""
    return until


@pytest.fixture
def receiver_class() -> Iterator[Callable[..., Receiver]]:
    """Makes receivers inside the running loop; they are closed after the test."""
    made: list[Receiver] = []

    def make(**fields: object) -> Receiver:
        made.append(Receiver(**fields))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for receiver in made:
        receiver.release()
