"""Log lines to rows: event lines, router, dyno, metrics and ordinary lines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.ingest.log_lines import dyno_fields, metrics, router_fields
from addon.ingest.names import split_tag, valid_name
from addon.models.ingest import Batch, BodyKind

ROUTER = (
    'at=info method=GET path="/p?q=1" host=shop.example request_id=r1 fwd="1.2.3.4" dyno=web.1 '
    "connect=1ms service=18ms status=200 bytes=975 protocol=https"
)


def frame(message: str, app: str = "app", process: str = "web.1") -> bytes:
    data = f"<190>1 2026-11-25T13:00:00.123456+00:00 host {app} {process} - {message}".encode()
    return b"%d %b" % (len(data), data)


def landed(rig: Any, *frames: bytes) -> None:
    async def main() -> None:
        service = rig.service()
        await service.start()
        meta = {"app": "sluice-red-1", "drain": "d.7"}
        await service.append(Batch(BodyKind.LOGPLEX, 1, "", "", b"".join(frames), 1500.0, "f", meta))
        await service.flush(1)
        await service.close()

    asyncio.run(main())


def test_event_lines_become_rows_of_their_table_and_broken_ones_dead_letters(rig: Any) -> None:
    landed(
        rig,
        frame('@[shop.events] {"a":1,"time":5}'),
        frame('  @[Shop.Events] {"a":2}  '),
        frame('@[a.b.c] {"x":1}'),
        frame('@[shop.events] {"a":'),
        frame('@[shop.events] {"a":NaN}'),
        frame('@[nodot] {"a":1}'),
        frame('@[shop.events]  {"two spaces":1}'),
        frame('say @[shop.events] {"a":1}'),
    )
    assert rig.rows("shop", "events", columns="time, a") == [(5, 1), (1500, 2)]
    assert rig.rows("a__", "b_c", columns="x") == [(1,)]
    assert rig.rows("logs", "dead_letters", columns="database, body") == [
        ("shop", '{"a":'),
        ("shop", '{"a":NaN}'),
    ]
    assert [row[0] for row in rig.rows("logs", "app", columns="message")] == [
        '@[nodot] {"a":1}',
        '@[shop.events]  {"two spaces":1}',
        'say @[shop.events] {"a":1}',
    ]


def test_every_kind_of_line_goes_to_its_table_with_the_senders_columns(rig: Any) -> None:
    landed(
        rig,
        frame("plain"),
        frame('{"level":"warn"}'),
        frame('level=warn msg="a b"'),
        frame(ROUTER, "heroku", "router"),
        frame("garbage", "heroku", "router"),
        frame("State changed from starting to up", "heroku", "web.1"),
        frame("source=web.1 sample#memory_total=21.5MB count#hits=3", "heroku", "web.1"),
    )
    sender = "app, source, process, severity, drain, timestamp_us"
    common = ("sluice-red-1", "app", "web.1", "info", "d.7", 1795611600123456)
    assert rig.rows("logs", "app", columns=f"{sender}, message, data") == [
        (*common, 'level=warn msg="a b"', '{"level":"warn","msg":"a b"}'),
        (*common, "plain", None),
        (*common, '{"level":"warn"}', '{"level":"warn"}'),
    ]
    wanted = "method, path, status, bytes, connect_ms, service_ms, dyno, message"
    assert rig.rows("logs", "router", columns=wanted) == [
        ("GET", "/p?q=1", 200, 975, 1, 18, "web.1", None),
        (*[None] * 7, "garbage"),
    ]
    assert rig.rows("logs", "dyno", columns="process, event, state_to") == [("web.1", "state", "up")]
    assert rig.rows("logs", "metrics", columns="kind, metric, value, unit, data") == [
        ("count", "hits", 3.0, None, '{"source":"web.1"}'),
        ("sample", "memory_total", 21.5, "MB", '{"source":"web.1"}'),
    ]
    seqs = [row[0] for name in ("app", "router", "dyno") for row in rig.rows("logs", name, columns="seq")]
    assert len(set(seqs)) == 6


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("Error R14 (Memory quota exceeded)", {"event": "error", "code": "R14"}),
        ("Process exited with status 137", {"event": "exit", "exit_status": 137}),
        ("Starting process with command `python app.py`", {"event": "starting"}),
        ("Idling", {}),
    ],
)
def test_dyno_lines_keep_their_message_and_say_what_happened(text: str, fields: dict[str, Any]) -> None:
    assert dyno_fields(text) == {"message": text, **fields}


def test_an_error_line_of_the_router_has_its_code_and_the_rest_is_data() -> None:
    fields = router_fields(
        'sock=backend at=error code=H18 desc="Server Request Interrupted" status=503 bytes='
    )
    assert fields == {
        "at": "error",
        "code": "H18",
        "desc": "Server Request Interrupted",
        "status": 503,
        "data": '{"sock":"backend"}',
    }


def test_a_measure_that_is_no_number_keeps_its_text() -> None:
    assert list(metrics("measure#x=fast sample#y=-1.5e3ms")) == [
        {"kind": "measure", "metric": "x", "value": None, "unit": "fast", "data": None},
        {"kind": "sample", "metric": "y", "value": -1500.0, "unit": "ms", "data": None},
    ]


def test_names_are_made_valid_as_treasure_data_does() -> None:
    assert split_tag("My-Shop.Events.v2") == ("my_shop", "events_v2")
    assert split_tag("nodot") is None
    assert split_tag(".") == ("___", "___")
    assert valid_name("x" * 300) == "x" * 126 + "__"
