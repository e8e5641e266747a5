"""Every analysis gives the same rows on DuckDB and on Spark: seeded ties, and the CDNOW sample."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.engines.duck import DuckEngine
from jobs.engines.spark import SparkEngine
from jobs.run.runner import run_analysis
from tests.contracts.engines import same

pytestmark = pytest.mark.xdist_group("spark")

CDNOW = Path(__file__).parents[2] / "examples" / "data" / "CDNOW_sample.txt"
START = 1_700_000_000
DAY = 86_400


def ties(rng: random.Random) -> int:
    """Few distinct times, at the edges that matter: the same second, a session's pause, days."""
    return START + rng.randrange(12) * rng.choice([0, 1, 1800, DAY])


def column(rng: random.Random, count: int, *choices: Any) -> list[Any]:
    return [rng.choice(choices) for _ in range(count)]


def events(rng: random.Random, count: int = 600) -> pa.Table:
    return pa.table(
        {
            "user_id": column(rng, count, *"abcdefgh", "é", None),
            "time": [ties(rng) for _ in range(count)],
            "seq": [index % (count - 20) for index in range(count)],
            "event": column(rng, count, "view", "cart", "purchase", "a > b"),
            "value_minor": column(rng, count, None, 100, 333),
            "utm_source": column(rng, count, None, "Google", "news", "", "x\\y"),
            "utm_medium": column(rng, count, None, "cpc", "email", "what"),
            "referrer": column(
                rng, count, None, "https://www.bing.com/a?b", "blog.example:80", "own.example"
            ),
            "breakdown": column(rng, count, "ios", "web"),
        }
    )


def touches(rng: random.Random, count: int = 300) -> pa.Table:
    return pa.table(
        {
            "user_id": column(rng, count, *"abcdefgh"),
            "time": [ties(rng) for _ in range(count)],
            "seq": list(range(count)),
            "channel": column(rng, count, "a", " b", "direct", "c > d", "", None),
        }
    )


def conversions(rng: random.Random, count: int = 60) -> pa.Table:
    return pa.table(
        {
            "conversion_id": [f"c{index}" for index in range(count)],
            "user_id": column(rng, count, *"abcdefghij"),
            "time": [ties(rng) for _ in range(count)],
            "value_minor": [rng.randrange(10_000) for _ in range(count)],
        }
    )


def items(rng: random.Random, count: int = 400) -> pa.Table:
    return pa.table(
        {
            "item": column(rng, count, *"abcdefghijk", "é", "Z"),
            "segment": column(rng, count, "s", None),
            "period_start": [START + rng.randrange(4) * 7 * DAY for _ in range(count)],
            "value": column(rng, count, 0.1, 0.2, 0.3, -1.5),
            "time": [ties(rng) for _ in range(count)],
            "user_id": column(rng, count, *"xyz"),
        }
    )


def cdnow(_rng: random.Random) -> pa.Table:
    lines = [line.split() for line in CDNOW.read_text(encoding="ascii").splitlines()]
    days = [datetime.strptime(line[2], "%Y%m%d").replace(tzinfo=UTC) for line in lines]
    return pa.table(
        {
            "customer_id": [line[1] for line in lines],
            "time": [int(day.timestamp()) for day in days],
            "amount_minor": [round(float(line[4]) * 100) for line in lines],
        }
    )


def fractional_paths(_rng: random.Random) -> pa.Table:
    return pa.table(
        {
            "path": ["a > b", "b", "c > a", ""],
            "conversions": [7, 2, 3, 1],
            "value_minor": [0.1, 0.2, 0.3, 7.5],
        }
    )


def paths(_rng: random.Random) -> pa.Table:
    return pa.table(
        {
            "path": ["a > b > a", "b", " a>b>a", "", None, "direct > direct", "a > > c"],
            "conversions": [7, 2, 3, 1, 1, 5, 11],
            "value_minor": [701, 20, 33, 1, 1, 59, 1103],
        }
    )


Maker = Callable[[random.Random], pa.Table]
FUNNEL = {"steps": ["view", ["cart", "a > b"], "view", "purchase"], "window": DAY, "with_entities": True}
CASES: list[tuple[str, dict[str, Maker], dict[str, Any]]] = [
    ("sessions", {"events": events}, {"own_hosts": ["own.example"]}),
    (
        "sessions",
        {"events": events},
        {"split_on_day": True, "timeout": 0, "from": START + 1, "to": START + DAY},
    ),
    ("funnel", {"events": events}, FUNNEL),
    ("funnel", {"events": events}, FUNNEL | {"ties": "step", "window": None}),
    ("paths", {"events": events}, {"max_length": 3, "min_count": 2}),
    ("paths", {"touches": touches, "conversions": conversions}, {"collapse": "set"}),
    ("attribution", {"touches": touches, "conversions": conversions}, {"with_touches": True}),
    (
        "attribution",
        {"touches": touches, "conversions": conversions},
        {
            "lookback": DAY,
            "touch_reuse": "since_previous",
            "strict_before": True,
            "max_touches": 4,
            "exclude_channels": ["b"],
            "repeats": "collapse",
            "position": [0.35, 0.3, 0.35],
        },
    ),
    ("attribution", {"paths": paths}, {}),
    ("attribution", {"paths": fractional_paths}, {"position": "treasure_data"}),
    ("ranking", {"items": items}, {"period": "week", "top": 5, "other": True}),
    (
        "ranking",
        {"items": items},
        {"period": "month", "metric": "last", "ties": "average", "direction": "asc"},
    ),
    ("ranking", {"items": items}, {"from": START, "to": START + 7 * DAY, "ties": "dense", "top": 3}),
    ("ranking", {"items": items}, {"strict_n": True, "n": 4}),
    ("customer_summary", {"transactions": cdnow}, {"end": "1997-09-30", "freq_multiplier": 7}),
    ("rfm", {"transactions": cdnow}, {}),
    ("retention", {"events": events}, {"period": "day", "mode": "day_n", "start_event": "view"}),
    ("retention", {"events": events}, {"period": "day", "mode": "bracket"}),
    (
        "retention",
        {"events": events},
        {"period": "month", "mode": "unbounded", "data_through": START + 90 * DAY},
    ),
]


@pytest.mark.parametrize(
    ("name", "makers", "params"), CASES, ids=[f"{case[0]}-{index}" for index, case in enumerate(CASES)]
)
def test_both_engines_give_the_same_rows_and_the_same_hash(
    duck: DuckEngine, spark: SparkEngine, name: str, makers: dict[str, Maker], params: dict[str, Any]
) -> None:
    inputs = {table: make(random.Random(f"{name}{table}")) for table, make in makers.items()}  # noqa: S311 - a seed
    one, other = (run_analysis(name, engine, inputs, params) for engine in (duck, spark))
    assert one.tables.keys() == other.tables.keys()
    for output, table in one.tables.items():
        assert table.num_rows > 0
        assert table.schema == other.tables[output].schema
        for left, right in zip(table.to_pylist(), other.tables[output].to_pylist(), strict=True):
            assert all(same(left[key], right[key]) for key in left), (output, left, right)
    assert one.manifest["result_hash"] == other.manifest["result_hash"]
    assert one.manifest["rows_excluded"] == other.manifest["rows_excluded"]
