"""Sessions and paths over integers against the SQL of the same definitions, in parts of a few events each."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analyses import histories, sums
from jobs.contracts.errors import EngineError
from jobs.engines.duck import DuckDialect, DuckEngine
from jobs.run.runner import RunResult, run_analysis

DAY = 86_400
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "é"]),
        st.sampled_from([0, 1, 2, 1_800, 1_801, DAY - 1, DAY, 5_000_000_000]),
        st.integers(0, 3),
        st.sampled_from(["view", "x > y", "purchase", ""]),
        st.sampled_from([None, -5, 0, 7]),
    ),
    max_size=40,
)


def both(name: str, events: pa.Table, params: dict[str, Any], part: int) -> tuple[RunResult, RunResult]:
    """The analysis over integers, and by SQL alone."""
    found = []
    for fast in (True, False):
        engine = DuckEngine(threads=1)
        with (
            mock.patch.object(DuckDialect, "has_asof_join", fast),
            mock.patch.object(histories, "PART_EVENTS", part),
            mock.patch.object(histories, "_PASSED_OVER", 2),
            mock.patch.object(sums, "_GATHERED", 4),
        ):
            found.append(run_analysis(name, engine, {"events": events}, params))
        engine.close()
    return found[0], found[1]


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Events; seq alone does not tell all apart, so some rows repeat the key and are dropped."""
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [[]] * 5
    types = [pa.string(), pa.int64(), pa.int64(), pa.string(), pa.int64()]
    names = ["user_id", "time", "seq", "event", "value_minor"]
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names)


@given(EVENTS, st.integers(1, 9), st.booleans(), st.sampled_from([0, 1, 1_800]))
@settings(deadline=None, max_examples=20)
def test_sessions_equal_the_sql(rows: list[tuple[Any, ...]], part: int, by_day: bool, timeout: int) -> None:
    params = {"timeout": timeout, "split_on_day": by_day, "from": None if by_day else 1}
    one, other = both("sessions", table(rows), params, part)
    assert one.tables["sessions"] == other.tables["sessions"]
    assert one.manifest["result_hash"] == other.manifest["result_hash"]


@given(
    EVENTS,
    st.integers(1, 9),
    st.sampled_from(["session", "user"]),
    st.sampled_from(["consecutive", "none"]),
    st.integers(1, 70),
)
@settings(deadline=None, max_examples=20)
def test_paths_equal_the_sql(
    rows: list[tuple[Any, ...]], part: int, entity: str, collapse: str, length: int
) -> None:
    params = {"entity": entity, "collapse": collapse, "max_length": length, "grouping": ["^v"]}
    one, other = both("paths", table(rows), params, part)
    for name, found in one.tables.items():
        for column, right in zip(found.column_names, other.tables[name].columns, strict=True):
            left = found.column(column)
            if pa.types.is_floating(left.type):
                np.testing.assert_allclose(left.to_numpy(), right.to_numpy(), rtol=1e-12)
            else:
                assert left == right
    assert one.manifest["result_hash"] == other.manifest["result_hash"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=30),
    st.sampled_from([0.25, 0.5, 0.95]),
)
def test_a_percentile_of_counted_values_is_that_of_the_values(
    rows: list[tuple[int, int, int]], fraction: float
) -> None:
    group, value, many = sums.added_up([np.array(column) for column in zip(*rows, strict=True)], 2)
    found = sums.percentile(sums.changes([group]), value, many, fraction)
    for number, each in zip(found, sorted(set(group.tolist())), strict=True):
        values = np.repeat(value[group == each], many[group == each])
        assert number == pytest.approx(np.quantile(values, fraction))


@pytest.mark.parametrize("name", ["sessions", "paths"])
def test_values_that_leave_64_bits_are_an_error(name: str) -> None:
    rows = [(user, 1, seq, "purchase", 2**62 - 1) for user, seq in (("a", 0), ("a", 1), ("a", 2), ("b", 0))]
    engine = DuckEngine(threads=1)
    with pytest.raises(EngineError, match="64 bits"):
        run_analysis(name, engine, {"events": table(rows)})
    engine.close()


def test_keys_too_wide_for_one_number_are_ordered_all_the_same() -> None:
    rng = np.random.default_rng(3)
    keys = [rng.integers(0, 2**40, 200), rng.integers(0, 3, 200), rng.integers(0, 2**40, 200)]
    order = sums.order_of(keys)
    assert sums.packed_keys(keys) is None
    listed = list(zip(*(key[order].tolist() for key in keys), strict=True))
    assert listed == sorted(listed)
