"""Scores against plain Python, periods of a zone, approximate rankings and their bounds, rows left out."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

DAY = 86_400
AS_OF = 1_700_000_000
BERLIN = ZoneInfo("Europe/Berlin")

vote_rows = st.lists(
    st.fixed_dictionaries(
        {
            "item": st.sampled_from("abc"),
            "ups": st.integers(0, 40),
            "downs": st.integers(0, 40),
            "value": st.integers(-5, 50),
            "time": st.integers(0, 20).map(lambda n: AS_OF - n * 7_777),
        }
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: [row | {"created": row["time"] - 60} for row in rows])


def of_items(rows: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row["item"]].append(row)
    return found


def plain_score(score: str, mine: list[Any], everybody: list[Any]) -> float:
    ups, downs = sum(row["ups"] for row in mine), sum(row["downs"] for row in mine)
    created = min(row["created"] for row in mine)
    if score == "decay":
        return sum(row["value"] * 2 ** (-(AS_OF - row["time"]) / 50_000) for row in mine)
    if score == "hn":
        return max(ups - 1, 0) / ((AS_OF - created) / 3600 + 2) ** 1.5
    if score == "reddit_hot":
        votes = ups - downs
        sign = (votes > 0) - (votes < 0)
        return round(sign * math.log10(max(abs(votes), 1)) + (created - 1134028003) / 45000, 7)
    if score == "bayes":
        mean = sum(row["value"] for row in everybody) / len(everybody)
        return (sum(row["value"] for row in mine) + 3 * mean) / (len(mine) + 3)
    n = ups + downs
    if n == 0:
        return 0.0
    p, z = ups / n, 1.959963984540054
    middle = p + z * z / (2 * n) - z * math.sqrt((p * (1 - p) + z * z / (4 * n)) / n)
    return middle / (1 + z * z / n)


@settings(max_examples=40, deadline=None)
@given(vote_rows, st.sampled_from(["decay", "hn", "reddit_hot", "wilson_low", "bayes"]))
def test_scores_equal_their_formulas(run: Any, rows: list[Any], score: str) -> None:
    params = {"metric": "score", "score": score, "as_of": AS_OF, "h": 50_000, "g": 1.5, "m": 3}
    found = run("ranking", {"items": rows}, params).tables["ranking"].to_pylist()
    wanted = {item: plain_score(score, mine, rows) for item, mine in of_items(rows).items()}
    assert {row["item"] for row in found} == set(wanted)
    for row in found:
        assert row["metric"] == pytest.approx(wanted[row["item"]], rel=1e-9, abs=1e-8)
        assert score == "decay" or row["share"] is None
        assert row["rank"] == 1 + sum(other["metric"] > row["metric"] for other in found)


def test_scores_by_hand(run: Any) -> None:
    items = [
        {"item": "a", "ups": 11, "downs": 1, "created": AS_OF - 2 * 3600, "value": 8, "time": AS_OF - DAY}
    ]
    wanted = {
        "hn": 10 / 4**1.8,
        "reddit_hot": round(1 + (AS_OF - 7200 - 1134028003) / 45000, 7),
        "wilson_low": 0.6461,
        "decay": 4.0,
        "bayes": 8.0,
    }
    for score, number in wanted.items():
        params = {"metric": "score", "score": score, "as_of": AS_OF, "half_life": DAY}
        (row,) = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()
        assert row["metric"] == pytest.approx(number, abs=1e-4), score


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 1000)), min_size=1, max_size=25
    )
)
def test_trending_equals_mean_and_variance_of_the_periods_before(run: Any, rows: list[Any]) -> None:
    items = [{"item": item, "period_start": day * DAY, "value": value} for item, day, value in rows]
    sums: Counter[tuple[str, int]] = Counter()
    for item, day, value in rows:
        sums[item, day] += value
    params = {"metric": "score", "score": "trending", "period": "day", "previous": 5}
    found = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()
    ranked = [row for row in found if row["rank"] is not None]
    assert len(ranked) == len({(item, day) for item, day, _ in rows})
    for row in ranked:
        day = row["period_start"] // DAY
        before = [sums.get((row["item"], day - back), 0) for back in range(1, 6)]
        deviation = math.sqrt(statistics.pvariance(before) + 1)
        wanted = (sums[row["item"], day] - statistics.fmean(before)) / deviation
        assert row["metric"] == pytest.approx(wanted, rel=1e-9, abs=1e-8)


def test_large_numbers_do_not_swallow_the_variance_of_a_trend(run: Any) -> None:
    values = [10**9 + back for back in (0, 2, 0, 2, 5)]
    items = [{"item": "a", "period_start": day * DAY, "value": value} for day, value in enumerate(values)]
    params = {"metric": "score", "score": "trending", "period": "day"}
    last = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()[-1]
    assert last["metric"] == pytest.approx(4 / math.sqrt(2))


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp())


def test_periods_follow_the_zone_through_a_change_of_clocks(run: Any) -> None:
    """The week of the change in March 2024 has 167 hours in Berlin; its Monday begins at 23:00 UTC."""
    items = [
        {"item": item, "value": 1, "period_start": moment(when)}
        for item, when in [("a", "2024-03-25T00:00"), ("a", "2024-03-31T23:59"), ("a", "2024-04-01T00:00")]
    ]
    params = {"period": "week", "zone": "Europe/Berlin"}
    rows = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()
    assert [(row["period_start"], row["metric"], row["status"]) for row in rows] == [
        (moment("2024-03-25T00:00"), 2.0, "new"),
        (moment("2024-04-01T00:00"), 1.0, "same"),
    ]


@pytest.mark.parametrize(
    ("first", "end", "before"),
    [
        ("2024-04-01", "2024-05-01", "2024-03-01T00:00"),
        ("2024-04-01", "2024-04-08", "2024-03-25T00:00"),
        ("2024-01-01", "2024-04-01", "2023-10-01T00:00"),
    ],
)
def test_a_report_range_in_a_zone_is_compared_with_the_calendar_range_before(
    run: Any, first: str, end: str, before: str
) -> None:
    edge = moment(before)
    items = [
        {"item": "new", "value": 9, "time": moment(first + "T00:00")},
        {"item": "old", "value": 5, "time": edge - 1},
        {"item": "kept", "value": 5, "time": edge},
        {"item": "kept", "value": 1, "time": moment(end + "T00:00") - 1},
        {"item": "later", "value": 1, "time": moment(end + "T00:00")},
    ]
    for item in items:
        item["period_start"] = item["time"]
    params = {"from": first, "to": end, "zone": "Europe/Berlin"}
    rows = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()
    assert [(row["item"], row["status"], row["previous_metric"]) for row in rows] == [
        ("new", "new", None),
        ("kept", "down", 5.0),
    ]
    assert rows[0]["period_start"] == moment(first + "T00:00")


def test_a_range_given_as_days_selects_the_periods_of_the_zone(run: Any) -> None:
    items = [
        {"item": "a", "value": 1, "period_start": moment(f"2024-0{month}-15T12:00")} for month in (2, 3, 4)
    ]
    params = {"period": "month", "zone": "Europe/Berlin", "from": "2024-03-01", "to": "2024-04-01"}
    rows = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()
    assert [(row["period_start"], row["status"]) for row in rows] == [(moment("2024-03-01T00:00"), "same")]


rows_with_gaps = [
    {"item": "a", "value": 1, "time": 5, "period_start": 0, "user_id": "u"},
    {"item": "a", "value": None, "time": 6, "period_start": 0, "user_id": None},
    {"item": "b", "value": 3, "time": None, "period_start": 0, "user_id": "v"},
    {"item": "b", "value": 3, "time": 7, "period_start": None, "user_id": "v"},
    {"item": "b", "value": None, "time": None, "period_start": None, "user_id": None},
]


@pytest.mark.parametrize(
    ("params", "excluded", "metrics"),
    [
        ({"period": "day"}, {"null_period": 2, "null_value": 1}, {"a": 1.0, "b": 3.0}),
        ({"metric": "count", "period": "day"}, {"null_period": 2}, {"a": 2.0, "b": 1.0}),
        ({"metric": "last"}, {"null_period": 2, "null_value": 1, "null_time": 1}, {"a": 1.0}),
        (
            {"metric": "count_distinct", "period": "day"},
            {"null_period": 2, "null_user_id": 1},
            {"a": 1.0, "b": 1.0},
        ),
        ({"from": 0, "to": 100, "metric": "count"}, {"null_period": 2}, {"a": 2.0, "b": 1.0}),
        (
            {"metric": "score", "score": "decay", "as_of": 5, "half_life": 1},
            {"null_period": 2, "null_time": 1, "null_value": 1},
            {"a": 1.0},
        ),
    ],
)
def test_rows_that_cannot_be_ranked_are_left_out_and_counted(
    run: Any, params: dict[str, Any], excluded: dict[str, int], metrics: dict[str, float]
) -> None:
    result = run("ranking", {"items": rows_with_gaps}, params)
    assert result.manifest["rows_excluded"]["items"] == excluded
    found = result.tables["ranking"].to_pylist()
    assert {row["item"]: row["metric"] for row in found if row["rank"]} == metrics


def test_rows_after_as_of_are_left_out_and_counted(run: Any) -> None:
    items = [
        {"item": "a", "ups": 5, "created": 100, "time": 100},
        {"item": "b", "ups": 5, "created": 90, "time": 90},
    ]
    for score in ("hn", "decay"):
        params = {"metric": "score", "score": score, "as_of": 95}
        for item in items:
            item["value"] = 1
        result = run("ranking", {"items": items}, params)
        assert result.manifest["rows_excluded"]["items"] == {"after_as_of": 1}
        assert result.tables["ranking"].column("item").to_pylist() == ["b"]


def test_an_empty_table_has_an_empty_ranking(run: Any) -> None:
    for params in ({}, {"period": "week"}, {"metric": "count", "approx": True, "top": 3}):
        assert run("ranking", {"items": []}, params).tables["ranking"].num_rows == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=40
    ),
    st.integers(1, 4),
    st.integers(0, 4),
)
def test_approximate_bounds_hold_the_truth_and_guarantees_are_true(
    run: Any, rows: list[Any], top: int, more: int
) -> None:
    items = [{"item": item, "value": value, "time": 1000 + 60 * at} for item, value, at in rows]
    params = {"approx": True, "top": top, "slots": top + more, "strict_n": True, "other": True}
    result = run("ranking", {"items": items}, params)
    truth: Counter[str] = Counter()
    for item, value, _ in rows:
        truth[item] += value
    total = sum(truth.values())
    listed = [row for row in result.tables["ranking"].to_pylist() if row["rank"] is not None]
    assert len(listed) <= top
    for row in listed:
        assert row["lower_bound"] <= truth[row["item"]] <= row["upper_bound"]
        assert row["upper_bound"] - row["lower_bound"] <= total / (params["slots"] + 1)
        assert row["metric"] == row["lower_bound"]
        assert (row["status"], row["movement"], row["percent_rank"]) == (None, None, None)
        assert row["share"] == pytest.approx(row["metric"] / total)
    shown = [row for row in result.tables["ranking"].to_pylist() if row["item"] == "(other)"]
    assert sum(row["metric"] for row in (*listed, *shown)) == pytest.approx(total if listed else 0)
    sure = {row["item"]: row["guaranteed"] for row in result.tables["ranking_bounds"].to_pylist()}
    assert set(sure) == {row["item"] for row in listed}
    better = {item: sum(count > truth[item] for count in truth.values()) for item in truth}
    assert all(better[item] < top for item, certain in sure.items() if certain)
    if len(truth) <= params["slots"]:
        assert {row["item"]: row["metric"] for row in listed} == {
            row["item"]: float(truth[row["item"]]) for row in listed
        }


def test_a_few_heavy_items_among_many_are_found_and_guaranteed(run: Any) -> None:
    items = [{"item": f"rare{n}", "time": n * 37, "value": 1} for n in range(2000)]
    items += [{"item": name, "time": n * 61, "value": 1} for name in "xyz" for n in range(400)]
    params = {"metric": "count", "approx": True, "top": 3, "slots": 20}
    result = run("ranking", {"items": items}, params)
    bounds = result.tables["ranking_bounds"].to_pylist()
    assert [(row["item"], row["guaranteed"]) for row in bounds] == [("x", True), ("y", True), ("z", True)]
    assert all(row["lower_bound"] <= 400 <= row["upper_bound"] for row in bounds)
    assert result.tables["ranking"].to_pylist()[0]["share"] == pytest.approx(bounds[0]["lower_bound"] / 3200)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"metric": "score"}, "give metric score together with a score: decay, trending"),
        ({"score": "hn"}, "metric sum with score hn is not allowed"),
        ({"metric": "score", "score": "hn"}, "parameter as_of: score hn needs it"),
        ({"metric": "score", "score": "decay"}, "parameter as_of: score decay needs it"),
        ({"metric": "score", "score": "trending"}, "parameter period: score trending needs it"),
        (
            {"metric": "score", "score": "trending", "period": "day", "previous": 3},
            "an integer from 4 to 366",
        ),
        (
            {"metric": "score", "score": "bayes", "prior": -1},
            "prior: -1 is not allowed; give a number of at least 0",
        ),
        ({"metric": "score", "score": "bayes", "top": 1, "other": True}, "scores bayes do not add up"),
        ({"approx": True}, "approx: it needs top, and at least as many slots"),
        ({"approx": True, "top": 9, "slots": 5}, "at least as many slots"),
        ({"approx": True, "top": 1, "metric": "last"}, "give metric sum or count"),
        ({"approx": True, "top": 1, "min_metric": 3}, "no min_metric"),
        ({"zone": "Mars/Olympus"}, "parameter zone"),
        ({"from": "2024-05-01", "to": "2024-04-01"}, "is empty"),
        ({"from": 5, "to": "1970-01-01"}, "is empty"),
    ],
)
def test_impossible_parameters_are_refused_by_name(run: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        run("ranking", {"items": [{"item": "a", "value": 1, "time": 1, "period_start": 1}]}, params)


def test_scores_without_their_columns_and_negative_sums_are_refused(run: Any) -> None:
    items = [{"item": "a", "value": -1}]
    with pytest.raises(InputError, match="column ups is missing; metric score wilson_low needs it"):
        run("ranking", {"items": items}, {"metric": "score", "score": "wilson_low"})
    with pytest.raises(InputError, match="1 rows have a negative value; approx"):
        run("ranking", {"items": items}, {"approx": True, "top": 1})


def test_approximate_rankings_have_bounds_in_every_period_and_segment(run: Any) -> None:
    items = [
        {"item": item, "segment": segment, "period_start": day * DAY, "time": day * DAY + n, "value": 1}
        for segment in ("s", "t")
        for day in (0, 1)
        for n, item in enumerate("aabbbc")
    ]
    params = {"approx": True, "top": 1, "slots": 5, "period": "day"}
    bounds = run("ranking", {"items": items}, params).tables["ranking_bounds"].to_pylist()
    assert [(row["period_start"], row["segment"], row["item"], row["guaranteed"]) for row in bounds] == [
        (day * DAY, segment, "b", True) for day in (0, 1) for segment in ("s", "t")
    ]
