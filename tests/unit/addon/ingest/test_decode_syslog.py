"""Syslog records to rows: the tables of drained lines, with what only syslog has."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from addon.models.ingest import Batch, BodyKind
from platform_core.wire.octets import join_octets

RECEIVED = datetime(2026, 11, 25, 16, 0, 5, tzinfo=UTC).timestamp()
ROUTER = (
    b"<158>1 2026-11-25T16:00:01Z - heroku router - - at=info method=GET path=/ host=a.b request_id=r fwd=1"
    b" dyno=web.1 connect=1ms service=2ms status=200 bytes=3 protocol=https"
)


def landed(rig: Any, *messages: bytes, kind: BodyKind = BodyKind.SYSLOG) -> None:
    async def main() -> None:
        service = rig.service()
        await service.start()
        meta = {"app": "shop", "drain": "key.1"}
        await service.append(Batch(kind, 1, "", "", join_octets(messages), RECEIVED, None, meta))
        await service.flush(1)
        await service.close()

    asyncio.run(main())


def test_every_field_of_rfc_5424_is_a_column(rig: Any) -> None:
    landed(
        rig, b'<11>1 2026-11-25T16:00:00.25Z box till 42 REQ [a@1 k="v \\" x"][b@2] \xef\xbb\xbfhi there\n'
    )
    columns = (
        "time, timestamp_us, severity, app, drain, source, process, host, msgid, structured_data, message"
    )
    (row,) = rig.rows("logs", "app", columns=columns)
    assert json.loads(row[9]) == {"a@1": {"k": 'v " x'}, "b@2": {}}
    assert (*row[:9], row[10]) == (
        1795622400,
        1795622400250000,
        "err",
        "shop",
        "key.1",
        "till",
        "42",
        "box",
        "REQ",
        "hi there",
    )


def test_absent_fields_are_null_and_a_message_without_time_has_that_of_its_receipt(rig: Any) -> None:
    landed(rig, b"<11>1 - - - - - - hi", b"<13>shop: old", b"<13>Nov 25 16:00:00 - -: older")
    columns = "time, source, process, host, msgid, structured_data, message"
    assert rig.rows("logs", "app", columns=columns) == [
        (1795622400, None, None, None, None, None, "older"),
        (int(RECEIVED), "shop", None, None, None, None, "old"),
        (int(RECEIVED), None, None, None, None, None, "hi"),
    ]


def test_lines_go_where_drained_lines_go(rig: Any) -> None:
    landed(
        rig,
        b'<13>1 - box till 1 - - @[shop.orders] {"order":7,"time":5}',
        ROUTER,
        ROUTER.replace(b"at=info", b"odd at=info"),
        b"<45>1 - - heroku web.1 - - State changed from starting to up",
        b"<45>1 - - till 1 - - source=x sample#load=1.5",
        b"<13>1 - box till 1 - - user=7 path=/",
    )
    assert rig.rows("shop", "orders", columns='time, "order"') == [(5, 7)]
    assert rig.rows("logs", "router", columns="status, host")[0] == (200, "a.b")
    assert rig.rows("logs", "dyno", columns="state_to") == [("up",)]
    assert rig.rows("logs", "metrics", columns="metric, value") == [("load", 1.5)]
    assert rig.rows("logs", "app", columns="host, data") == [("box", '{"user":"7","path":"/"}')]


def test_what_is_no_message_is_a_dead_letter(rig: Any) -> None:
    landed(
        rig, b"\tat java.lang.Thread", b"<13>1 - - - - - [broken hi", b"<13>Foo 09 16:00:00 b c: d", b"<13>ok"
    )
    letters = rig.rows("logs", "dead_letters", columns="source, reason, body")
    assert sorted((source, body) for source, _, body in letters) == [
        ("syslog:key.1", "\tat java.lang.Thread"),
        ("syslog:key.1", "<13>1 - - - - - [broken hi"),
        ("syslog:key.1", "<13>Foo 09 16:00:00 b c: d"),
    ]
    assert all(reason.startswith("not_syslog: ") for _, reason, _ in letters)
    assert rig.rows("logs", "app", columns="message") == [("ok",)]


def test_a_table_of_drained_lines_gets_the_columns_with_the_first_message(rig: Any) -> None:
    landed(rig, b"<190>1 2026-11-25T16:00:00Z host app web.1 - drained", kind=BodyKind.LOGPLEX)
    landed(rig, b"<13>1 2026-11-25T16:00:01Z box till 1 - - sent")
    landed(rig, b"<190>1 2026-11-25T16:00:02Z host app web.1 - drained too", kind=BodyKind.LOGPLEX)
    assert rig.rows("logs", "app", columns="message, host") == [
        ("drained", None),
        ("drained too", None),
        ("sent", "box"),
    ]


def test_the_sequence_rises_over_both_kinds_of_one_segment(rig: Any) -> None:
    async def main() -> None:
        service = rig.service()
        await service.start()
        meta = {"app": "shop", "drain": "d"}
        drained = join_octets([b"<190>1 - host app web.1 - a"] * 3)
        sent = join_octets([b"<13>1 - - - - - - b"] * 3)
        for kind, body in ((BodyKind.SYSLOG, sent), (BodyKind.LOGPLEX, drained), (BodyKind.SYSLOG, sent)):
            await service.append(Batch(kind, 1, "", "", body, RECEIVED, None, meta))
        await service.flush(1)
        await service.close()

    asyncio.run(main())
    numbers = [row[0] for row in rig.rows("logs", "app", columns="seq")]
    assert len(numbers) == 9
    assert len(set(numbers)) == 9
