"""Rankings against a plain Python computation of ties, shares and movement."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

DAY = 86_400


def ranks(metrics: dict[str, float]) -> dict[str, dict[str, float]]:
    ordered = sorted(metrics, key=lambda item: (-metrics[item], item.encode()))
    values = list(metrics.values())
    return {
        item: {
            "min": 1 + sum(v > metrics[item] for v in values),
            "max": sum(v >= metrics[item] for v in values),
            "dense": 1 + len({v for v in values if v > metrics[item]}),
            "average": (1 + sum(v > metrics[item] for v in values) + sum(v >= metrics[item] for v in values))
            / 2,
            "ordinal": 1 + ordered.index(item),
        }
        for item in ordered
    }


rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "item": st.sampled_from(["a", "b", "c", "Z", "é"]),
            "segment": st.sampled_from(["s", None]),
            "period_start": st.sampled_from([0, DAY - 1, DAY, 3 * DAY]),
            "value": st.integers(0, 3),
        }
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(rows_strategy, st.sampled_from(["min", "max", "dense", "average", "ordinal"]))
def test_ranks_and_movement_equal_a_plain_computation(run: Any, rows: list[Any], ties: str) -> None:
    sums: dict[tuple[str, int], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        sums[row["segment"] or "(all)", row["period_start"] // DAY][row["item"]] += row["value"]
    result = run("ranking", {"items": rows}, {"period": "day", "ties": ties}).tables["ranking"].to_pylist()
    seen = set()
    for row in result:
        day = row["period_start"] // DAY
        now = ranks(sums.get((row["segment"], day), {}))
        before = ranks(sums.get((row["segment"], day - 1), {}))
        mine, previous = now.get(row["item"]), before.get(row["item"])
        seen.add((row["segment"], day, row["item"]))
        if mine is None:
            assert (row["status"], row["rank"], row["metric"]) == ("dropped", None, None)
            assert previous is not None
            continue
        shown = "min" if ties == "average" else ties
        assert row["rank"] == mine[shown]
        assert (row["rank_max"], row["dense_rank"]) == (mine["max"], mine["dense"])
        assert (row["avg_rank"], row["ordinal"]) == (mine["average"], mine["ordinal"])
        if previous is None:
            assert (row["status"], row["movement"], row["previous_rank"]) == ("new", None, None)
            continue
        moved = previous[ties] - mine[ties]
        assert row["movement"] == int(moved)
        assert row["status"] == ("up" if moved > 0 else "down" if moved < 0 else "same")
        assert row["previous_rank"] == previous[shown]
    days = {day for _, day in sums}
    for (segment, day), metrics in sums.items():
        for item in metrics:
            assert (segment, day, item) in seen
            assert day + 1 not in days or (segment, day + 1, item) in seen


def scores(**values: int) -> list[dict[str, Any]]:
    return [{"item": item, "value": value, "period_start": 0} for item, value in values.items()]


def test_ties_at_the_cut_stay_unless_the_cut_is_strict(run: Any) -> None:
    items = scores(a=9, b=5, c=5, d=1)
    loose = run("ranking", {"items": items}, {"top": 2}).tables["ranking"].column("item").to_pylist()
    strict = run("ranking", {"items": items}, {"top": 2, "strict_n": True}).tables["ranking"]
    assert (loose, strict.column("item").to_pylist()) == (["a", "b", "c"], ["a", "b"])


def test_the_other_row_completes_the_shares(run: Any) -> None:
    rows = (
        run("ranking", {"items": scores(a=6, b=3, c=1)}, {"top": 1, "other": True})
        .tables["ranking"]
        .to_pylist()
    )
    assert [(row["item"], row["rank"], row["metric"], row["share"]) for row in rows] == [
        ("a", 1, 6.0, 0.6),
        ("(other)", None, 4.0, 0.4),
    ]


def test_an_item_that_falls_out_of_the_top_is_not_dropped(run: Any) -> None:
    items = [
        *scores(a=9, b=5),
        {"item": "a", "value": 1, "period_start": DAY},
        {"item": "b", "value": 5, "period_start": DAY},
    ]
    rows = run("ranking", {"items": items}, {"period": "day", "top": 1}).tables["ranking"].to_pylist()
    assert [(row["item"], row["status"], row["movement"]) for row in rows] == [
        ("a", "new", None),
        ("b", "up", 1),
    ]


def test_months_are_calendar_months(run: Any) -> None:
    items = [{"item": "a", "value": 1, "period_start": second} for second in (951_782_400, 951_868_800)]
    rows = run("ranking", {"items": items}, {"period": "month"}).tables["ranking"].to_pylist()
    assert [(row["period_start"], row["status"]) for row in rows] == [
        (949_363_200, "new"),
        (951_868_800, "same"),
    ]


def test_percentiles_of_a_single_item(run: Any) -> None:
    (row,) = run("ranking", {"items": scores(a=0)}).tables["ranking"].to_pylist()
    assert (row["percent_rank"], row["cume_dist"], row["share"]) == (0.0, 1.0, None)


def test_distinct_users_and_last_values(run: Any) -> None:
    items = [
        {"item": "a", "user_id": "u", "time": 5, "value": 1},
        {"item": "a", "user_id": "u", "time": 9, "value": 2},
        {"item": "a", "user_id": "v", "time": 9, "value": 3},
    ]
    distinct = run("ranking", {"items": items}, {"metric": "count_distinct"}).tables["ranking"].to_pylist()
    last = run("ranking", {"items": items}, {"metric": "last"}).tables["ranking"].to_pylist()
    assert (distinct[0]["metric"], last[0]["metric"]) == (2.0, 3.0)


def test_a_metric_without_its_column_is_refused(run: Any) -> None:
    with pytest.raises(InputError, match="column user_id is missing"):
        run("ranking", {"items": scores(a=1)}, {"metric": "count_distinct"})


def test_a_cut_rule_without_a_cut_is_refused(run: Any) -> None:
    with pytest.raises(ParameterError, match="need top"):
        run("ranking", {"items": scores(a=1)}, {"other": True})
