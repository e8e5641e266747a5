"""HTTP load on a server that runs as a process of its own: raw connections with requests made beforehand.

The client shares the machine with the server, so it does as little as possible: it writes bytes that are
ready and looks at nothing of an answer but its status and where it ends.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEAD = 64 << 10


@dataclass(slots=True)
class Load:
    """What a run came to."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    """Seconds from the first byte sent to the last byte of an answer with status 200."""

    @property
    def acked(self) -> int:
        """Requests that were answered with 200."""
        return self.statuses.get(200, 0)


def post(path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> bytes:
    """Return a request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Connection:
    """One kept connection; a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open stream."""
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=_HEAD))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, return the answer's status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await self._reader.readexactly(length) if length else b""
        return int(head[9:12]), body

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def blast(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Send the requests in turn over some connections, each as fast as answers come."""
    return await _run(port, requests, connections, lambda began, _: time.perf_counter() - began < seconds)


async def steady(port: int, requests: Sequence[bytes], connections: int, seconds: float, rate: float) -> Load:
    """Send ``rate`` requests a second; one that is late is sent at once, none is left out."""
    return await _run(
        port, requests, connections, lambda began, _: time.perf_counter() - began < seconds, rate=rate
    )


async def _run(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    goes_on: Callable[[float, int], bool],
    *,
    rate: float | None = None,
) -> Load:
    load = Load()
    opened = [await Connection.open(port) for _ in range(connections)]
    began = time.perf_counter()
    sent = 0

    async def work(connection: Connection) -> None:
        nonlocal sent
        while goes_on(began, sent):
            number, sent = sent, sent + 1
            if rate is not None:
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            start = time.perf_counter()
            status, _ = await connection.ask(requests[number % len(requests)])
            load.statuses[status] = load.statuses.get(status, 0) + 1
            if status == 200:
                load.latencies.append(time.perf_counter() - start)
            else:
                await asyncio.sleep(0.05)  # it asked for less; an answer says for how long, in whole seconds

    await asyncio.gather(*(work(connection) for connection in opened))
    load.seconds = time.perf_counter() - began
    for connection in opened:
        await connection.close()
    return load


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values are at most, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
