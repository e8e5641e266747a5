"""The columnar logplex parser against the plain loop of ``platform_core.wire``."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.ingest import logplex_columns
from addon.ingest.logplex_columns import LogColumns, parse_bodies
from addon.warehouse.scan.library import kernel
from jobs.native.compiler import compiler
from platform_core.wire.logplex import decode_body, parse_frame
from platform_core.wire.syslog import SyslogError

HEAD = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
MESSAGES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"\n",
            b"plain\n",
            b"a\nb\n",
            b"83 <40>1 x",
            b"12",
            b"<190>1 ",
            HEAD,
            b"60 " + HEAD,
            b" lead",
            b"9" * 80,
        ]
    ),
)
HEADS = st.one_of(
    st.just(HEAD),
    st.sampled_from(
        [
            b"<0>1 - - - - - ",
            b"<191>1 - h a p m ",
            b"<192>1 - h a p m ",
            b"<007>1 - h a p m ",
            b"<13>2 - h a p m ",
            b"<13>1 - h a p m",
            b"<13>1  h a p m x ",
            b"<13>1 - h a ",
            b"<13>1 - h " + b"a" * 49 + b" p m ",
            b"no header",
            b"",
        ]
    ),
)


def frame(head: bytes, message: bytes) -> bytes:
    data = head + message
    return b"%d %b" % (len(data), data) if data else b""


GOOD = st.builds(lambda message: frame(HEAD, message), MESSAGES)
ANY = st.one_of(
    st.builds(frame, HEADS, MESSAGES),
    st.sampled_from([b"0 ", b"05 hello", b"99999999 x", b"7 short", b"x", b"5hello", b"2000000 "]),
)
BODY = st.one_of(
    st.lists(GOOD, min_size=1, max_size=12).map(b"".join), st.lists(ANY, min_size=1, max_size=8).map(b"".join)
)

Row = tuple[int, int, bytes, bytes, bytes, bytes]


def by_loop(bodies: list[bytes]) -> tuple[list[Row], list[tuple[int, bytes]]]:
    rows: list[Row] = []
    bad: list[tuple[int, bytes]] = []
    for index, body in enumerate(bodies):
        split = decode_body(body)
        for data in split.frames:
            try:
                got = parse_frame(data)
            except SyslogError:
                bad.append((index, data))
                continue
            text = got.msg.removesuffix(b"\n")
            rows.append((index, got.pri, got.timestamp, got.app_name, got.procid, text))
        if split.lost is not None:
            bad.append((index, split.rest))
    return rows, bad


def by_columns(columns: LogColumns) -> list[Row]:
    parts = (columns.stamp, columns.source, columns.process, columns.message)
    return list(
        zip(columns.body.tolist(), columns.pri.tolist(), *(part.to_pylist() for part in parts), strict=True)
    )


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
@settings(deadline=None, max_examples=250)
@given(bodies=st.lists(BODY, min_size=1, max_size=4))
def test_the_columns_hold_what_the_loop_finds(bodies: list[bytes], compiled: bool) -> None:
    columns = parse_bodies(bodies, compiled=compiled)
    rows, bad = by_loop(bodies)
    assert by_columns(columns) == rows
    assert sorted((item.body, item.data) for item in columns.bad) == sorted(bad)
    assert sorted(columns.frame.tolist()) == columns.frame.tolist()
    assert len(set(columns.frame.tolist())) == len(rows)


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
def test_a_large_clean_body_takes_the_fast_way_at_every_length(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernel() is not None or compiler() is None, "run: python -m addon.warehouse.scan"
    monkeypatch.setattr(logplex_columns, "_walk_frames", None)  # not to be called
    for newline in (b"", b"\n"):
        body = b"".join(frame(HEAD, b"x" * n + newline) for n in (*range(300), 940, 941, 942, 9_990, 99_999))
        rows, bad = by_loop([body, body])
        columns = parse_bodies([body, body], compiled=compiled)
        assert by_columns(columns) == rows
        assert columns.bad == []
        assert bad == []
