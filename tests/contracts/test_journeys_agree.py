"""Journeys on both engines: every kind of funnel, paths with anchors and grouping, stitched ids."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from jobs.engines.duck import DuckEngine
from jobs.engines.spark import SparkEngine
from jobs.run.runner import run_analysis
from tests.contracts.engines import same

pytestmark = pytest.mark.xdist_group("spark")

START, DAY = 1_700_000_000, 86_400


def column(rng: random.Random, count: int, *choices: Any) -> list[Any]:
    return [rng.choice(choices) for _ in range(count)]


def tables(seed: int = 7, count: int = 500) -> dict[str, pa.Table]:
    rng = random.Random(seed)  # noqa: S311 - a seed
    ids = [*"abcdefgh", "é", "Z"]
    events = {
        "user_id": column(rng, count, *ids),
        "time": [START + rng.randrange(12) * rng.choice([0, 1, 1800, DAY]) for _ in range(count)],
        "seq": [index % 40 for index in range(count)],
        "event": column(rng, count, "view", "cart", "/item/1", "/item/2?x=1", "purchase", "x", "a > b"),
        "value_minor": column(rng, count, None, 100, 333),
        "price": column(rng, count, 1, 2, 3, None),
        "breakdown": column(rng, count, "ios", "web", None),
        "utm_campaign": column(rng, count, None, None, "Spring", "shop"),
    }
    edges = {
        "anonymous_id": column(rng, 12, *ids),
        "user_id": column(rng, 12, *ids),
        "time": column(rng, 12, 1, 2),
    }
    return {"events": pa.table(events), "identity_edges": pa.table(edges)}


STEPS = ["view", {"event": ["cart", "a > b"], "where": {"price": {">=": 2}}}, {"where": {"price": [1, 3]}}]
FUNNEL: dict[str, Any] = {"steps": STEPS, "window": DAY, "with_entities": True}
EXCLUSION: dict[str, Any] = {"exclusions": [{"event": "x", "from": 1, "to": 2}, "purchase"]}
QUICK: list[tuple[str, dict[str, Any]]] = [
    ("funnel", FUNNEL | EXCLUSION | {"breakdown": "step", "stitch": "graph"}),
    ("paths", {"grouping": ["/item/{id}", "(pur).*"], "end": "/item/{id}", "max_length": 3}),
]
LONG: list[tuple[str, dict[str, Any]]] = [
    *(("funnel", FUNNEL | {"ties": ties}) for ties in ("seq", "step", "increase")),
    *(
        ("funnel", FUNNEL | EXCLUSION | {"ties": ties, "count": "entry", "breakdown": rule})
        for ties, rule in (("seq", "first"), ("step", "last"), ("increase", "all"))
    ),
    ("funnel", FUNNEL | EXCLUSION | {"mode": "strict", "breakdown": "last", "entity": "session"}),
    ("funnel", FUNNEL | {"mode": "strict", "count": "entry", "window": None, "stitch": "none"}),
    ("funnel", FUNNEL | {"mode": "unordered", "breakdown": "step"}),
    ("funnel", FUNNEL | {"mode": "unordered", "window": None}),
    ("sessions", {"split_on_day": True, "split_on_campaign": True, "stitch": "graph"}),
    ("paths", {"entity": "user", "start": ["view"], "end": ["purchase", "x"], "collapse": "none"}),
    ("paths", {"entity": "user", "through": "a > b", "collapse": "set", "stitch": "none"}),
]


@pytest.mark.parametrize(
    ("name", "params"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in LONG)],
)
def test_both_engines_give_the_same_journeys(
    duck: DuckEngine, spark: SparkEngine, name: str, params: dict[str, Any]
) -> None:
    one, other = (run_analysis(name, engine, tables(), params) for engine in (duck, spark))
    assert one.tables.keys() == other.tables.keys()
    for output, table in one.tables.items():
        assert table.num_rows > 0
        for left, right in zip(table.to_pylist(), other.tables[output].to_pylist(), strict=True):
            assert all(same(left[key], right[key]) for key in left), (output, left, right)
    assert one.manifest["result_hash"] == other.manifest["result_hash"]
    assert one.manifest["rows_excluded"] == other.manifest["rows_excluded"]
