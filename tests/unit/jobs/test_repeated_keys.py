"""Rows that repeat a key are found by every way of looking: the cheap ones agree with counting."""

from __future__ import annotations

from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine import uniqueness
from jobs.engine.uniqueness import distinct_keys
from jobs.engines.duck import DuckEngine
from jobs.native.library import library
from jobs.run.runner import run_analysis

KEY = ("user_id", "time", "seq")


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 9)), min_size=1, max_size=9),
    st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_keys_are_counted_right_by_every_way(rows: list[tuple[str, int, int]], without: bool) -> None:
    users, times, seqs = zip(*rows, strict=True)
    engine = DuckEngine(threads=1)
    engine.register_arrow("given", pa.table({"user_id": users, "time": times, "seq": pa.array(seqs)}))
    with mock.patch.object(uniqueness, "library", return_value=None if without else library()):
        assert distinct_keys(engine, "given", KEY, len(rows)) == len(set(rows))
        assert distinct_keys(engine, "given", KEY, len(rows), (min(seqs), max(seqs))) == len(set(rows))
    engine.close()


@pytest.mark.parametrize(
    ("users", "seqs", "repeats"),
    [
        ("abc", [0, 1, 2], 0),
        ("abc", [0, 5, 5], 0),  # the same seq of another user is no repeat
        ("aac", [0, 0, 7], 1),
        ("aaa", [3, 3, 3], 2),
    ],
)
def test_one_row_of_each_key_counts(users: str, seqs: list[int], repeats: int) -> None:
    columns = {"user_id": list(users), "time": [5] * 3, "event": ["a"] * 3, "seq": pa.array(seqs)}
    engine = DuckEngine(threads=1)
    found = run_analysis("funnel", engine, {"events": pa.table(columns)}, {"steps": ["a"]})
    assert found.manifest["rows_excluded"] == {"events": {"duplicate": repeats} if repeats else {}}
    assert found.tables["funnel"]["entities"].to_pylist() == [len(set(users))]
    engine.close()
