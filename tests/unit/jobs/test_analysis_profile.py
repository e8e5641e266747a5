"""Profiles: every column from the report that defines it, and customers whom only one of the inputs knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError

DAY = 86_400
event_rows = st.lists(
    st.tuples(st.sampled_from("uvw"), st.integers(0, 5 * DAY), st.sampled_from("abc")), max_size=12
)
money_rows = st.lists(
    st.tuples(st.sampled_from("vwx"), st.integers(0, 5 * DAY), st.integers(-3, 9)), max_size=12
)


def events_of(rows: list[Any]) -> list[dict[str, Any]]:
    return [
        {"user_id": user, "time": time, "seq": index, "event": event}
        for index, (user, time, event) in enumerate(rows)
    ]


def transactions_of(rows: list[Any]) -> list[dict[str, Any]]:
    return [{"customer_id": user, "time": time, "amount_minor": amount} for user, time, amount in rows]


@settings(max_examples=8, deadline=None)
@given(event_rows, money_rows, st.integers(0, 5))
def test_every_column_is_that_of_its_own_report(run: Any, seen: Any, paid: Any, day: int) -> None:
    inputs = {"events": events_of(seen), "transactions": transactions_of(paid)}
    until = (day + 1) * DAY
    found = {
        row["customer_id"]: row
        for row in run("profile", inputs, {"as_of": day * DAY}).tables["profile"].to_pylist()
    }
    seen, paid = [row for row in seen if row[1] < until], [row for row in paid if row[1] < until]
    visits = run("sessions", {"events": events_of(seen)}).tables["sessions"].to_pylist()
    scores = (
        run("rfm", {"transactions": transactions_of(paid)}, {"as_of": day * DAY}).tables["rfm"].to_pylist()
    )
    assert set(found) == {row[0] for row in seen + paid}
    for user, row in found.items():
        times = [time for name, time, _ in seen + paid if name == user]
        names = [event for name, _, event in seen if name == user]
        amounts = [amount for name, _, amount in paid if name == user]
        orders = sum(amount >= 0 for amount in amounts)
        assert (row["first_seen"], row["last_seen"]) == (min(times), max(times))
        assert row["days_since_last"] == day - max(times) // DAY
        assert row["events"] == len(names)
        assert row["sessions"] == sum(visit["user_id"] == user for visit in visits)
        assert row["first_channel"] == ("direct" if names else None)
        assert row["top_event"] == (
            min(names, key=lambda name: (-names.count(name), name)) if names else None
        )
        assert (row["orders"], row["net_minor"]) == (orders, sum(amounts))
        assert row["aov_minor"] == (sum(amounts) / orders if orders else None)
        score = next(
            (s for s in scores if s["customer_id"] == user), dict.fromkeys(("r", "f", "m", "segment"))
        )
        assert all(row[name] == score[name] for name in ("r", "f", "m", "segment"))


def test_conversion_events_stand_in_for_transactions(run: Any) -> None:
    rows = [
        {"user_id": "u", "time": index * DAY, "seq": index, "event": event, "value_minor": value}
        for index, (event, value) in enumerate([("purchase", 500), ("view", 900), ("purchase", None)])
    ]
    row = run("profile", {"events": rows}).tables["profile"].to_pylist()[0]
    assert (row["orders"], row["net_minor"], row["aov_minor"], row["events"]) == (1, 500, 500.0, 3)


def test_ids_that_were_joined_are_one_customer_with_aliases(run: Any) -> None:
    inputs = {
        "events": events_of([("anon2", 1, "view"), ("anon1", 2, "view"), ("user", 3, "buy")]),
        "transactions": transactions_of([("user", 9, 100)]),
        "identity_edges": [{"anonymous_id": f"anon{n}", "user_id": "user", "time": 3} for n in (1, 2)],
    }
    rows = run("profile", inputs).tables["profile"].to_pylist()
    assert [(row["customer_id"], row["aliases"], row["events"], row["orders"]) for row in rows] == [
        ("user", "anon1,anon2", 3, 1)
    ]
    apart = run("profile", inputs, {"stitch": "none"}).tables["profile"]
    assert apart.column("aliases").to_pylist() == ["", "", ""]


def test_the_first_and_the_last_channel_are_those_of_the_sessions(run: Any) -> None:
    events = events_of([("u", 0, "view"), ("u", DAY, "view"), ("u", 2 * DAY, "view")])
    for row, source in zip(events, ("google", "", "news"), strict=True):
        row |= {
            "utm_source": source,
            "utm_medium": "cpc" if source == "google" else "email" if source else "",
        }
    row = run("profile", {"events": events}).tables["profile"].to_pylist()[0]
    assert (row["first_channel"], row["last_channel"], row["sessions"]) == ("paid_search", "email", 3)


def test_something_to_read_is_needed(run: Any) -> None:
    with pytest.raises(InputError, match="give at least one of the two"):
        run("profile", {})
