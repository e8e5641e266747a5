"""logplex-1 bodies and headers: byte exact out, everything back in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.wire.logplex import (
    LogplexError,
    decode_body,
    encode_headers,
    encode_lines,
    is_logplex,
    line_header,
    parse_frame,
    parse_headers,
    split_long_lines,
)

TS = "2026-01-02T03:04:05.678901+00:00"


def test_a_frame_is_byte_exact() -> None:
    header = line_header(45, TS, "heroku", "web.1")
    assert encode_lines(header, [b"State changed from starting to up"]) == [
        b"92 <45>1 2026-01-02T03:04:05.678901+00:00 host heroku web.1 - State changed from starting to up"
    ]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=10))
def test_what_is_encoded_is_decoded(lines: list[bytes]) -> None:
    body = decode_body(b"".join(encode_lines(line_header(190, TS, "app", "worker.12"), lines)))
    assert body.lost is None
    found = [parse_frame(frame) for frame in body.frames]
    assert [message.msg for message in found] == lines
    assert {message.procid for message in found} <= {b"worker.12"}


def test_a_cut_body_keeps_its_good_messages_and_says_where_it_ends() -> None:
    whole = b"".join(encode_lines(line_header(190, TS, "app", "web.1"), [b"one", b"two"]))
    body = decode_body(whole[:-1])
    assert [parse_frame(frame).msg for frame in body.frames] == [b"one"]
    assert body.lost is not None
    assert body.lost.offset == len(whole) // 2
    assert body.rest == whole[len(whole) // 2 : -1]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_rubbish_is_kept_whole(raw: bytes) -> None:
    body = decode_body(raw)
    assert b"".join(b"%d %b" % (len(frame), frame) for frame in body.frames) + body.rest == raw
    assert (body.lost is None) == (body.rest == b"")


def test_long_lines_are_split_without_losing_a_byte() -> None:
    short = [b"a", b"", b"b" * 10_000]
    assert split_long_lines(short) is short
    long = b"x" * 25_000
    parts = split_long_lines([b"a", long, b""])
    assert [len(part) for part in parts] == [1, 10_000, 10_000, 5_000, 0]
    assert b"".join(parts[1:4]) == long


def test_headers_go_out_and_come_back_in_any_case() -> None:
    sent = encode_headers(3, "abc123", "d.1")
    assert sent["Content-Type"] == "application/logplex-1"
    found = parse_headers({name.upper(): value for name, value in sent.items()})
    assert (found.msg_count, found.frame_id, found.drain_token) == (3, "abc123", "d.1")
    assert parse_headers({}).msg_count is None


@pytest.mark.parametrize("count", ["", "-1", "x", "1e3", "²", "9" * 40])
def test_a_bad_count_is_refused(count: str) -> None:
    with pytest.raises(LogplexError, match="Logplex-Msg-Count"):
        parse_headers({"Logplex-Msg-Count": count})


def test_both_content_types_are_known() -> None:
    assert is_logplex("application/logplex-1")
    assert is_logplex("Application/X-Logplex-1; charset=utf-8")
    assert not is_logplex("text/plain")
    assert not is_logplex(None)
