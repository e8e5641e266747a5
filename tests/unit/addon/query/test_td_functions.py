"""Treasure Data's time functions, run on DuckDB and compared with known values."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.query.dialects import compile_query
from addon.query.td_functions import Times
from addon.query.times import interval, parse_duration, parse_time
from platform_core.base.errors import InvalidInput

NOW = 1_780_000_000  # 2026-05-28 20:26:40 UTC, a Thursday


def text(sql: str, dialect: str = "trino") -> str:
    return compile_query(sql, dialect, 1, "shop", lambda _: True, Times(NOW, NOW)).sql


def value(expression: str) -> Any:
    with duckdb.connect() as connection:
        row = connection.execute(text(f"select {expression}")).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("td_time_parse('2015-01-01', 'JST')", 1_420_038_000),
        ("td_time_parse('2015-01-01 00:00:00 UTC', 'JST')", 1_420_070_400),
        ("td_time_parse(concat('2015-01', '-01'), 'JST')", 1_420_038_000),
        ("td_time_parse(concat('2015-01-01 00:00:00', '+09:00'))", 1_420_038_000),
        ("td_time_parse('nonsense')", None),
        ("td_date_trunc('day', 1534209825, 'JST')", 1_534_172_400),
        ("td_date_trunc('week', 1780000000)", 1_779_667_200),
        ("td_time_format(0, 'yyyy-MM-dd HH:mm:ss z', 'UTC')", "1970-01-01 00:00:00 UTC"),
        ("td_time_format(0, 'yyyy-MM-dd''T''HH:mm:ssZ', 'JST')", "1970-01-01T09:00:00+0900"),
        ("td_time_add('2015-01-01', '1d')", 1_420_156_800),
        ("td_time_add(100, '-1h30m')", -5_300),
        ("td_time_add(td_scheduled_time(), '1h')", NOW + 3600),
        ("td_time_string(1780000000, 'd!')", "2026-05-28"),
        ("td_time_string(1780000000, 'h!', 'JST')", "2026-05-29 05"),
        ("td_md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("td_divide(1, 0)", 0),
    ],
)
def test_known_values(expression: str, expected: Any) -> None:
    assert value(expression) == expected


def test_constant_ranges_are_folded_to_plain_comparisons() -> None:
    sql = text("select 1 from events where td_time_range(time, '2015-01-01', '2015-01-02', 'JST')")
    assert sql.endswith("(time >= 1420038000 AND time < 1420124400)")
    assert text("select 1 from events where td_time_range(time, null, 5)").endswith("(time < 5)")


def test_intervals_are_whole_units_before_now() -> None:
    day, today = 86_400, 1_779_926_400
    assert interval("-7d", "UTC", NOW) == (today - 7 * day, today)
    assert interval("1d", "UTC", NOW) == (today, today + day)
    assert interval("0d/now", "UTC", NOW) == (today, NOW)
    assert interval("-1h/now", "UTC", NOW) == (NOW - NOW % 3600 - 3600, NOW)
    assert interval("-7d/2015-12-25", "UTC", NOW) == (1_450_396_800, 1_451_001_600)
    assert interval("-1M", "UTC", NOW) == (1_775_001_600, 1_777_593_600)
    for wrong in ("", "7", "1x", "1d/never"):
        with pytest.raises(InvalidInput):
            interval(wrong, "UTC", NOW)


def test_days_follow_the_calendar_across_a_clock_change() -> None:
    noon = parse_time("2026-03-30 12:00:00", "Europe/Berlin")
    assert noon is not None
    first, last = interval("-1d", "Europe/Berlin", noon)
    assert last - first == 23 * 3600


def test_unknown_functions_zones_and_units_are_named() -> None:
    for sql, word in (
        ("select td_nope(1)", "TD_NOPE"),
        ("select td_date_trunc('eon', 1)", "eon"),
        ("select td_time_format(1, 'yyyy', 'Mars')", "Mars"),
        ("select td_time_parse()", "TD_TIME_PARSE"),
    ):
        with pytest.raises(InvalidInput, match=word):
            text(sql)


@given(st.integers(-99, 99), st.sampled_from("wdhms"), st.integers(0, 99), st.sampled_from("wdhms"))
@settings(max_examples=60, deadline=None)
def test_durations_add_up(first: int, one: str, second: int, two: str) -> None:
    seconds = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
    total = abs(first) * seconds[one] + second * seconds[two]
    spelled = f"{'-' if first < 0 else ''}{abs(first)}{one}{second}{two}"
    assert parse_duration(spelled) == (-total if first < 0 else total)


@pytest.mark.parametrize(
    "sql",
    ["select nan()", "select infinity()", "select approx_distinct(1)", "select element_at(array[1], 1)"],
)
def test_trinos_own_functions_run(sql: str) -> None:
    with duckdb.connect() as connection:
        assert connection.execute(text(sql)).fetchone() is not None
