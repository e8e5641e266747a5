"""The forward protocol's messages, as real senders wrote them and as nobody should."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.ingest.limits import IngestLimits
from addon.receivers.forward_codec import ForwardError, ForwardStream, Message, read_message

CORPORA = Path(__file__).parent / "corpora"
LIMITS = IngestLimits()
NODE = [
    {
        "time": 1795600000,
        "number": number,
        "text": f"event {number} ü",
        "nested": {"list": [1, 2.5, None, True]},
    }
    for number in range(3)
]


def read(data: bytes) -> Message:
    return read_message(data, LIMITS)


def rows(message: Message) -> list[Any]:
    return [msgpack.unpackb(row) for row in message.rows]


def stream_of(name: str) -> list[Message]:
    stream = ForwardStream(1 << 20)
    data = (CORPORA / name).read_bytes()
    return [read(raw) for byte in data for raw in stream.feed(bytes([byte]))]


def test_message_mode_of_the_python_logger() -> None:
    found = stream_of("fluent-py-message.bin")
    assert [rows(one) for one in found] == [[{"time": 1795600000 + n, "n": n, "text": "ü"}] for n in range(3)]
    assert {(one.database, one.table, one.chunk) for one in found} == {("shop", "clicks", None)}


def test_event_time_and_a_time_of_the_records_own() -> None:
    found = stream_of("fluent-py-event-time.bin")
    assert [rows(one) for one in found] == [
        [{"time": 1795600000, "n": n, "text": "ü", "record_time": "noon"}] for n in range(3)
    ]


def test_message_mode_of_the_node_logger_with_its_chunk() -> None:
    (found,) = stream_of("fluent-node-message.bin")
    assert rows(found) == NODE[:1]
    assert found.chunk == "WqSdXzOfNeGyRJhA3vUh7Q=="


@pytest.mark.parametrize("name", ["fluent-node-packed.bin", "fluent-node-compressed.bin"])
def test_packed_modes_of_the_node_logger(name: str) -> None:
    (found,) = stream_of(name)
    assert rows(found) == NODE
    assert found.chunk


@pytest.mark.parametrize(
    "time",
    [
        5,
        5.75,
        msgpack.ExtType(0, b"\0\0\0\5\0\0\0\1"),
        [5, {"meta": 1}],
        [msgpack.ExtType(0, b"\0\0\0\5\0\0\0\1"), {}],
    ],
)
def test_every_form_of_time_in_every_mode(time: Any) -> None:
    entry = [time, {"a": 1}]
    packed = msgpack.packb(entry) * 2
    for second, count in (([entry, entry], 2), (packed, 2), (gzip.compress(packed), 2)):
        option = {"compressed": "gzip"} if isinstance(second, bytes) and second is not packed else {}
        found = read(msgpack.packb(["x.td.shop.clicks", second, option]))
        assert rows(found) == [{"time": 5, "a": 1}] * count
    found = read(msgpack.packb(["shop.clicks", time, {"a": 1}, {"chunk": "c"}]))
    assert (rows(found), found.chunk) == ([{"time": 5, "a": 1}], "c")


@pytest.mark.parametrize("count", [0, 14, 15, 16, 65_534, 65_535, 65_536])
def test_a_record_of_any_size_gets_its_time(count: int) -> None:
    record = {f"k{n}": n for n in range(count)}
    assert rows(read(msgpack.packb(["shop.t_1", 7, record]))) == [{"time": 7, **record}]


def test_names_are_made_valid() -> None:
    found = read(msgpack.packb(["td.My Shop.Käufe", 1, {}]))
    assert (found.database, found.table) == ("my_shop", "k_ufe")


def deep(levels: int) -> bytes:
    return b"\x93\xa5a.bcd\x01" + b"\x81\xa1x" * levels + b"\xc0"


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(["a.b"]),
        msgpack.packb(["a.b", 1, {}, {}, 5]),
        msgpack.packb(["nodot", 1, {}]),
        msgpack.packb([".", 1, {}]),
        msgpack.packb([7, 1, {}]),
        msgpack.packb({"a": 1}),
        msgpack.packb("HELO"),
        msgpack.packb(["a.b", True, {}]),
        msgpack.packb(["a.b", None, {}]),
        msgpack.packb(["a.b", float("nan"), {}]),
        msgpack.packb(["a.b", 1, "record"]),
        msgpack.packb(["a.b", [[1, 2, 3]]]),
        msgpack.packb(["a.b", [{"a": 1}, {}]]),
        msgpack.packb(["a.b", b"\x92\x01"]),
        msgpack.packb(["a.b", b"\xc1"]),
        msgpack.packb(["a.b", b"nonsense", {"compressed": "gzip"}]),
        msgpack.packb(["a.b", b"", {"compressed": "zstd"}]),
        msgpack.packb(["a.b", gzip.compress(bytes(32 << 20)), {"compressed": "gzip"}]),
        b"\x92\xa3a.b\xdd\xff\xff\xff\xff",
        deep(5000),
        b"\x93\xa3a.b\x90\x81\x91\x01\x02",
        b"\x93\xa3a.b\x92\x01\x81\x90\x01\x80",
        b"\x93\x81\x90\x01\x01\x80",
    ],
    ids=range(23),
)
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(ForwardError):
        read(data)


def test_endless_nesting_is_refused_while_it_arrives() -> None:
    stream = ForwardStream(32 << 20)
    with pytest.raises(ForwardError, match="not msgpack"):
        stream.feed(deep(1 << 20))


@pytest.mark.parametrize("head", [b"\x92\xa3a.b\xc6\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff"])
def test_a_huge_announced_length_costs_no_more_than_the_limit(head: bytes) -> None:
    stream = ForwardStream(1 << 20)
    stream.feed(head)
    for _ in range(15):
        assert stream.feed(bytes(64 << 10)) == []
    with pytest.raises(ForwardError, match="over the limit"):
        stream.feed(bytes(64 << 10))


EVENT = st.dictionaries(
    st.text(max_size=6),
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=9), st.none()),
    max_size=20,
)


@settings(deadline=None)
@given(st.lists(st.lists(EVENT, max_size=4), max_size=5), st.lists(st.integers(0, 10_000), max_size=12))
def test_messages_are_found_however_the_stream_is_cut(chunks: list[list[Any]], places: list[int]) -> None:
    sent = [msgpack.packb(["shop.t_1", [[n, event] for n, event in enumerate(chunk)]]) for chunk in chunks]
    data = b"".join(sent)
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    stream = ForwardStream(1 << 20)
    found = [raw for start, end in itertools.pairwise(edges) for raw in stream.feed(data[start:end])]
    assert found == sent
    assert stream.pending == 0
    for raw, chunk in zip(found, chunks, strict=True):
        for number, (row, event) in enumerate(zip(read(raw).rows, chunk, strict=True)):
            own = {("record_time" if key == "time" else key): value for key, value in event.items()}
            assert msgpack.unpackb(row) == {"time": number, **own}


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    stream = ForwardStream(100)
    try:
        for raw in stream.feed(b"\x93\xa3a.b" + data):
            read(raw)
    except ForwardError:
        pass
