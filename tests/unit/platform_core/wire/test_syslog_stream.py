"""The framing of syslog on TCP is told message by message, wherever the chunks are cut."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.wire.syslog_stream import SyslogStream

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = st.binary(max_size=40).map(
    lambda data: b"<13>" + data.replace(b"\n", b"_").replace(b"\0", b"_").strip(b"\r ")
)
COUNTED = st.tuples(st.just("count"), st.binary(min_size=1, max_size=40).map(lambda data: b"<1>" + data))
COUNTED_WITH_FEED = st.tuples(st.just("count+feed"), TEXT)
LINE = st.tuples(st.just("line"), TEXT)


def framed(kind: str, message: bytes) -> bytes:
    if kind == "line":
        return message + b"\n"
    return b"%d %b%b" % (len(message), message, b"\n" if kind == "count+feed" else b"")


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def decoded(chunks: Sequence[bytes], **limits: int) -> tuple[list[bytes], SyslogStream]:
    stream = SyslogStream(**limits)
    return [frame for chunk in chunks for frame in stream.feed(chunk)], stream


@settings(deadline=None)
@given(
    st.lists(st.one_of(COUNTED_WITH_FEED, LINE), max_size=12), st.lists(st.integers(0, 10_000), max_size=20)
)
def test_mixed_framing_reads_alike_however_it_is_cut(
    messages: list[tuple[str, bytes]], places: list[int]
) -> None:
    data = b"".join(framed(*message) for message in messages)
    frames, stream = decoded(cut(data, places))
    assert frames == [message for _, message in messages]
    assert stream.lost is None
    assert stream.pending == b""


@settings(deadline=None)
@given(st.lists(COUNTED, max_size=12), st.lists(st.integers(0, 10_000), max_size=20))
def test_octet_counted_messages_may_hold_any_byte(
    messages: list[tuple[str, bytes]], places: list[int]
) -> None:
    data = b"".join(framed(*message) for message in messages)
    frames, stream = decoded(cut(data, places))
    assert frames == [message for _, message in messages]
    assert stream.lost is None


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_no_bytes_make_it_raise_or_grow_without_bound(chunks: list[bytes]) -> None:
    _, stream = decoded(chunks, max_frame=50)
    stream.finish()
    assert stream.lost is not None or len(stream.pending) <= 60


def test_messages_that_end_at_nul_keep_their_line_feeds() -> None:
    frames, _ = decoded([b"<14>one\ntwo\x00<1", b"4>three\x00"])
    assert frames == [b"<14>one\ntwo", b"<14>three"]


def test_ten_megabytes_without_an_end_are_given_up_early() -> None:
    stream = SyslogStream(max_frame=1 << 16)
    fed = 0
    while stream.lost is None and fed < 10 << 20:
        assert stream.feed(b"<13>" + b"x" * 8188) == []
        fed += 8192
    assert stream.lost is not None
    assert fed < (1 << 16) + 2 * 8192
    assert stream.feed(b"\n<13>fine\n") == []


def test_a_huge_length_loses_the_framing_and_what_stands_before_it_is_kept() -> None:
    for length in (b"9999999 ", b"99999999999999999999", b"70000 "):
        frames, stream = decoded([b"5 <1>hi" + length + b"<13>x"], max_frame=1 << 16)
        assert frames == [b"<1>hi"]
        assert stream.lost is not None
        assert stream.lost.offset == 7


def test_a_message_that_has_no_end_of_its_own_ends_with_the_connection() -> None:
    frames, stream = decoded([b"<13>one\n<13>two"])
    assert frames == [b"<13>one"]
    assert stream.finish() == b"<13>two"
    assert stream.finish() == b""


def test_a_counted_message_that_is_cut_short_does_not() -> None:
    _, stream = decoded([b"20 <13>tw"])
    assert stream.finish() == b""
    assert stream.pending == b"20 <13>tw"


def test_a_line_that_begins_with_a_number_is_no_length() -> None:
    frames, stream = decoded([b"<13>at:\n17 files\n<13>next\n"])
    assert frames == [b"<13>at:", b"17 files", b"<13>next"]
    assert stream.lost is None


def test_a_sender_that_changes_its_framing_all_the_time_costs_time_in_proportion() -> None:
    def seconds(count: int) -> float:
        data = b"<1>a\n4 <1>b" * count
        began = time.process_time()
        frames, _ = decoded([data])
        assert len(frames) == 2 * count
        return time.process_time() - began

    # Four times as much takes about four times as long; what is quadratic would take sixteen times as long.
    assert seconds(20_000) < 9 * min(seconds(5_000) for _ in range(3))
