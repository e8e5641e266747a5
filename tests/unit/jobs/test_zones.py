"""Calendar periods of zones: SQL and Python agree with the clock on the wall, through clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analyses.zones import Calendar, offsets

ZONES = ("Europe/Berlin", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "Asia/Kolkata", "UTC")
LOW, HIGH = 946_684_800, 1_893_456_000  # 2000 to 2030


def wall_period(second: int, zone: str, unit: str) -> int:
    """The period by the standard library alone."""
    on = datetime.fromtimestamp(second, ZoneInfo(zone))
    day = (on.date() - date(1970, 1, 1)).days
    if unit == "month":
        return on.year * 12 + on.month - 1
    return day if unit == "day" else (day + 3) // 7


@settings(max_examples=60, deadline=None)
@given(st.integers(LOW, HIGH), st.sampled_from(ZONES), st.sampled_from(["day", "week", "month"]))
def test_a_period_is_what_the_wall_clock_says(duck: Any, second: int, zone: str, unit: str) -> None:
    cal = Calendar(duck.dialect, unit, offsets(zone, LOW - 10**7, HIGH + 10**7))
    number = wall_period(second, zone, unit)
    begin = cal.start_of(number)
    assert cal.period_of(second) == number
    assert begin <= second
    # No second before it belongs to it, its own does, even where a zone leaves out a whole day.
    assert wall_period(begin - 1, zone, unit) < number <= wall_period(begin, zone, unit)
    index, start = cal.index(f"CAST({second} AS BIGINT)"), cal.start(f"CAST({number} AS BIGINT)")
    row = duck.collect(f"SELECT {index} AS number, {start} AS begin").to_pylist()[0]
    assert row == {"number": number, "begin": begin}


@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), ("2024-10-27", 25), ("2024-06-01", 24)])
def test_a_day_is_an_hour_shorter_or_longer_when_the_clocks_change(duck: Any, day: str, hours: int) -> None:
    cal = Calendar(duck.dialect, "day", offsets("Europe/Berlin", LOW, HIGH))
    assert cal.moment(day, end_of_day=True) + 1 - cal.moment(day) == hours * 3_600


def test_offsets_change_at_their_second() -> None:
    low = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())
    found = offsets("Europe/Berlin", low, low + 60 * 86_400)
    assert [(o.since, o.seconds) for o in found] == [(low, 3_600), (1_711_846_800, 7_200)]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_the_last_second_that_a_time_may_have_is_in_a_period(run: Any, zone: str, unit: str) -> None:
    last = 253_402_300_799
    events = [{"user_id": "u", "time": time, "seq": 1, "event": "a"} for time in (last - 86_400, last)]
    found = run("churn", {"events": events}, {"period": unit, "zone": zone}).tables["churn"].to_pylist()
    assert sum(row["new"] for row in found) == 1
    assert found[-1]["period_start"] <= last
    cells = run("retention", {"events": events}, {"period": unit, "zone": zone}).tables["retention"]
    assert cells["users"].to_pylist()[0] == 1
    through = run(
        "retention", {"events": events}, {"period": unit, "zone": zone, "data_through": "9999-12-31"}
    )
    assert through.tables["retention"].num_rows >= 1
