"""Retention against a plain Python computation, and the cells that must not exist."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.analyses import retention
from jobs.contracts.errors import ParameterError

DAY = 86_400
BRACKETS = [[0, 0], [1, 2], [2, 4]]

event_rows = st.lists(
    st.tuples(st.sampled_from("uvw"), st.integers(0, 12 * DAY), st.sampled_from(["start", "back"])),
    min_size=1,
    max_size=15,
)


def is_user_in(mode: str, ages: set[int], low: int, high: int) -> bool:
    if mode == "unbounded":
        return bool(ages) and max(ages) >= low
    return any(low <= age <= high for age in ages)


@settings(max_examples=40, deadline=None)
@given(event_rows, st.sampled_from(["day_n", "unbounded", "bracket", "rolling"]), st.integers(0, 13 * DAY))
def test_cells_equal_a_plain_computation(run: Any, rows: list[Any], mode: str, through: int) -> None:
    events = [
        {"user_id": user, "time": time, "seq": index, "event": event}
        for index, (user, time, event) in enumerate(rows)
    ]
    params = {
        "mode": mode,
        "period": "day",
        "start_event": "start",
        "return_event": "back",
        "data_through": through,
        "brackets": BRACKETS,
    }
    table = run("retention", {"events": events}, params).tables["retention"]
    found = {(row["cohort_start"] // DAY, row["age"]): row for row in table.to_pylist()}
    last_second = (through // DAY + 1) * DAY - 1
    known = [row for row in rows if row[1] <= last_second]
    first: dict[str, int] = {}
    for user, time, event in sorted(known, key=lambda row: row[1]):
        if event == "start":
            first.setdefault(user, time)
    ages: dict[str, set[int]] = defaultdict(set)
    for user, time, event in known:
        if event == "back" and user in first:
            ages[user].add(
                (time - first[user]) // DAY if mode == "rolling" else time // DAY - first[user] // DAY
            )
    ages = defaultdict(set, {user: {age for age in found if age >= 0} for user, found in ages.items()})
    last = through // DAY
    reached = max([through, *(time for _, time, _ in rows)])
    complete = last + 1 if reached >= last_second else last
    wanted = {}
    for cohort in {time // DAY for time in first.values()}:
        users = [user for user, time in first.items() if time // DAY == cohort]
        pairs = BRACKETS if mode == "bracket" else [[age, age] for age in range(last - cohort + 1)]
        for low, high in pairs:
            if cohort + high <= last:
                kept = sum(is_user_in(mode, ages[user], low, high) for user in users)
                mature = cohort + high + (1 if mode == "rolling" else 0) < complete
                wanted[cohort, low] = (len(users), kept, mature)
    assert {key: (row["cohort_size"], row["users"], row["mature"]) for key, row in found.items()} == wanted
    assert all(row["rate"] == row["users"] / row["cohort_size"] for row in found.values())


def visits(*days: int, user: str = "u") -> list[dict[str, Any]]:
    return [{"user_id": user, "time": day * DAY, "seq": day, "event": "visit"} for day in days]


def test_everybody_is_there_at_age_zero(run: Any) -> None:
    rows = run("retention", {"events": visits(0, 8) + visits(9, user="v")}).tables["retention"].to_pylist()
    assert {row["rate"] for row in rows if row["age"] == 0} == {1.0}


def test_a_week_starts_on_monday(run: Any) -> None:
    # 1970-01-04 was a Sunday and 1970-01-05 a Monday.
    rows = run("retention", {"events": visits(3, 4)})
    ages = [row["age"] for row in rows.tables["retention"].to_pylist() if row["users"]]
    assert ages == [0, 1]


def test_pooled_rates_leave_the_running_period_out(run: Any) -> None:
    result = run("retention", {"events": visits(0, 1, 2)}, {"period": "day"})
    assert [row["age"] for row in result.tables["retention"].to_pylist()] == [0, 1, 2]
    assert [row["age"] for row in result.tables["retention_pooled"].to_pylist()] == [0, 1]


def test_a_date_for_data_through_means_its_whole_day(run: Any) -> None:
    result = run("retention", {"events": visits(0, 1, 2)}, {"period": "day", "data_through": "1970-01-03"})
    assert [row["mature"] for row in result.tables["retention"].to_pylist()] == [True, True, True]


def test_a_breakdown_takes_the_value_of_the_start(run: Any) -> None:
    events = [
        visits(0)[0] | {"breakdown": "ios"},
        visits(1)[0] | {"breakdown": "web"},
        visits(1, user="v")[0] | {"breakdown": None},
    ]
    rows = (
        run("retention", {"events": events}, {"period": "day", "max_age": 0}).tables["retention"].to_pylist()
    )
    assert [(row["breakdown"], row["cohort_start"]) for row in rows] == [("(all)", DAY), ("ios", 0)]


@pytest.mark.parametrize(
    "params", [{"mode": "rolling", "period": "week"}, {"brackets": [[3, 1]]}, {"brackets": [[1, 2], [1, 3]]}]
)
def test_impossible_parameters_are_refused(run: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="is not allowed"):
        run("retention", {"events": visits(0)}, params)


def test_rolling_ages_are_days_when_no_period_is_named_and_others_are_weeks(run: Any) -> None:
    for mode, period in (("rolling", "day"), ("day_n", "week")):
        found = run("retention", {"events": visits(0, 9)}, {"mode": mode})
        assert found.manifest["params"]["period"] == period
        assert set(found.tables["retention"]["period_unit"].to_pylist()) == {period}


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("uvwx"),
            st.integers(1_711_000_000, 1_713_000_000),
            st.sampled_from(["start", "back"]),
            st.sampled_from(["ios", "web"]),
        ),
        max_size=20,
    ),
    st.sampled_from(["day_n", "unbounded", "bracket"]),
    st.sampled_from(["day", "week", "month"]),
)
def test_counting_by_patterns_and_by_periods_is_the_same(
    run: Any, rows: list[Any], mode: str, period: str
) -> None:
    events = [
        {"user_id": user, "time": time, "seq": index, "event": event, "breakdown": value}
        for index, (user, time, event, value) in enumerate(rows)
    ]
    params = {"mode": mode, "period": period, "start_event": "start", "zone": "Europe/Berlin"}
    by_patterns = run("retention", {"events": events}, params).tables["retention"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "BITS", 0)
        by_periods = run("retention", {"events": events}, params).tables["retention"]
    assert by_patterns.to_pylist() == by_periods.to_pylist()


def test_a_history_longer_than_the_bits_of_a_number_is_counted_too(run: Any) -> None:
    rows = run("retention", {"events": visits(0, 100)}, {"period": "day"}).tables["retention"].to_pylist()
    assert [row["age"] for row in rows if row["users"]] == [0, 100]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_a_cohort_starts_at_midnight_of_the_zone(run: Any) -> None:
    events = [
        {"user_id": "u", "time": at("2024-03-30T23:30:00+00:00"), "seq": 0, "event": "visit"},
        {"user_id": "u", "time": at("2024-03-31T22:30:00+00:00"), "seq": 1, "event": "visit"},
    ]
    params = {"period": "day", "zone": "Europe/Berlin", "data_through": "2024-04-01"}
    rows = run("retention", {"events": events}, params).tables["retention"].to_pylist()
    # 00:30 on the 31st and 00:30 on the 1st in Berlin; the 31st has 23 hours.
    begin = at("2024-03-31T00:00:00+01:00")
    assert [(row["cohort_start"], row["age"], row["users"]) for row in rows] == [(begin, 0, 1), (begin, 1, 1)]
    assert all(row["mature"] for row in rows)


def test_a_rolling_day_that_ends_an_hour_too_late_is_not_mature(run: Any) -> None:
    """Day 0 of somebody who starts on the 30th reaches into the 31st, which is short of an hour."""
    event = {"user_id": "u", "time": at("2024-03-30T12:00:00+01:00"), "seq": 0, "event": "visit"}
    params = {"mode": "rolling", "period": "day", "data_through": "2024-03-31"}
    for zone, mature in (("UTC", True), ("Europe/Berlin", False)):
        rows = run("retention", {"events": [event]}, params | {"zone": zone}).tables["retention"].to_pylist()
        assert [row["mature"] for row in rows] == [mature, False]


@pytest.mark.parametrize("value", ["Mars/Base", "", 7, "../etc/passwd"])
def test_an_unknown_zone_is_refused(run: Any, value: Any) -> None:
    with pytest.raises(ParameterError, match=r"parameter zone: .* give the name of a time zone"):
        run("retention", {"events": visits(0)}, {"zone": value})
