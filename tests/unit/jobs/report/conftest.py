"""Seeded run folders, made by the real analyses on a small invented shop."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from jobs.engines.duck import DuckEngine
from jobs.report.runs import RunFolder
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400
START = 852_076_800  # 1997-01-01
CHANNELS = (
    "organic_search",
    "paid_search",
    "email",
    "direct",
    "paid_social",
    "referral",
    "affiliates",
    "display",
    "organic_social",
)
PRODUCTS = (
    "Kind of Blue",
    "Blue Train",
    "Graceland",
    "Rumours",
    "Abbey Road",
    "Nevermind",
    "Thriller",
    "OK Computer",
    "Pet Sounds",
)


def shop(customers: int = 700, seed: int = 7) -> dict[str, pa.Table]:
    """Touches, conversions, items, transactions and events of customers who buy less and less often."""
    rng = random.Random(seed)  # noqa: S311 - a repeatable sample, no secret
    touches: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    for number in range(customers):
        user, time = f"c{number:04}", START + rng.randrange(500 * DAY)
        while time < START + 540 * DAY:
            for back in range(rng.choices((1, 2, 3, 4, 5), (45, 25, 15, 10, 5))[0]):
                channel = rng.choices(CHANNELS, (30, 18, 14, 14, 8, 6, 5, 3, 2))[0]
                touches.append(
                    {"user_id": user, "time": time - back * 20_000, "seq": back, "channel": channel}
                )
            product = rng.choices(PRODUCTS, range(len(PRODUCTS), 0, -1))[0]
            order = f"o{len(orders)}"
            amount = rng.randrange(800, 9_000)
            orders.append({"id": order, "user_id": user, "time": time, "amount": amount, "product": product})
            if rng.random() < 0.45:
                break
            time += DAY * rng.randrange(5, 160)
    column = {name: [row[name] for row in orders] for name in ("id", "user_id", "time", "amount", "product")}
    steps = [
        {"user_id": row["user_id"], "time": row["time"] + at, "seq": at, "event": event}
        for row in orders
        for at, event in enumerate(
            ("landing", "product_view", "cart", "purchase")[: rng.choice((1, 2, 3, 4, 4))]
        )
    ]
    return {
        "touches": pa.Table.from_pylist(touches),
        "conversions": pa.table(
            {
                "conversion_id": column["id"],
                "user_id": column["user_id"],
                "time": column["time"],
                "value_minor": column["amount"],
            }
        ),
        "items": pa.table({"item": column["product"], "time": column["time"], "value": [1] * len(orders)}),
        "transactions": pa.table(
            {"customer_id": column["user_id"], "time": column["time"], "amount_minor": column["amount"]}
        ),
        "events": pa.Table.from_pylist(steps),
        "purchases": pa.table(
            {
                "user_id": column["user_id"],
                "time": column["time"],
                "seq": list(range(len(orders))),
                "event": ["purchase"] * len(orders),
            }
        ),
    }


def make_runs(tables: dict[str, pa.Table], out: Path) -> list[RunFolder]:
    """Run every analysis that the report tells, on DuckDB."""
    journeys = {"touches": tables["touches"], "conversions": tables["conversions"]}
    funnel = {"steps": ["landing", "product_view", "cart", "purchase"]}
    planned: list[tuple[str, dict[str, pa.Table], dict[str, Any]]] = [
        ("retention", {"events": tables["purchases"]}, {"period": "month"}),
        ("paths", journeys, {}),
        ("attribution", journeys, {}),
        ("funnel", {"events": tables["events"]}, funnel),
        ("ranking", {"items": tables["items"]}, {"period": "month", "top": 8}),
        ("customer_summary", {"transactions": tables["transactions"]}, {}),
        ("rfm", {"transactions": tables["transactions"]}, {}),
    ]
    for name, inputs, params in planned:
        engine = DuckEngine()
        try:
            run_analysis(name, engine, inputs, params, out / name)
        finally:
            engine.close()
    return [RunFolder.open(out / name) for name, _, _ in planned]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    return make_runs(shop(), tmp_path_factory.mktemp("runs"))
