"""Churn flows against a plain Python computation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

DAY = 86_400

visits = st.lists(st.tuples(st.sampled_from("uvwx"), st.integers(0, 9)), max_size=20)


def events(rows: list[tuple[str, int]], event: str = "visit") -> list[dict[str, Any]]:
    return [
        {"user_id": user, "time": day * DAY + 7, "seq": index, "event": event}
        for index, (user, day) in enumerate(rows)
    ]


@settings(max_examples=30, deadline=None)
@given(visits, st.integers(0, 10), st.integers(0, 3))
def test_flows_equal_a_plain_computation(run: Any, rows: list[Any], through: int, first: int) -> None:
    first = min(first, through)
    params = {"period": "day", "data_through": through * DAY, "from": first * DAY}
    table = run("churn", {"events": events(rows)}, params).tables["churn"].to_pylist()
    active = {day: {user for user, on in rows if on == day} for day in range(-1, through + 1)}
    wanted = []
    for day in range(first, through + 1):
        before = set().union(*(active[other] for other in active if other < day))
        here, previous = active[day], active[day - 1]
        lost = len(previous - here)
        wanted.append(
            {
                "period_start": day * DAY,
                "period_unit": "day",
                "active": len(here),
                "new": len(here - before),
                "returning": len(here & previous),
                "resurrected": len((here & before) - previous),
                "churned": lost,
                "previous_active": len(previous),
                "churn_rate": lost / len(previous) if previous else None,
                "mature": day < through or any(on > through for _, on in rows),
            }
        )
    assert table == wanted
    for row in table:
        assert row["active"] == row["new"] + row["returning"] + row["resurrected"]
        assert row["previous_active"] == row["returning"] + row["churned"]


def test_purchases_are_activity_and_refunds_are_none(run: Any) -> None:
    rows = [
        {"customer_id": "c", "time": 0, "amount_minor": 5},
        {"customer_id": "c", "time": 40 * DAY, "amount_minor": -5},
        {"customer_id": "d", "time": 0, "amount_minor": 0},
    ]
    found = run("churn", {"transactions": rows}).tables["churn"].to_pylist()
    flows = [(row["active"], row["churned"], row["churn_rate"], row["mature"]) for row in found]
    # the refund is no activity, but the data reaches to it: who did not buy by then is gone
    assert flows == [(2, 0, None, True), (0, 2, 1.0, False)]


def test_refunds_alone_make_nobody_active(run: Any) -> None:
    rows = [{"customer_id": "c", "time": 0, "amount_minor": -5}]
    assert run("churn", {"transactions": rows}).tables["churn"].num_rows == 0


def test_only_the_named_event_makes_a_user_active(run: Any) -> None:
    rows = events([("u", 0)], "buy") + [row | {"seq": 9} for row in events([("u", 1)])]
    found = run("churn", {"events": rows}, {"period": "day", "event": "buy"}).tables["churn"].to_pylist()
    assert [(row["active"], row["churned"]) for row in found] == [(1, 0), (0, 1)]


def test_an_empty_table_gives_an_empty_result(run: Any) -> None:
    assert run("churn", {"events": []}).tables["churn"].num_rows == 0


def test_impossible_requests_are_refused(run: Any) -> None:
    with pytest.raises(ParameterError, match=r"parameters from and data_through: .* holds no period"):
        run("churn", {"events": events([("u", 1)])}, {"from": "2024-01-01"})
    with pytest.raises(ParameterError, match="parameter event"):
        run("churn", {"transactions": []}, {"event": "buy"})
    with pytest.raises(InputError, match="give one of the two"):
        run("churn", {"events": [], "transactions": []})
