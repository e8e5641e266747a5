"""Which times a query reads: the ranges are known where they may be used, and never leave out a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.query.dialects import compile_query
from addon.query.pruning import FIRST, LAST
from addon.query.td_functions import Times

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 86_400
NOW = 1_767_225_600  # 2026-01-01
TIMES = Times(NOW, NOW)
ENGINE = duckdb.connect(config={"threads": 1})


def ranges(sql: str, dialect: str = "trino") -> dict[str, Sequence[tuple[int, int]]]:
    """The ranges that a query's tables are read in."""
    return dict(compile_query(sql, dialect, 7, "shop", lambda _: True, TIMES).ranges)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("time >= 10 AND time < 20", ((10, 20),)),
        ("20 > time AND 10 <= time", ((10, 20),)),
        ("time BETWEEN 10 AND 20 AND path = '/'", ((10, 20),)),
        ("time = 15", ((15, 15),)),
        ("time IN (15, 3)", ((3, 3), (15, 15))),
        ("(time = 3) OR ((time > 10 AND time < 12))", ((3, 3), (10, 12))),
        ("time > -5 AND time < 10 * 60 + 1", ((-5, 601),)),
        ("time >= 1.5 AND time <= 2.5", ((1, 3),)),
        ("time >= CAST(10 AS BIGINT)", ((10, LAST),)),
        ("TD_TIME_RANGE(time, '2025-12-31', '2026-01-01')", ((NOW - DAY, NOW),)),
        ("TD_TIME_RANGE(time, NULL, '2026-01-01')", ((FIRST, NOW),)),
        ("TD_TIME_RANGE(time, TD_TIME_ADD(TD_SCHEDULED_TIME(), '-1d'))", ((NOW - DAY, LAST),)),
        ("TD_INTERVAL(time, '-1d')", ((NOW - DAY, NOW),)),
        ("time > TD_SCHEDULED_TIME() - 3600 AND events.time < 2000000000", ((NOW - 3600, 2_000_000_000),)),
        ("time > 20 AND time < 10", ()),
    ],
)
def test_conditions_on_time_bound_what_is_read(where: str, expected: object) -> None:
    sql = f"SELECT count(*) FROM events WHERE {where}"  # noqa: S608  (the table of cases above)
    assert ranges(sql) == {"shop.events": expected}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM events",
        "SELECT * FROM events WHERE NOT time > 10",
        "SELECT * FROM events WHERE time > 10 OR path = '/'",
        "SELECT * FROM events WHERE time > path",
        "SELECT * FROM events WHERE time > '10'",
        "SELECT * FROM events WHERE time + 1 > 10",
        "SELECT * FROM events WHERE time > 10 IS NULL",
        "SELECT * FROM events WHERE time >= 9007199254740993.5",
        "SELECT * FROM events AS e(a, time) WHERE time > 10",
        "SELECT * FROM events TABLESAMPLE BERNOULLI (10) WHERE time > 10",
        "SELECT * FROM events e JOIN users u ON e.id = u.id WHERE u.time > 10 AND u.time < 5 OR e.id = 1",
        "SELECT * FROM (SELECT * FROM events) WHERE time > 10",
        "SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM events e WHERE u.time > 10)",
        "SELECT * FROM events e LEFT JOIN users u ON e.id = u.id AND e.time > 10",
        "SELECT * FROM events WHERE time > 10 UNION ALL SELECT * FROM events",
    ],
)
def test_what_is_not_plain_leaves_the_whole_table_to_be_read(sql: str) -> None:
    assert "shop.events" not in ranges(sql)


@pytest.mark.parametrize("join", ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
def test_a_condition_that_no_padded_row_passes_holds_through_every_join(join: str) -> None:
    sql = f"SELECT 1 FROM events e {join} users u ON e.id = u.id WHERE u.time BETWEEN 10 AND 20"  # noqa: S608  (ditto)
    assert ranges(sql) == {"shop.users": ((10, 20),)}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM events POSITIONAL JOIN users WHERE events.time > 10",
        "SELECT * FROM events ASOF JOIN users u ON events.time >= u.time WHERE u.time > 10",
        "SELECT * FROM events SEMI JOIN users u ON events.id = u.id AND events.time > 10",
        "SELECT * FROM events WHERE time > 10 USING SAMPLE 10 ROWS",
    ],
)
def test_joins_that_count_or_choose_rows_are_left_alone(sql: str) -> None:
    assert ranges(sql, "duckdb") == {}


