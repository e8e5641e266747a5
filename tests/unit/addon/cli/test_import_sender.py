"""A piece is sent until it is stored or refused, waits as it is told, and is named by what is in it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from addon.cli.failures import Exit, Failure
from addon.cli.import_pieces import TextPiece
from addon.cli.import_sender import Sender, Target, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_QUERY = {"format": "ndjson", "name": "x.ndjson"}
_TARGET = Target("http://127.0.0.1:1", "1/k", "web_shop", "events")


class _Server:
    """Answers like the upload route, after the refusals that it was given for each body."""

    def __init__(
        self, refusals: Mapping[bytes, list[httpx.Response]] | None = None, table: str = "7"
    ) -> None:
        self.refusals = {body: list(answers) for body, answers in (refusals or {}).items()}
        self.stored: dict[str, bytes] = {}
        self.table = table
        self.posts = 0
        self.questions = 0
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            return httpx.Response(200, json={"id": self.table})
        if request.method == "GET":
            self.questions += 1
            return httpx.Response(200, json={"stored": request.url.path.rpartition("/")[2] in self.stored})
        self.posts += 1
        body, upload_id = request.content, request.headers["sluice-upload-id"]
        if self.refusals.get(body):
            return self.refusals[body].pop(0)
        if len(body) > 40:
            return httpx.Response(413, json={"message": "too large as JSON"})
        duplicate = upload_id in self.stored
        self.stored[upload_id] = body
        rows = body.count(b"\n")
        return httpx.Response(200, json={"rows": rows, "rejected": 0, "errors": [], "duplicate": duplicate})


class _NoPause(threading.Event):
    """Does not wait; notes how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        return self.is_set()


def _sender(
    server: Callable[[httpx.Request], httpx.Response], *, target: Target = _TARGET, **options: Any
) -> Sender:
    client = httpx.Client(base_url=target.server, transport=httpx.MockTransport(server))
    sender = Sender(target, **{"parallel": 2, "patience_s": 60.0, "client": client, **options})
    sender._stop = _NoPause()
    sender.prepare()
    return sender


def _waited(sender: Sender) -> list[float]:
    assert isinstance(sender._stop, _NoPause)
    return sender._stop.waited


def _piece(rows: bytes, name: str | None = None) -> TextPiece:
    return TextPiece(name or rows.hex(), 1, len(rows), rows)


def _send(sender: Sender, *pieces: TextPiece, query: Mapping[str, str] = _QUERY) -> Totals:
    sender.send(((piece, query) for piece in pieces), lambda _piece, _totals: None)
    sender.close()
    return sender.totals


def _busy(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"message": "busy"})


def test_pieces_count_once_and_a_second_run_sends_nothing() -> None:
    server, pieces = _Server(), [_piece(b'{"a":%d}\n' % n) for n in range(30)]
    first = _send(_sender(server), *pieces)
    assert (first.rows, first.pieces, first.known) == (30, 30, 0)
    assert server.questions < 10  # it stops asking when all is new
    posts = server.posts
    again = _send(_sender(server), *pieces)
    assert (again.rows, again.known, server.posts) == (0, 30, posts)


def test_other_tables_options_and_words_make_other_uploads() -> None:
    server = _Server()
    for number, options in enumerate(({}, {"salt": "second"}, {"salt": "third"})):
        assert _send(_sender(server, **options), _piece(b"{}\n")).rows == 1, number
    assert _send(_sender(server), _piece(b"{}\n"), query={**_QUERY, "time_format": "iso"}).rows == 1
    assert _send(_sender(server), _piece(b"{}\n"), query={**_QUERY, "name": "moved"}).known == 1
    server.table = "8"
    assert _send(_sender(server), _piece(b"{}\n")).rows == 1


def test_a_busy_server_is_waited_for_as_it_asks() -> None:
    body = b"{}\n"
    server = _Server(
        {body: [_busy(503, **{"retry-after": "7"}), _busy(429, **{"retry-after": "11"}), _busy(500)]}
    )
    sender = _sender(server)
    totals = _send(sender, _piece(body))
    assert (totals.rows, totals.retries) == (1, 3)
    assert [wait for wait in _waited(sender) if wait >= 7] == [7.0, 11.0]


def test_a_server_that_asks_for_more_than_the_patience_ends_the_import() -> None:
    body = b"{}\n"
    server = _Server({body: [_busy(429, **{"retry-after": "3600"})]})
    sender = _sender(server)
    with pytest.raises(Failure, match="busy or away for over 60 s") as failed:
        _send(sender, _piece(body))
    assert failed.value.code is Exit.TIMEOUT
    assert "429: busy (it asks to wait 3600 s)" in failed.value.why
    assert _waited(sender) == []


def test_a_broken_connection_is_tried_again_under_the_same_id() -> None:
    server, broken = _Server(), [True]

    def flaky(request: httpx.Request) -> httpx.Response:
        answer = server(request)
        if request.method == "POST" and broken:
            broken.clear()
            raise httpx.RemoteProtocolError("gone after it was stored")
        return answer

    sender = _sender(flaky)
    totals = _send(sender, _piece(b"{}\n"))
    assert (totals.rows, totals.known, totals.retries) == (0, 1, 1)
    assert list(server.stored.values()) == [b"{}\n"]
    assert len(_waited(sender)) == 1


def test_what_is_too_large_is_halved_always_alike() -> None:
    rows = b"".join(b'{"number":%d}\n' % n for n in range(16))
    server = _Server()
    assert _send(_sender(server), _piece(rows)).rows == 16
    assert b"".join(server.stored[upload_id] for upload_id in sorted(server.stored)) == rows
    posts = len(server.stored)
    assert posts > 4
    assert _send(_sender(server), _piece(rows)).rows == 0
    assert len(server.stored) == posts
    with pytest.raises(Failure, match="row on line 1 is too large"):
        _send(_sender(_Server()), _piece(b'{"a":"%b"}\n' % (b"x" * 50)))


def test_the_first_refusal_ends_the_import_and_names_file_and_line() -> None:
    bad = b'{"bad"}\n'
    server = _Server({bad: [httpx.Response(422, json={"message": "Line 1: malformed"})] * 9})
    pieces = [_piece(b'{"a":%d}\n' % n) for n in range(200)]
    with pytest.raises(Failure, match="answered 422") as failed:
        _send(_sender(server), *pieces[:3], _piece(bad), *pieces[3:])
    assert failed.value.why == "x.ndjson, from line 1: Line 1: malformed"
    assert server.posts < 20


def test_a_conflict_means_that_it_is_there() -> None:
    body = b"{}\n"
    server = _Server({body: [httpx.Response(409, json={"message": "other body"})]})
    assert _send(_sender(server), _piece(body)).known == 1


def test_equal_pieces_of_one_run_are_numbered() -> None:
    server = _Server()
    assert _send(_sender(server), _piece(b"{}\n"), _piece(b"{}\n"), _piece(b"{}\n")).rows == 3
    assert _send(_sender(server), _piece(b"{}\n"), _piece(b"{}\n")).known == 2


def test_over_a_network_text_is_compressed() -> None:
    seen: list[bytes] = []
    server = _Server()

    def noting(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            seen.append(request.content[:4])
            assert request.url.params["first_line"] == "1"
        return server(request)

    _send(_sender(noting, target=Target("http://add.on", "1/k", "web_shop", "events")), _piece(b"{}\n" * 12))
    assert seen == [b"\x28\xb5\x2f\xfd"]
