"""The plan: every real purchase is played once, in its customer's order of time, the same way each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdnow import Purchase, read_purchases
from channels import DIRECT, NEWSLETTER
from plan import Visit, count_events, plan_visits

DATA = Path(__file__).resolve().parents[3] / "examples" / "data" / "CDNOW_sample.txt"
PRODUCTS = ["one", "two", "three"]


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    with DATA.open() as lines:
        return read_purchases(lines)


def test_the_sample_has_its_published_size(purchases: list[Purchase]) -> None:
    assert len(purchases) == 6919
    assert len({purchase.customer for purchase in purchases}) == 2357
    assert purchases[0] == Purchase("cd-00001", "c00004", 852_076_800, 2, 2933)


@pytest.mark.parametrize(
    "line",
    ["00004 0001 19970101 2", "00004 0001 19971301 2 1.00", "00004 0001 19970101 two 1.00", "a b c d e f"],
)
def test_a_line_that_is_no_purchase_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2 is not a purchase"):
        read_purchases([" 00004 0001 19970101  2   29.33", line])


def test_every_purchase_is_played_exactly_once(purchases: list[Purchase]) -> None:
    played = [visit for visits in plan_visits(purchases, PRODUCTS, 1).values() for visit in visits]
    assert sorted(v.order.order_id for v in played if v.order) == sorted(p.order_id for p in purchases)
    counts = count_events(played)
    assert counts["purchase"] == counts["add_to_cart"] == 6919
    assert counts["landing"] == len(played) > 6919
    assert 25_000 < counts.total() < 35_000


def test_a_customers_visits_are_in_order_and_a_purchase_keeps_its_day(purchases: list[Purchase]) -> None:
    for customer, visits in plan_visits(purchases, PRODUCTS, 1).items():
        started = [visit.started_at for visit in visits]
        assert started == sorted(started)
        for visit in visits:
            assert visit.customer == customer
            if visit.order:
                assert visit.order.day <= visit.times()[0] <= visit.times()[-1] < visit.order.day + 86_400


def test_the_same_seed_gives_the_same_visits(purchases: list[Purchase]) -> None:
    some = purchases[:200]
    assert plan_visits(some, PRODUCTS, 7) == plan_visits(some, PRODUCTS, 7)
    assert plan_visits(some, PRODUCTS, 7) != plan_visits(some, PRODUCTS, 8)


def test_a_landing_carries_its_tags() -> None:
    assert NEWSLETTER.path() == "/?utm_source=newsletter&utm_medium=email&utm_campaign=weekly"
    assert DIRECT.path() == "/"


def test_a_visit_without_an_order_ends_with_its_views() -> None:
    visit = Visit("c1", 1000, DIRECT, ("one", "two"))
    assert visit.events() == ["landing", "product_view", "product_view"]
    assert visit.times() == [1000, 1045, 1090]
