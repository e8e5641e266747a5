"""Buffers count what they lose; channels number, remember and filter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.logplex.batch import Batch, printable
from platform_core.logplex.buffer import CountingBuffer, Loss
from platform_core.logplex.channel import Channel
from platform_core.models.logs import LogFilter

pushes = st.lists(st.lists(st.binary(min_size=1, max_size=20), max_size=6), max_size=12)


@settings(deadline=None)
@given(pushes, st.integers(1, 10), st.integers(20, 100), st.integers(1, 40))
def test_received_is_taken_plus_displaced_plus_waiting(
    groups: list[list[bytes]], most: int, most_bytes: int, batch: int
) -> None:
    buffer = CountingBuffer(most, most_bytes)
    sent: list[bytes] = []
    taken: list[bytes] = []
    lost = 0
    for turn, group in enumerate(groups):
        sent += group
        lost += buffer.push(group)
        assert len(buffer) <= most
        assert buffer.bytes <= most_bytes
        if turn % 3 == 2 and buffer:
            part = buffer.take(batch)
            assert len(part) == 1 or sum(map(len, part)) <= batch
            taken += part
        assert buffer.received == len(taken) + buffer.displaced + len(buffer)
    assert lost == buffer.displaced
    rest = buffer.take(1 << 20)
    assert sent[len(sent) - len(rest) :] == rest
    assert buffer.bytes == 0
    remaining = iter(sent)
    assert all(message in remaining for message in taken + rest)  # in order, none twice


def test_a_loss_remembers_since_when() -> None:
    loss = Loss()
    loss.add(0, 5.0)
    loss.add(2, 10.0)
    loss.add(1, 7.0)
    loss.add(1, 20.0)
    taken = loss.take()
    assert (taken.count, taken.since) == (4, 7.0)
    loss.add(1, 30.0)
    assert (loss.count, loss.since) == (1, 30.0)


def filled(lines: int) -> Channel:
    channel = Channel(100, 1_500)
    for number in range(lines):
        process = "web.1" if number % 2 else "worker.2"
        channel.append(190, "T", "app", process, [b"%d" % number])
    return channel


def texts(channel: Channel, wanted: LogFilter, after: int | None = None) -> list[bytes]:
    return [line for batch in channel.backlog(wanted, after) for line in batch.lines]


def test_a_channel_remembers_its_last_lines() -> None:
    channel = filled(2_000)
    everything = LogFilter(lines=10_000)
    assert texts(channel, everything) == [b"%d" % number for number in range(500, 2_000)]
    assert texts(channel, LogFilter(lines=3)) == [b"1997", b"1998", b"1999"]
    assert texts(channel, LogFilter(lines=0)) == []


def test_a_big_batch_is_remembered_in_part() -> None:
    channel = Channel(1, 10)
    channel.append(190, "T", "app", "web.1", [b"%d" % number for number in range(25)])
    assert texts(channel, LogFilter(lines=100)) == [b"%d" % number for number in range(15, 25)]


def test_filters_know_sources_dynos_and_types() -> None:
    channel = filled(6)
    channel.append(45, "T", "heroku", "web.1", [b"state"])
    assert texts(channel, LogFilter(dyno="web")) == [b"1", b"3", b"5", b"state"]
    assert texts(channel, LogFilter(dyno="worker.2", lines=2)) == [b"2", b"4"]
    assert texts(channel, LogFilter(source="heroku")) == [b"state"]
    assert texts(channel, LogFilter(source="app", dyno="web.1", lines=1)) == [b"5"]


def test_resuming_behind_an_event_gives_exactly_what_followed() -> None:
    channel = Channel(100, 1_500)
    channel.append(190, "T", "app", "web.1", [b"a", b"b", b"c"])
    channel.append(190, "T", "app", "web.1", [b"d"])
    for after in range(99, 105):
        expected = [b"a", b"b", b"c", b"d"][max(after - 99, 0) :]
        assert texts(channel, LogFilter(lines=1), after) == expected


def test_a_line_is_rendered_for_people() -> None:
    batch = Batch(7, "2026-01-02T03:04:05.000001+00:00", "app", "web.1", [b"hi", b"\xffbye"])
    assert list(batch.render()) == [
        (7, "2026-01-02T03:04:05.000001+00:00 app[web.1]: hi"),
        (8, "2026-01-02T03:04:05.000001+00:00 app[web.1]: \ufffdbye"),
    ]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a\tb", "a\tb"),
        (b"a\rb\nc\x00", "a\\x0db\\x0ac\\x00"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (b"\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("é\u0085".encode(), "é\\x85"),
    ],
)
def test_control_characters_become_visible_and_colours_stay(raw: bytes, shown: str) -> None:
    assert printable(raw) == shown
