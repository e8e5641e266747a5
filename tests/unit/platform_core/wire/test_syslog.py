"""RFC 5424 messages with structured data, with ``-`` and without the field."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.wire.syslog import (
    StructuredData,
    SyslogError,
    parse,
    parse_bsd,
    parse_structured_data,
    parse_timestamp,
    parse_without_structured_data,
)

HEAD = b"<190>1 2026-01-02T03:04:05.678901+00:00 host app web.1 - "


def test_logplex_leaves_structured_data_out() -> None:
    message = parse(HEAD + b"- hello", StructuredData.ABSENT)
    assert message.structured_data is None
    assert message.msg == b"- hello"
    assert (message.app_name, message.procid) == (b"app", b"web.1")
    assert message.timestamp_us() == 1_767_323_045_678_901


def test_auto_takes_whatever_is_there() -> None:
    assert parse(HEAD + b"- hello")[-2:] == (b"-", b"hello")
    assert parse(HEAD + b"-")[-2:] == (b"-", b"")
    assert parse(HEAD + b"hello -")[-2:] == (None, b"hello -")
    assert parse(HEAD + b"[info] started")[-2:] == (b"[info]", b"started")
    assert parse(HEAD + b"[not closed")[-2:] == (None, b"[not closed")
    assert parse(HEAD + b'[a x="1"][b] m')[-2:] == (b'[a x="1"][b]', b"m")
    assert parse(HEAD + b"-5 degrees")[-2:] == (None, b"-5 degrees")


def test_escapes_in_structured_data_are_undone_and_the_byte_order_mark_is_cut() -> None:
    message = parse(HEAD + b'[a@1 k="q\\"b\\\\s\\]n\\n" l=""] \xef\xbb\xbfhi', StructuredData.PRESENT)
    assert message.elements() == {"a@1": {"k": 'q"b\\s]n\\n', "l": ""}}
    assert message.msg == b"hi"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"<>1 - - - - - -",
        b"<192>1 - - - - - -",
        b"<999>1 - - - - - -",
        b"<01>1 - - - - - -",
        b"<-1>1 - - - - - -",
        b"<13>2 - - - - - -",
        b"<13> - - - - - -",
        b"<13>1 - - - -",
        b"<13>1  - - - - -",
        b"<13>1 - " + b"h" * 256 + b" - - - -",
        b"13>1 - - - - - -",
    ],
)
def test_a_bad_header_is_refused(frame: bytes) -> None:
    with pytest.raises(SyslogError):
        parse(frame)


@pytest.mark.parametrize("pri", [0, 7, 8, 191])
def test_every_pri_up_to_191_is_taken(pri: int) -> None:
    assert parse(b"<%d>1 - - - - - -" % pri).pri == pri
    assert parse_bsd(b"<%d>x" % pri) == (pri, b"x")


def test_missing_structured_data_is_refused_where_it_must_be() -> None:
    with pytest.raises(SyslogError, match="structured data"):
        parse(HEAD + b"hello", StructuredData.PRESENT)
    with pytest.raises(SyslogError, match="structured data"):
        parse_structured_data(b"[a")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        (b"1970-01-01T00:00:00Z", 0),
        (b"1970-01-01T01:00:00.5+01:00", 500_000),
        (b"1969-12-31T23:30:00-00:30", 0),
        (b"1970-01-01T00:00:00.123456789Z", 123_456),
        (b"1969-12-31T23:59:59.999999Z", -1),
        (b"-", None),
    ],
)
def test_times_become_microseconds(text: bytes, micros: int | None) -> None:
    assert parse_timestamp(text) == micros


@pytest.mark.parametrize(
    "text", [b"yesterday", b"2026-13-01T00:00:00Z", b"2026-01-01T00:00:00", b"1767225600"]
)
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(SyslogError):
        parse_timestamp(text)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(StructuredData), st.booleans())
def test_rubbish_is_parsed_or_refused_but_never_crashes(
    tail: bytes, wanted: StructuredData, head: bool
) -> None:
    frame = HEAD + tail if head else tail
    try:
        message = parse(frame, wanted)
        message.elements()
        message.timestamp_us()
    except SyslogError:
        return
    assert frame.endswith(message.msg)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=9), st.booleans())
def test_the_fast_reader_agrees_with_the_exact_one(words: list[bytes], head: bool) -> None:
    frame = b" ".join([b"<190>1", *words]) if head else b" ".join(words)
    try:
        expected = parse(frame, StructuredData.ABSENT)
    except SyslogError:
        with pytest.raises(SyslogError):
            parse_without_structured_data(frame)
    else:
        assert parse_without_structured_data(frame) == expected


def test_a_long_run_of_opening_brackets_is_refused_quickly() -> None:
    for hostile in (b"[a " + b'x="' * 50_000, b"[a]" * 50_000 + b"x", b'[a x="' + b"\\" * 100_001):
        assert parse(HEAD + hostile).structured_data is None
