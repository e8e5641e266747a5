"""Cutting output into lines."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.dynos.lines import MAX_LINE, LineSplitter


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    splitter = LineSplitter()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    lines = [line for start, end in pairwise(edges) for line in splitter.feed(data[start:end])]
    return lines + splitter.finish()


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))),
    st.lists(st.integers(0)),
)
@settings(max_examples=100, deadline=None)
def test_lines_come_out_whatever_the_chunks(lines: list[bytes], cuts: list[int]) -> None:
    assert split(b"".join(line + b"\n" for line in lines), cuts) == lines


@given(st.integers(1, 4 * MAX_LINE), st.lists(st.integers(0), max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_line_without_an_end_comes_in_parts_and_whole(length: int, cuts: list[int]) -> None:
    data = bytes(i % 251 + 1 for i in range(length)).replace(b"\n", b"x").replace(b"\r", b"x")
    parts = split(data, cuts)
    assert b"".join(parts) == data
    assert all(len(part) <= MAX_LINE for part in parts)


def test_what_is_kept_back_is_bounded() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        splitter.feed(b"x" * 4096)
        assert len(splitter._rest) < MAX_LINE + 4096


def test_windows_line_ends_and_empty_lines() -> None:
    assert split(b"a\r\n\r\n\nb", []) == [b"a", b"", b"", b"b"]