def test_every_mention_of_a_table_is_counted() -> None:
    sql = """WITH a AS (SELECT * FROM events WHERE time BETWEEN 10 AND 20)
             SELECT * FROM a JOIN events b ON a.id = b.id AND b.time >= 40 AND b.time < 50
             WHERE EXISTS (SELECT 1 FROM shop.events WHERE time = 99)"""
    assert ranges(sql) == {"shop.events": ((10, 20), (40, 50), (99, 99))}


def test_a_lateral_view_needs_the_tables_name() -> None:
    view = "FROM events LATERAL VIEW explode(split(tags, ',')) x AS tag"
    assert ranges(f"SELECT tag {view} WHERE events.time > 10", "hive") == {"shop.events": ((10, LAST),)}
    assert ranges(f"SELECT tag {view} WHERE time > 10", "hive") == {}


# The invariant: files outside the ranges change no answer
# --------------------------------------------------------------------------------------------------------

_bound = st.integers(-2, 42)


def _condition(column: str) -> st.SearchStrategy[str]:
    leaf = st.one_of(
        st.builds("{} {} {}".format, st.just(column), st.sampled_from(["<", "<=", ">", ">=", "="]), _bound),
        st.builds("{} {} {}".format, _bound, st.sampled_from(["<", "<=", ">", ">=", "="]), st.just(column)),
        st.builds("{} BETWEEN {} AND {}".format, st.just(column), _bound, _bound),
        st.builds("{} IN ({}, {}.5)".format, st.just(column), _bound, st.integers(0, 40)),
        st.just(f"{column} IS NULL"),
        st.builds("{} > {} - 3 * 2".format, st.just(column), _bound),
        st.just(f"{column} % 2 = 0"),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds("({} AND {})".format, inner, inner),
            st.builds("({} OR {})".format, inner, inner),
            st.builds("NOT ({})".format, inner),
        ),
        max_leaves=4,
    )


_joined = st.builds(
    "SELECT e.time, e.id, u.time, u.id FROM events e {} JOIN users u ON e.id = u.id AND {}"
    " WHERE {} AND {}".format,
    st.sampled_from(["", "INNER", "LEFT", "RIGHT", "FULL"]),
    _condition("u.time"),
    _condition("e.time"),
    _condition("u.time"),
)
_nested = st.builds(
    "WITH c AS (SELECT time, id FROM events WHERE {}) SELECT c.time, c.id FROM c WHERE {} AND c.id {}"
    " (SELECT id FROM users WHERE {})".format,
    _condition("time"),
    _condition("time"),
    st.sampled_from(["IN", "NOT IN"]),
    _condition("time"),
)
_single = st.builds(
    "SELECT id, count(*), min(time) FROM events WHERE {} GROUP BY id"
    " UNION ALL SELECT id, 0, time FROM users WHERE {}".format,
    _condition("time"),
    _condition("users.time"),
)
_rows = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=30)


def _answer(sql: str, tables: dict[str, list[tuple[int, int]]]) -> list[tuple[object, ...]]:
    for name, rows in tables.items():
        columns = {"time": [time for time, _ in rows], "id": [number for _, number in rows]}
        schema = pa.schema([("time", pa.int64()), ("id", pa.int64())])
        ENGINE.register(name, pa.table(columns, schema=schema))
    return sorted(ENGINE.execute(sql).fetchall(), key=repr)


@settings(max_examples=100, deadline=None)
@given(st.one_of(_joined, _nested, _single), _rows, _rows)
def test_rows_outside_the_ranges_change_no_answer(
    sql: str, events: list[tuple[int, int]], users: list[tuple[int, int]]
) -> None:
    compiled = compile_query(sql, "duckdb", 7, "shop", lambda _: True, TIMES)
    tables = {"shop.events": events, "shop.users": users}
    pruned = {
        name: [
            row
            for row in rows
            if name not in compiled.ranges
            or any(low <= row[0] <= high for low, high in compiled.ranges[name])
        ]
        for name, rows in tables.items()
    }
    assert _answer(compiled.sql, pruned) == _answer(compiled.sql, tables)
