"""Raw sockets against the guarded server: slow senders, endless heads, ambiguous framing, crowds."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import uvicorn

from addon.api.connection import GuardedProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = b"host: x\r\n"


class Quick(GuardedProtocol):
    """The guard with the patience of a test."""

    head_s: ClassVar[float] = 0.4
    body_s: ClassVar[float] = 0.4


async def _echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the number of bytes of the body; /early answers before it reads any."""
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{scope['path']} {size}\n".encode()
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    await send(head)
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(_echo, http=Quick, lifespan="off", log_config=None, timeout_keep_alive=30)
    server = uvicorn.Server(config)
    running = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    running.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    running.join()


def _open(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    parts = b""
    try:
        while part := connection.recv(65_536):
            parts += part
    except ConnectionResetError:
        pass
    return parts


def _answer(port: int, request: bytes) -> bytes:
    with _open(port) as connection:
        connection.sendall(request)
        return _all(connection)


def test_requests_on_one_connection_are_answered_one_after_the_other(port: int) -> None:
    with _open(port) as connection:
        for size in (0, 5, 70_000):
            connection.sendall(b"POST /p HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (_HOST, size))
            connection.sendall(b"x" * size)
            answer = b""
            while f"/p {size}\n".encode() not in answer:
                answer += connection.recv(4_096)
            time.sleep(0.01)
        chunked = b"POST /c HTTP/1.1\r\n%btransfer-encoding: chunked\r\nconnection: close\r\n\r\n" % _HOST
        connection.sendall(chunked + b"3\r\nabc\r\n0\r\n\r\n")
        assert _all(connection).endswith(b"/c 3\n")


def test_pipelined_requests_are_all_answered(port: int) -> None:
    one = b"GET /1 HTTP/1.1\r\n" + _HOST + b"\r\n"
    last = b"GET /2 HTTP/1.1\r\n" + _HOST + b"connection: close\r\n\r\n"
    answers = _answer(port, one + last)
    assert answers.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET / HT", b"HTTP/1.1 408"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ", b"HTTP/1.1 408"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc", b"HTTP/1.1 408"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"HTTP/1.1 408"),
    ],
    ids=["silent", "cut-line", "cut-head", "cut-body", "cut-chunks"],
)
def test_what_does_not_come_is_not_waited_for(port: int, sent: bytes, answer: bytes) -> None:
    began = time.monotonic()
    assert _answer(port, sent).startswith(answer)
    assert 0.3 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-a: ", b"a"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n", b"b"),
        (b"", b"\r\n"),
    ],
    ids=["head", "body", "empty-lines"],
)
def test_a_drip_is_cut_off_although_it_never_pauses(port: int, start: bytes, drop: bytes) -> None:
    began = time.monotonic()
    with _open(port) as connection:
        connection.sendall(start)
        connection.settimeout(0.05)
        while time.monotonic() - began < 5:
            try:
                connection.sendall(drop)
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - began < 3


def test_a_slow_but_steady_body_is_read_to_its_end(port: int) -> None:
    with _open(port) as connection:
        connection.sendall(
            b"POST /s HTTP/1.1\r\n%bcontent-length: 12000\r\nconnection: close\r\n\r\n" % _HOST
        )
        for _ in range(12):
            connection.sendall(b"x" * 1_000)
            time.sleep(0.1)
        assert _all(connection).endswith(b"/s 12000\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"content-length: 3\r\ntransfer-encoding: chunked\r\n", 400),
        (b"transfer-encoding: chunked\r\ncontent-length: 3\r\n", 400),
        (b"transfer-encoding: identity\r\n", 400),
        (b"transfer-encoding: gzip, chunked\r\n", 400),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400),
        (b"content-length: 3\r\ncontent-length: 3\r\n", 400),
        (b"content-length: 3\r\ncontent-length: 4\r\n", 400),
        (b"content-length: +3\r\n", 400),
        (b"content-length: -3\r\n", 400),
        (b"content-length: 3,3\r\n", 400),
        (b"content-length : 3\r\n", 400),
        (b"host: y\r\n", 400),
        (b"x-nul: a\0b\r\n", 400),
        (b"x-folded: a\r\n b\r\n", 400),
        (b"x-big: " + b"a" * 70_000 + b"\r\n", 431),
        (b"".join(b"x-%d: 1\r\n" % index for index in range(200)), 431),
    ],
)
def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_after_it_is_served(
    port: int, head: bytes, status: int
) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\n" + _HOST + b"\r\n"
    answer = _answer(port, b"POST / HTTP/1.1\r\n" + _HOST + head + b"\r\n0\r\n\r\n" + smuggled)
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"smuggled" not in answer


def test_a_head_without_end_is_refused_while_it_comes(port: int) -> None:
    with _open(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx-endless: ")
        with pytest.raises(OSError):  # noqa: PT011  (reset or broken pipe)
            connection.sendall(b"a" * (64 << 20))
    assert _answer(port, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 414")


def test_a_body_that_goes_on_after_its_answer_is_not_read_for_ever(port: int) -> None:
    with _open(port) as connection:
        connection.sendall(b"POST /early HTTP/1.1\r\n" + _HOST + b"content-length: 1000000000\r\n\r\n")
        assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):  # noqa: PT011  (reset or broken pipe)
            connection.sendall(bytes(96 << 20))


def test_a_thousand_silent_connections_do_not_keep_a_request_waiting(port: int) -> None:
    crowd = [_open(port) for _ in range(1_000)]
    try:
        began = time.monotonic()
        answer = _answer(port, b"GET /health HTTP/1.1\r\n" + _HOST + b"connection: close\r\n\r\n")
        assert answer.endswith(b"/health 0\n")
        assert time.monotonic() - began < 2
    finally:
        for connection in crowd:
            connection.close()
