"""The router over real sockets, with a client that sends what it likes."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from platform_core.models.routing import AppRoute, WebState
from platform_core.router.server import HttpRouter
from platform_core.router.table import RouteTable

from .conftest import APP, Bench, MemoryLog, SocketBackend, answering

if TYPE_CHECKING:
    from platform_core.router.settings import RouterSettings

pytestmark = pytest.mark.anyio
POST = b"POST / HTTP/1.1\r\nHost: shop.localhost\r\n"
GET = b"GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n"


async def test_a_request_reaches_the_dyno_and_is_logged(bench: Bench) -> None:
    await bench.web(answering(b"hello"))
    status, headers, body = await bench.get("/p?q=1")
    assert (status, body, headers["via"]) == (200, b"hello", "1.1 sluice-router")
    assert re.fullmatch(
        r'at=info method=GET path="/p\?q=1" host=shop.localhost request_id=[0-9a-f-]{36} fwd="127.0.0.1" '
        r"dyno=web.1 connect=\d+ms service=\d+ms status=200 bytes=\d+ protocol=http",
        bench.log.lines[0],
    )


async def test_the_bytes_in_the_log_are_those_the_client_got(bench: Bench) -> None:
    await bench.web(answering(b"x" * 5000))
    client = await bench.client()
    await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert f" bytes={len(await client.rest())} " in bench.log.lines[0]


async def test_the_dyno_sees_who_asks(bench: Bench) -> None:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    await bench.web(handle)
    client = await bench.client()
    await client.send(
        b"GET /a HTTP/1.1\r\nHost: shop.localhost:99\r\nX-Custom: Kept-As-Is\r\nX-Forwarded-For: 9.9.9.9\r\n"
        b"X-Forwarded-Proto: https\r\nX-Request-Id: my-own-request-id-0001\r\nConnection: x-secret\r\n"
        b"X-Secret: hop\r\nKeep-Alive: 5\r\n\r\n"
    )
    assert (await client.head())[0] == 204
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /a HTTP/1.1"
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in lines[1:-2])}
    assert abs(int(headers.pop("x-request-start")) / 1000 - time.time()) < 10
    assert headers == {
        "host": "shop.localhost:99",
        "x-custom": "Kept-As-Is",
        "connection": "close",
        "x-request-id": "my-own-request-id-0001",
        "x-forwarded-for": "9.9.9.9, 127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-port": str(bench.router.port),
        "via": "1.1 sluice-router",
    }
    assert 'request_id=my-own-request-id-0001 fwd="9.9.9.9,127.0.0.1"' in bench.log.lines[0]


async def test_a_bad_request_id_is_replaced(bench: Bench) -> None:
    await bench.web(answering())
    client = await bench.client()
    await client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Request-Id: a b\r\n\r\n"))
    await client.response()
    assert re.search(r"request_id=[0-9a-f-]{36} ", bench.log.lines[0])


async def test_a_connection_is_kept_for_the_next_request(bench: Bench) -> None:
    await bench.web(answering())
    client = await bench.client()
    await client.send(GET + GET)  # pipelined as well
    assert [(await client.response())[2] for _ in range(2)] == [b"hello"] * 2
    await client.send(GET)
    assert (await client.response())[0] == 200
    assert len(bench.log.lines) == 3


async def test_bodies_stream_both_ways(bench: Bench) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            chunk = await reader.readexactly(size)
            await reader.readline()
            writer.write(b"%x\r\n%s\r\n" % (size, chunk))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    await bench.web(echo)
    client = await bench.client()
    await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    _status, headers = await client.head()
    assert headers["transfer-encoding"] == "chunked"
    for word in (b"one", b"three"):  # the answer to each piece comes before the next is sent
        await client.send(b"%x\r\n%s\r\n" % (len(word), word))
        assert await client.reader.readline() == b"%x\r\n" % len(word)
        assert await client.reader.readline() == word + b"\r\n"
    await client.send(b"0\r\n\r\n")
    assert await client.reader.readline() == b"0\r\n"


async def test_a_large_upload_arrives_whole(bench: Bench) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        total = len(await reader.readexactly(3_000_000))
        body = str(total).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    await bench.web(count)
    client = await bench.client()
    await client.send(
        b"PUT / HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 3000000\r\n\r\n" + b"z" * 3_000_000
    )
    assert (await client.response())[2] == b"3000000"


async def test_expect_100_continue_is_answered(bench: Bench) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"xpect" not in head
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + await reader.readexactly(2))

    await bench.web(handle)
    client = await bench.client()
    await client.send(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (await client.head())[0] == 100
    await client.send(b"ok")
    assert (await client.response())[2] == b"ok"


async def test_another_expectation_fails(bench: Bench) -> None:
    await bench.web(answering())
    client = await bench.client()
    await client.send(GET.replace(b"\r\n\r\n", b"\r\nExpect: magic\r\n\r\n"))
    assert (await client.response())[0] == 417
    assert "code=H26" in bench.log.lines[0]


async def test_a_websocket_is_a_raw_tunnel(bench: Bench) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"connection: upgrade" in head
        assert b"upgrade: websocket" in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly"
        )
        while data := await reader.read(100):
            writer.write(data.upper())

    await bench.web(handle)
    client = await bench.client()
    await client.send(
        b"GET /chat HTTP/1.1\r\nHost: shop.localhost\r\n"
        b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert (await client.head())[0] == 101
    assert await client.reader.readexactly(5) == b"early"
    await client.send(b"\x81\x05hello")
    assert await client.reader.readexactly(7) == b"\x81\x05HELLO"
    client.writer.close()
    await until_logged(bench)
    assert "status=101" in bench.log.lines[0]
    assert bench.log.lines[0].startswith("at=info")


async def until_logged(bench: Bench, lines: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(bench.log.lines) < lines:  # noqa: ASYNC110  # the log is a plain list
            await asyncio.sleep(0.005)


async def test_custom_domains_and_case_lead_to_the_app(bench: Bench) -> None:
    await bench.web(answering())
    bench.table.set_domains(APP, ["www.Example.com"])
    for host in ("WWW.example.com", "www.example.com:8080", "SHOP.localhost", "shop.localhost.:80"):
        assert (await bench.get(host=host))[0] == 200


@pytest.mark.parametrize("host", ["nope.localhost", "localhost", "a.shop.localhost", "", "[::1]:80"])
async def test_a_host_without_an_app_is_a_404_in_nobody_s_log(bench: Bench, host: str) -> None:
    await bench.web(answering())
    status, headers, body = await bench.get(host=host)
    assert (status, headers["connection"]) == (404, "close")
    assert b"no app" in body
    assert bench.log.lines == []


@pytest.mark.parametrize(
    ("web", "code"), [(WebState.BLANK, "H81"), (WebState.NONE, "H14"), (WebState.CRASHED, "H10")]
)
async def test_an_app_without_dynos_answers_with_its_code(bench: Bench, web: WebState, code: str) -> None:
    bench.publish(web=web)
    status, _headers, body = await bench.get()
    assert (status, code.encode() in body) == (503, True)
    assert bench.log.lines[0].startswith(f'at=error code={code} desc="')
    assert bench.log.lines[0].endswith(
        f"dyno= connect= service= status=503 bytes={_size(bench)} protocol=http"
    )


def _size(bench: Bench) -> str:
    found = re.search(r"bytes=(\d+)", bench.log.lines[0])
    assert found is not None
    assert int(found[1]) > 300
    return found[1]


async def test_maintenance_is_h80(bench: Bench) -> None:
    bench.publish(await bench.dyno(answering()), maintenance=True)
    assert (await bench.get())[0] == 503
    assert "code=H80" in bench.log.lines[0]


async def test_an_app_that_was_never_released_is_blank(router_settings: RouterSettings) -> None:
    async def find_app(name: str) -> str | None:
        return APP if name == "fresh" else None

    log = MemoryLog()
    router = HttpRouter(RouteTable(find_app=find_app), log, router_settings)
    await router.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: fresh.localhost\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    writer.close()
    await router.close()
    assert "code=H81" in log.lines[0]


async def test_a_request_waits_for_a_booting_app(bench: Bench) -> None:
    bench.publish(web=WebState.STARTING)
    waiting = asyncio.ensure_future(bench.get())
    await asyncio.sleep(0.05)
    bench.publish(web=WebState.STARTING)  # some other change must not end the wait
    await bench.web(answering())
    assert (await waiting)[0] == 200


async def test_a_client_that_leaves_while_the_app_boots_is_h27(bench: Bench) -> None:
    bench.publish(web=WebState.STARTING)
    client = await bench.client()
    await client.send(GET)
    await asyncio.sleep(0.05)
    client.writer.close()
    await until_logged(bench)
    assert "code=H27" in bench.log.lines[0]  # at the boot's time limit it would be H20
    assert "status=499" in bench.log.lines[0]


async def test_an_app_that_does_not_boot_is_h20(bench: Bench) -> None:
    bench.publish(web=WebState.STARTING)
    assert (await bench.get())[0] == 503
    assert "code=H20" in bench.log.lines[0]


async def test_an_app_destroyed_while_booting_ends_the_wait(bench: Bench) -> None:
    bench.publish(web=WebState.STARTING)
    waiting = asyncio.ensure_future(bench.get())
    await asyncio.sleep(0.05)
    bench.table.withdraw(APP)
    assert (await waiting)[0] == 503


async def test_a_silent_dyno_is_h12(bench: Bench) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    await bench.web(silent)
    assert (await bench.get())[0] == 503
    assert 'code=H12 desc="Request timeout"' in bench.log.lines[0]
    assert re.search(r"dyno=web.1 connect=\d+ms service=4\d\dms status=503", bench.log.lines[0])


async def test_a_slow_upload_is_no_h12(bench: Bench) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(6)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    await bench.web(handle)
    client = await bench.client()
    await client.send(POST + b"Content-Length: 6\r\n\r\n")
    for _ in range(6):
        await asyncio.sleep(0.1)
        await client.send(b"x")
    assert (await client.response())[0] == 200


async def test_a_stalled_upload_is_h28(bench: Bench) -> None:
    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    await bench.web(handle)
    client = await bench.client()
    await client.send(POST + b"Content-Length: 6\r\n\r\nx")
    assert await client.rest() == b""
    await until_logged(bench)
    assert bench.log.lines[0].startswith("sock=client at=error code=H28 ")
    assert "status=499" in bench.log.lines[0]


async def test_a_client_that_leaves_in_its_upload_is_h27(bench: Bench) -> None:
    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    await bench.web(handle)
    client = await bench.client()
    await client.send(POST + b"Content-Length: 600\r\n\r\nx")
    client.writer.close()
    await until_logged(bench)
    assert bench.log.lines[0].startswith("sock=client at=warning code=H27 ")
    assert "status=499" in bench.log.lines[0]


async def test_a_client_that_leaves_while_the_dyno_thinks_is_h27_and_sets_the_dyno_free(bench: Bench) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def think(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        left.set()

    backend = await bench.web(think)
    client = await bench.client()
    await client.send(GET)
    async with asyncio.timeout(5):
        await asked.wait()
    client.writer.close()
    async with asyncio.timeout(5):
        await left.wait()
    await until_logged(bench)
    # At the time limit of the first byte it would be H12.
    assert bench.log.lines[0].startswith("sock=client at=warning code=H27 ")
    assert "status=499" in bench.log.lines[0]
    assert backend.leases == 0


async def test_a_client_that_sends_the_next_request_early_has_not_left(bench: Bench) -> None:
    await bench.web(answering())
    client = await bench.client()
    await client.send(GET + GET)
    assert [(await client.response())[2] for _ in range(2)] == [b"hello", b"hello"]


async def test_a_large_download_arrives_whole_at_the_clients_pace(bench: Bench) -> None:
    piece, pieces = bytes(range(256)) * 256, 320
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * pieces))
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()
            sent += 1

    await bench.web(pour)
    client = await bench.client()
    await client.send(GET)
    await client.head()
    await asyncio.sleep(0.2)
    assert sent < pieces, "the router took in what the client did not want yet"
    assert await client.reader.readexactly(len(piece) * pieces) == piece * pieces


async def test_a_dyno_that_hangs_up_is_h13(bench: Bench) -> None:
    async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    await bench.web(hang_up)
    assert (await bench.get())[0] == 503
    assert "code=H13" in bench.log.lines[0]


async def test_a_dyno_that_does_not_speak_http_is_h17(bench: Bench) -> None:
    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp ready\r\n\r\n")
        await writer.drain()
        await reader.read()

    await bench.web(garble)
    assert (await bench.get())[0] == 503
    assert "code=H17" in bench.log.lines[0]


async def test_a_response_cut_off_is_h18_and_breaks_the_connection(bench: Bench) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    await bench.web(cut)
    client = await bench.client()
    await client.send(GET)
    await client.rest()
    await until_logged(bench)
    assert bench.log.lines[0].startswith("sock=backend at=error code=H18 ")


async def test_a_response_that_stalls_is_h15(bench: Bench) -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await reader.read()

    await bench.web(stall)
    client = await bench.client()
    await client.send(GET)
    await client.rest()
    assert "code=H15" in bench.log.lines[0]


async def test_a_dyno_that_refuses_is_passed_over(bench: Bench) -> None:
    gone = refusing(bench)
    alive = await bench.dyno(answering(), "web.2")
    for _ in range(20):
        bench.publish(gone, alive)
        assert (await bench.get())[0] == 200
    assert all("dyno=web.2" in line for line in bench.log.lines)


def refusing(bench: Bench) -> SocketBackend:
    """A port that is taken, so that nobody else gets it, but not listened on."""
    taken = bench.stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    return SocketBackend(taken.getsockname()[1])


async def test_dynos_that_all_refuse_are_h21(bench: Bench) -> None:
    bench.publish(refusing(bench), refusing(bench))
    assert (await bench.get())[0] == 503
    assert "code=H21" in bench.log.lines[0]


async def test_a_dyno_that_cannot_be_reached_in_time_is_h19(bench: Bench) -> None:
    class Slow(SocketBackend):
        async def connect(self) -> None:  # type: ignore[override]
            await asyncio.Event().wait()

    bench.publish(Slow(1))
    assert (await bench.get())[0] == 503
    assert 'code=H19 desc="Backend connection timeout"' in bench.log.lines[0]


async def test_a_request_holds_a_lease_while_it_is_served(bench: Bench) -> None:
    backend = await bench.web(answering())
    await asyncio.gather(*(bench.get() for _ in range(5)))
    assert backend.most_leases >= 1
    assert backend.leases == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: +5\r\n\r\nabcde", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nA: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nHost: other.localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: shop.localhost\r\n\r\n", 405),
        (b"GET /%s HTTP/1.1\r\nHost: shop.localhost\r\n\r\n" % (b"a" * 9000), 414),
        (b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nA: %s\r\n\r\n" % (b"a" * 9000), 431),
        (b"GET / HTTP/1.1\r\nHost: shop.localhost\r\n%s\r\n" % (b"A: b\r\n" * 20_000), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ],
)
async def test_what_must_not_be_passed_on_is_refused(bench: Bench, request_bytes: bytes, status: int) -> None:
    backend = await bench.web(answering())
    client = await bench.client()
    client.writer.write(request_bytes)
    answer = await client.rest()
    assert answer.split(b" ")[1] == str(status).encode()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert backend.most_leases == 0
    assert bench.log.lines == []


async def test_a_head_that_drips_in_is_cut_off(bench: Bench) -> None:
    client = await bench.client()
    for byte in b"GET / HTTP/1.1\r\nA":
        client.writer.write(bytes([byte]))
        await asyncio.sleep(0.04)
        if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
            break
    assert (await client.rest()).startswith(b"HTTP/1.1 408")


async def test_a_silent_connection_is_closed_without_a_word(bench: Bench) -> None:
    assert await (await bench.client()).rest() == b""


async def test_close_lets_a_running_request_finish(bench: Bench) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    await bench.web(slow)
    answer = asyncio.ensure_future(bench.get())
    await asked.wait()
    closing = asyncio.ensure_future(bench.router.close(grace=2))
    await asyncio.sleep(0)
    go_on.set()
    assert (await answer)[2] == b"done"
    await closing


async def test_a_renamed_app_answers_to_its_new_name_only(bench: Bench) -> None:
    backend = await bench.web(answering())
    bench.table.publish(AppRoute(APP, "store", WebState.UP, [backend]))
    assert (await bench.get(host="store.localhost"))[0] == 200
    assert (await bench.get(host="shop.localhost"))[0] == 404
