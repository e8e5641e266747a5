"""Rows that repeat a key are left out, also where the analysis went on before that was known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import EngineError
from jobs.engine import uniqueness
from jobs.engine.uniqueness import distinct_keys, keys_seen_beside
from jobs.engines.duck import DuckEngine
from jobs.native.library import library
from jobs.registry import find
from jobs.run import runner
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KEY = ("user_id", "time", "seq")


@pytest.fixture
def engine() -> Iterator[DuckEngine]:
    """An engine of its own."""
    opened = DuckEngine(threads=1)
    yield opened
    opened.close()


def events(users: str, seqs: Sequence[int]) -> pa.Table:
    """Events of one second."""
    columns = {"user_id": list(users), "time": [5] * len(users), "event": ["a"] * len(users)}
    return pa.table({**columns, "seq": pa.array(seqs, pa.int64())})


@pytest.mark.parametrize("form", ["file", "table"])
@pytest.mark.parametrize(
    ("users", "seqs", "repeats_and_attempts"),
    [
        ("abc", [0, 1, 2], (0, 1)),
        ("abc", [0, 5, 5], (0, 1)),  # the same seq of another user is no repeat
        ("aac", [0, 0, 7], (1, 2)),
        ("aaa", [3, 3, 3], (2, 1)),  # one seq cannot tell three rows apart, so nobody hopes for it
    ],
)
def test_only_what_repeats_is_computed_again(
    tmp_path: Path, form: str, users: str, seqs: list[int], repeats_and_attempts: tuple[int, int]
) -> None:
    (repeats, attempts), engine = repeats_and_attempts, DuckEngine(threads=1)
    given_events: Any = events(users, seqs)
    if form == "file":
        pq.write_table(given_events, tmp_path / "events.parquet")
        given_events = tmp_path / "events.parquet"
    with mock.patch.object(runner, "_attempt", wraps=runner._attempt) as attempt:
        found = run_analysis("funnel", engine, {"events": given_events}, {"steps": ["a"]}, tmp_path / "out")
    assert attempt.call_count == attempts
    assert found.manifest["rows_excluded"] == {"events": {"duplicate": repeats} if repeats else {}}
    assert found.tables["funnel"]["entities"].to_pylist() == [len(set(users))]
    engine.close()


def test_a_failure_over_repeated_rows_is_none_once_they_are_left_out(engine: DuckEngine) -> None:
    funnel = find("funnel")
    compute = mock.Mock(side_effect=[EngineError("these rows are too many"), None])

    def once_failing(*arguments: Any) -> Any:
        compute()
        return funnel.compute(*arguments)

    broken = mock.Mock(wraps=funnel, spec=funnel, compute=once_failing)
    for name in ("name", "version", "inputs", "outputs", "parameters"):
        setattr(broken, name, getattr(funnel, name))
    with mock.patch.object(runner, "find", return_value=broken):
        found = run_analysis("funnel", engine, {"events": events("aac", [0, 0, 7])}, {"steps": ["a"]})
        assert found.tables["funnel"]["entities"].to_pylist() == [2]
        compute.side_effect = EngineError("the engine failed")
        with pytest.raises(EngineError, match="the engine failed"):
            run_analysis("funnel", engine, {"events": events("abc", [0, 1, 2])}, {"steps": ["a"]})


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 12)), min_size=1, max_size=12
    ),
    st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_keys_are_counted_right_by_every_way(rows: list[tuple[str, int, int]], without: bool) -> None:
    users, times, seqs = zip(*rows, strict=True)
    opened = DuckEngine(threads=1)
    opened.register_arrow("given", pa.table({"user_id": users, "time": times, "seq": pa.array(seqs)}))
    bounds = min(seqs), max(seqs)
    with mock.patch.object(uniqueness, "library", return_value=None if without else library()):
        assert distinct_keys(opened, "given", KEY, len(rows)) == len(set(rows))
        assert distinct_keys(opened, "given", KEY, len(rows), bounds) == len(set(rows))
        beside = keys_seen_beside(opened, "given", KEY, len(rows), bounds)
        assert beside is None or beside() == len(set(rows))
    opened.close()


def test_another_connection_reads_files_while_this_one_goes_on(engine: DuckEngine, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(100_000)}), tmp_path / "n.parquet")
    engine.register_parquet("numbers", [tmp_path / "n.parquet"])
    engine.view("even", "SELECT n FROM numbers WHERE n % 2 = 0")
    batches = engine.beside("SELECT n FROM even", 1_000)
    assert next(batches).num_rows
    assert engine.collect("SELECT COUNT(*) AS n FROM numbers").to_pylist() == [{"n": 100_000}]
    assert sum(batch.num_rows for batch in batches) > 40_000
    engine.materialize("kept", "SELECT 1 AS n")
    with pytest.raises(EngineError, match="kept"):
        next(engine.beside("SELECT n FROM kept", 1_000))
