"""The driver against a real socket: what it counts is what was answered, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from cdnow import Purchase
from channels import ORGANIC
from drive import Progress, TrafficError, drive
from http1 import Connection, HttpError
from plan import Visit

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ORDER = Purchase("cd-1", "c1", 1000, 3, 450)
VISITS = [Visit("c1", 1000, ORGANIC, ("one",), ORDER), Visit("c1", 9000, ORGANIC, ("two",))]
OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return head[0], headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def served(handler: Handler, body: Callable[[int], Awaitable[None]]) -> None:
    async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        await body(server.sockets[0].getsockname()[1])


def test_a_visit_is_sent_step_by_step_and_counted() -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen.append(await read_request(reader))
                writer.write(OK)
        except asyncio.IncompleteReadError:
            writer.close()

    progress = Progress(6)
    customers = [VISITS]
    asyncio.run(
        served(
            shop,
            lambda port: drive(customers, "127.0.0.1", port, "shop.localhost", visitors=2, progress=progress),
        )
    )
    assert [line for line, _, _ in seen] == [
        "GET / HTTP/1.1",
        "GET /products/one HTTP/1.1",
        "POST /cart HTTP/1.1",
        "POST /checkout HTTP/1.1",
        "GET / HTTP/1.1",
        "GET /products/two HTTP/1.1",
    ]
    assert seen[0][1]["host"] == "shop.localhost"
    assert seen[0][1]["referer"] == ORGANIC.referrer
    assert seen[3][1]["x-shop-time"] == "1135"
    assert seen[3][2] == b"order_id=cd-1&value_minor=450"
    assert progress.events == {"landing": 2, "product_view": 2, "add_to_cart": 1, "purchase": 1}


def test_an_error_stops_the_traffic_and_is_not_counted() -> None:
    async def shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
        writer.close()

    progress = Progress(6)
    with pytest.RaisesGroup(pytest.RaisesExc(TrafficError, match="GET / was answered 503: busy")):
        asyncio.run(
            served(shop, lambda port: drive([VISITS], "127.0.0.1", port, "h", visitors=1, progress=progress))
        )
    assert progress.done == 0


def test_a_connection_closed_before_the_answer_is_an_error_not_a_second_try() -> None:
    requests: list[str] = []

    async def shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await read_request(reader))[0])
        writer.close()

    async def ask(port: int) -> None:
        async with Connection("127.0.0.1", port, "h") as connection:
            await connection.request("GET", "/", {})

    with pytest.raises(HttpError, match="closed the connection"):
        asyncio.run(served(shop, ask))
    assert requests == ["GET / HTTP/1.1"]
