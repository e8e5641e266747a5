"""The compiled funnel against the SQL of the same definition, and what its memory may meet."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analyses import funnel as funnel_module
from jobs.contracts.errors import EngineError
from jobs.engine import uniqueness
from jobs.engines.duck import DuckEngine
from jobs.native import library as library_module
from jobs.native.bitmap import all_differ
from jobs.native.compiler import FLAGS, compiler
from jobs.native.funnel import FunnelKernel
from jobs.run.runner import RunResult, run_analysis
from tests.sanitized import SANITIZE, STRICT, sanitized_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAR = 253_402_300_799
#: Names of every length around the words that are compared at once; some begin alike, one has a NUL.
USERS = ["", "a", "a\0", "é", *("b" * length for length in (7, 8, 9, 15, 16, 17, 40)), "b" * 39 + "c"]
STEPS: list[Any] = [
    ["view", "both"],
    {"event": "cart", "where": {"price": {">": 1}}},
    ["buy", "both"],
    "view",
]


@pytest.fixture(scope="module")
def native() -> Any:
    """The compiled library; never missing where there is a compiler."""
    found = library_module.library()
    if found is None:
        pytest.fail(
            "run: python -m jobs.native"
            if compiler()
            else "no C compiler: `make setup-test` installs gcc, or names the line that does"
        )
    return found


def events(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Events with a price; seq counts the rows."""
    users, times, names, prices = zip(*rows, strict=True) if rows else ([], [], [], [])
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "time": pa.array(times, pa.int64()),
            "seq": pa.array(range(len(rows)), pa.int64()),
            "event": pa.array(names, pa.string()),
            "price": pa.array(prices, pa.int64()),
        }
    )


def both(table: pa.Table, params: dict[str, Any]) -> tuple[RunResult, RunResult]:
    """The funnel by the library, and by SQL alone."""
    found = []
    for without in (False, True):
        engine = DuckEngine(threads=1)
        loaded = None if without else library_module.library()
        with (
            mock.patch.object(funnel_module, "library", return_value=loaded),
            mock.patch.object(uniqueness, "library", return_value=loaded),
        ):
            found.append(run_analysis("funnel", engine, {"events": table}, params))
        engine.close()
    return found[0], found[1]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(USERS),
            st.sampled_from([0, 1, 2, 60, 61, 3_600, 2**32 - 1, 2**32, FAR - 1, FAR]),
            st.sampled_from(["view", "cart", "buy", "both", "other"]),
            st.integers(0, 3),
        ),
        max_size=60,
    ),
    st.sampled_from(["seq", "step", "increase"]),
    st.sampled_from([None, 0, 1, 60]),
    st.integers(1, 4),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
@pytest.mark.usefixtures("native")
def test_the_library_equals_the_sql(
    rows: list[tuple[Any, ...]], ties: str, window: int | None, steps: int, names_only: bool
) -> None:
    listed = ["view", "cart", ["buy", "both"], "both"] if names_only else STEPS
    params = {"steps": listed[:steps], "ties": ties, "window": window, "with_entities": True}
    one, other = both(events(rows), params)
    assert one.tables["funnel_entities"] == other.tables["funnel_entities"]
    assert one.manifest["result_hash"] == other.manifest["result_hash"]


@pytest.mark.parametrize("ties", ["seq", "step", "increase"])
@pytest.mark.usefixtures("native")
def test_more_rows_than_a_chunk_and_one_user_with_most_of_them(ties: str) -> None:
    rng = random.Random(5)  # noqa: S311 - test data
    rows = [
        (
            "one" if rng.random() < 0.6 else f"user {rng.randrange(9_000)}",
            rng.randrange(5_000),
            f"e{rng.randrange(32)}",
            0,
        )
        for _ in range(40_000)
    ]
    params = {"steps": [f"e{step}" for step in range(12)], "ties": ties, "window": 400, "with_entities": True}
    one, other = both(events(rows), params)
    assert one.manifest["result_hash"] == other.manifest["result_hash"]
    assert one.tables["funnel"]["entities"].to_pylist()[0] > 400


