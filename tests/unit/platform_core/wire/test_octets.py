"""Octet counting and trailers: any chunking gives the same messages, and nothing crashes on rubbish."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.wire.octets import (
    FramingLost,
    OctetDecoder,
    TrailerDecoder,
    decoder_for,
    join_octets,
    split_octets,
)

messages = st.lists(st.binary(min_size=1, max_size=300), max_size=12)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut ``stream`` at the given places (taken modulo its length)."""
    cuts = sorted({place % (len(stream) + 1) for place in places})
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def test_a_stream_is_cut_into_its_messages() -> None:
    split = split_octets(b"5 hello11 hello world3 ab")
    assert split.frames == [b"hello", b"hello world"]
    assert split.used == len(b"5 hello11 hello world")
    assert split.lost is None


@pytest.mark.parametrize(
    ("stream", "offset", "word"),
    [
        (b"3 abcx1 a", 5, "positive"),
        (b"0 3 abc", 0, "positive"),
        (b"-1 abc", 0, "positive"),
        (b"1e3 abc", 0, "positive"),
        (b"+3 abc", 0, "positive"),
        (b"03 abc", 0, "positive"),
        (b" 3 abc", 0, "positive"),
        (b"3 abc12345678 x", 5, "digits"),
        (b"3 abc99 ", 5, "limit"),
        (b"<13>1 - -", 0, "positive"),
    ],
)
def test_a_bad_length_loses_the_framing_at_its_place_and_keeps_what_was_before(
    stream: bytes, offset: int, word: str
) -> None:
    split = split_octets(stream, max_frame=50)
    assert split.lost is not None
    assert (split.lost.offset, split.used) == (offset, offset)
    assert word in split.lost.reason
    assert split.frames == ([b"abc"] if offset else [])


def test_seven_digits_are_a_length_and_eight_are_not() -> None:
    assert split_octets(b"1000000", max_frame=2_000_000).lost is None
    assert split_octets(b"1000000 x", max_frame=2_000_000).lost is None
    assert split_octets(b"10000000").lost == FramingLost(0, "the length has more than 7 digits")


@settings(deadline=None)
@given(messages, st.lists(st.integers(0, 5000), max_size=8))
def test_any_chunking_of_counted_octets_gives_the_same_messages(sent: list[bytes], places: list[int]) -> None:
    decoder = OctetDecoder()
    got = [frame for chunk in cut(join_octets(sent), places) for frame in decoder.feed(chunk)]
    assert got == sent
    assert decoder.pending == b""
    assert decoder.lost is None


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=60).filter(lambda m: b"\n" not in m), max_size=12),
    st.lists(st.integers(0, 900)),
)
def test_any_chunking_of_lines_gives_the_same_messages(sent: list[bytes], places: list[int]) -> None:
    decoder = TrailerDecoder()
    stream = b"".join(message + b"\n" for message in sent)
    got = [frame for chunk in cut(stream, places) for frame in decoder.feed(chunk)]
    assert got == [message for message in sent if message]
    assert decoder.pending == b""


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6), st.integers(1, 60))
def test_rubbish_never_crashes_and_every_byte_is_accounted_for(
    stream: bytes, places: list[int], cap: int
) -> None:
    whole = split_octets(stream, max_frame=cap)
    assert join_octets(whole.frames) == stream[: whole.used]
    decoder = OctetDecoder(max_frame=cap)
    got = [frame for chunk in cut(stream, places) for frame in decoder.feed(chunk)]
    assert got == whole.frames
    assert decoder.lost == whole.lost
    lines = TrailerDecoder(max_frame=cap)
    kept = [frame for chunk in cut(stream, places) for frame in lines.feed(chunk)]
    assert all(len(frame) <= cap for frame in kept)
    if lines.lost is None:
        assert kept == [line for line in stream.split(b"\n")[:-1] if line]
        assert lines.pending == stream.split(b"\n")[-1]


def test_the_place_of_a_loss_counts_from_the_beginning_of_the_stream() -> None:
    decoder = OctetDecoder()
    assert decoder.feed(b"3 ab") == []
    assert decoder.feed(b"c1 x") == [b"abc", b"x"]
    assert decoder.feed(b"zz 3 abc") == []
    assert decoder.lost is not None
    assert decoder.lost.offset == len(b"3 abc1 x")
    assert decoder.feed(b"3 abc") == []
    assert decoder.pending == b"zz 3 abc"


def test_a_line_without_an_end_is_lost_at_the_cap_and_the_lines_before_it_are_kept() -> None:
    decoder = TrailerDecoder(max_frame=10)
    assert decoder.feed(b"one\n\ntwo\n" + b"x" * 11 + b"\nfour\n") == [b"one", b"two"]
    assert decoder.lost is not None
    assert decoder.lost.offset == len(b"one\n\ntwo\n")
    endless = TrailerDecoder(max_frame=10)
    assert endless.feed(b"y" * 10) == []
    assert endless.lost is None
    assert endless.feed(b"y") == []
    assert endless.lost is not None


def test_a_big_message_in_small_chunks_is_not_copied_at_every_chunk() -> None:
    size = 1 << 20
    decoder = OctetDecoder()
    assert decoder.feed(b"%d " % size) == []
    for _ in range(size // 64 - 1):
        assert decoder.feed(b"z" * 64) == []  # quadratic copying would take minutes here
    assert decoder.feed(b"z" * 64) == [b"z" * size]


def test_the_first_byte_tells_the_framing() -> None:
    assert isinstance(decoder_for(b"<13>1 "), TrailerDecoder)
    assert isinstance(decoder_for(b"33 <13>1"), OctetDecoder)
