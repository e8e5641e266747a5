"""Old-style syslog in the forms that are really sent, and its times without a year."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.wire.bsd import BsdMessage, parse_message, rfc3339
from platform_core.wire.syslog import SyslogError


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            b"<13>Nov  5 16:01:02 box shop[77]: hello: there",
            BsdMessage(13, b"Nov  5 16:01:02", b"box", b"shop", b"77", b"hello: there"),
        ),
        (
            b"<133>2026-11-25T16:18:30.799894+00:00 vm shop: first",
            BsdMessage(133, b"2026-11-25T16:18:30.799894+00:00", b"vm", b"shop", b"", b"first"),
        ),
        (b"<14>shop: hi\x00", BsdMessage(14, b"", b"", b"shop", b"", b"hi")),
        (b"<14>no tag here", BsdMessage(14, b"", b"", b"", b"", b"no tag here")),
        (
            b"<13>Nov 25 16:01:02 box text without tag",
            BsdMessage(13, b"Nov 25 16:01:02", b"box", b"", b"", b"text without tag"),
        ),
        (b"<0>", BsdMessage(0, b"", b"", b"", b"", b"")),
    ],
)
def test_the_parts_of_a_message(frame: bytes, expected: BsdMessage) -> None:
    assert parse_message(frame) == expected


@pytest.mark.parametrize("frame", [b"", b"hello", b"<192>x", b"<13 x", b"<001>x"])
def test_a_message_has_a_priority(frame: bytes) -> None:
    with pytest.raises(SyslogError):
        parse_message(frame)


@given(st.binary(max_size=80).map(lambda data: b"<13>" + data.rstrip(b"\0")))
def test_what_is_written_again_reads_the_same(frame: bytes) -> None:
    message = parse_message(frame)
    if message.timestamp and not message.hostname:
        message = message._replace(hostname=b"-")
    assert parse_message(message.encode()) == message


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("stamp", "received", "expected"),
    [
        (b"Nov 25 16:00:00", "2026-11-25T16:00:01", b"2026-11-25T16:00:00Z"),
        (b"Dec 31 23:59:59", "2027-01-01T00:00:01", b"2026-12-31T23:59:59Z"),
        (b"Jan  1 00:00:10", "2026-12-31T23:59:50", b"2027-01-01T00:00:10Z"),
        (b"Feb 29 12:00:00", "2027-03-01T00:00:00", b"2028-02-29T12:00:00Z"),
        (b"2026-11-25T16:00:00Z", "2027-03-01T00:00:00", b"2026-11-25T16:00:00Z"),
        (b"", "2027-03-01T00:00:00", b"-"),
    ],
)
def test_a_time_without_a_year_is_the_closest_one(stamp: bytes, received: str, expected: bytes) -> None:
    assert rfc3339(stamp, at(received)) == expected


@pytest.mark.parametrize("stamp", [b"Feb 30 12:00:00", b"Foo 01 12:00:00", b"Feb 29 12:00:00"])
def test_a_time_that_is_no_date_is_refused(stamp: bytes) -> None:
    with pytest.raises(SyslogError):
        rfc3339(stamp, at("2026-03-01T00:00:00") if stamp.startswith(b"Feb 29") else 0.0)