@pytest.mark.usefixtures("native")
def test_thirty_two_steps_use_every_bit() -> None:
    rows = [("a", step, f"e{step}", 0) for step in range(32)] + [("b", 0, "e0", 0)]
    one, other = both(events(rows), {"steps": [f"e{step}" for step in range(32)]})
    assert one.tables["funnel"]["entities"].to_pylist() == [2, *[1] * 31]
    assert one.manifest["result_hash"] == other.manifest["result_hash"]


def batches(rows: list[tuple[str, int, int]]) -> Iterator[pa.RecordBatch]:
    """Step events by twos, each batch a slice of a longer one."""
    names, times, steps = zip(*rows, strict=True)
    whole = pa.RecordBatch.from_pydict(
        {"entity_id": pa.array(names), "time": pa.array(times), "steps": pa.array(steps, pa.uint32())}
    )
    return (whole.slice(start, 2) for start in range(0, len(rows), 2))


def test_slices_are_read_where_they_begin(native: Any) -> None:
    rows = [("x", 1, 1), ("y", 2, 1), ("x", 3, 2), ("y", 9, 2), ("z", 4, 2)]
    with FunnelKernel(native, steps=2, window=5, ties="increase") as kernel:
        kernel.add(batches(rows))
        assert [sorted(one) for one in kernel.compute()] == [[0, 0], [2]]
        found = sorted(tuple(row.values()) for row in kernel.chains().to_pylist())
    assert found == [("x", 1, 1, 1), ("x", 2, 1, 3), ("y", 1, 2, 2)]


def test_a_broken_source_is_its_own_error_and_frees_the_memory(native: Any) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches([("x", 1, 1), ("y", 2, 1)])
        raise EngineError("the engine failed")

    with (
        pytest.raises(EngineError, match="the engine failed"),
        FunnelKernel(native, steps=1, window=None, ties="step") as kernel,
    ):
        kernel.add(broken())


def test_without_memory_the_error_says_what_to_do(native: Any) -> None:
    library = mock.Mock(wraps=native)
    library.sluice_funnel_add = mock.Mock(return_value=0)
    with (
        pytest.raises(EngineError, match="over a shorter time"),
        FunnelKernel(library, steps=1, window=None, ties="step") as kernel,
    ):
        kernel.add(batches([("x", 1, 1)]))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.integers(0, 400))
def test_a_bitmap_knows_what_repeats(native: Any, values: list[int], width: int) -> None:
    low = max(min(values), 3 - 2**63)
    near = [low + value % (width + 1) for value in values]
    column = pa.RecordBatch.from_pydict({"seq": pa.array([0, *near], pa.int64())}).slice(1)
    assert all_differ(native, [column], min(near), max(near)) is (len(set(near)) == len(near))
    halves = [column.slice(0, len(near) // 2), column.slice(len(near) // 2)]
    assert all_differ(native, halves, min(near), max(near)) is (len(set(near)) == len(near))


def test_a_value_out_of_the_range_touches_no_memory(native: Any) -> None:
    for value in (-1, 64, 2**63 - 1, -(2**63)):
        assert not all_differ(native, [pa.RecordBatch.from_pydict({"seq": [5, value]})], 0, 63)


def test_a_missing_library_is_told_once_and_sql_takes_its_place(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(library_module.SOURCES.__class__, "library_path", lambda _: tmp_path / "none.so")
    told = (
        f"the analyses' kernel cannot be used ({tmp_path}/none.so: cannot open shared object file: No such"
        " file or directory); python -m jobs.native compiles it"
    )
    library_module.library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            engine = DuckEngine(threads=1)
            table = events([("a", 1, "view", 0), ("a", 2, "buy", 0)])
            found = run_analysis("funnel", engine, {"events": table}, {"steps": ["view", "buy"]})
            engine.close()
    finally:
        library_module.library.cache_clear()
    assert found.tables["funnel"]["entities"].to_pylist() == [1, 1]
    said = [record.getMessage() for record in caplog.records if record.name == "jobs.native.library"]
    assert said == [told]


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("rounds", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_hostile_rows_touch_no_byte_that_is_not_theirs(rounds: int, tmp_path: Path) -> None:
    checked = library_module.SOURCES.build(tmp_path / "checked.so", (*FLAGS, *SANITIZE, *STRICT))
    done = sanitized_run("tests.native_hostile", str(checked), "--rounds", str(rounds))
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "chains" in done.stdout
