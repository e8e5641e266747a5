"""The demo's comparisons fail when anything is off by one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.cli.client import Client
from addon.cli.demo.freshness import FreshnessProbe
from addon.cli.demo.landed import differences
from addon.cli.demo.traffic import Ledger, Order

if TYPE_CHECKING:
    from collections.abc import Callable

ORDERS = [Order(f"cd-{n}", f"c{n}", 1000 + n, 1, 999) for n in range(3)]
LEDGER = Ledger({"landing": 4, "purchase": 3}, 8, 4, 1.0, ORDERS)


def test_nothing_differs_when_everything_landed_in_any_order() -> None:
    assert differences(LEDGER, {"purchase": 3, "landing": 4}, reversed(ORDERS)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda orders: orders[1:], "1 orders missing, among them ('cd-0'"),
        (lambda orders: [*orders, orders[2]], "1 orders doubled or altered, among them ('cd-2'"),
        (lambda orders: [replace(orders[0], value_minor=998), *orders[1:]], "1 orders missing"),
    ],
)
def test_a_lost_doubled_or_altered_order_is_named(
    change: Callable[[list[Order]], list[Order]], words: str
) -> None:
    found = differences(LEDGER, dict(LEDGER.events), change(ORDERS))
    assert any(words in line for line in found)


def test_event_counts_that_differ_are_named() -> None:
    found = differences(LEDGER, {"landing": 5, "purchase": 3, "refund": 1}, ORDERS)
    assert found == ["landing: 4 sent, 5 landed", "refund: 0 sent, 1 landed"]


def probe() -> FreshnessProbe:
    return FreshnessProbe(Client("http://127.0.0.1:9", "1/x"), "shop")


def test_a_rows_latency_is_that_of_the_first_answer_with_it() -> None:
    measured = probe()
    measured.note([1_000_000, 2_000_000], 2.5)
    measured.note([2_000_000, 3_000_000], 3.5)
    assert measured.seen == 3
    assert measured.percentile(1.0, 3) == 1.5
    assert measured.percentile(0.5, 3) == 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500), st.integers(0, 20))
def test_rows_that_were_never_seen_count_as_infinitely_late(seen: int, lost: int) -> None:
    measured = probe()
    measured.note([n * 1_000_000 for n in range(1, seen + 1)], seen + 1.0)
    worst = measured.percentile(0.99, seen + lost)
    assert (worst == float("inf")) == (lost > 0 and -(-99 * (seen + lost) // 100) > seen)
