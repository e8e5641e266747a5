"""Every option of attribution and of rankings gives the same rows on DuckDB and on Spark, with many ties."""

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

START = 1_700_000_000
DAY = 86_400
MODELS = ["first", "last", "last_non_direct", "linear", "position", "time_decay", "markov", "shapley"]
NO_TIMES = [model for model in MODELS if model != "time_decay"]


def tables(seed: str) -> dict[str, pa.Table]:
    rng = random.Random(seed)  # noqa: S311 - a seed
    users, channels = list("abcdefghijklm"), ["a", " b", "direct", "c > d", "é", "", None]
    times = [START + rng.randrange(12) * step for step in (0, 1, 1800, DAY)]
    touches = {
        "user_id": rng.choices(users, k=250),
        "time": rng.choices(times, k=250),
        "seq": list(range(250)),
        "channel": rng.choices(channels, k=250),
    }
    conversions = {
        "conversion_id": [f"c{number}" for number in range(50)],
        "user_id": rng.choices([*users[:8], "nobody"], k=50),
        "time": rng.choices(times, k=50),
        "value_minor": rng.choices([None, 0, 500, 999], k=50),
    }
    parts = ["a", "b", "c d", "direct", " é ", ""]
    paths = {
        "path": [">".join(rng.choices(parts, k=rng.randrange(6))) for _ in range(120)],
        "conversions": rng.choices([0, 0, 1, 3], k=120),
        "value_minor": rng.choices([0, 7, 31], k=120),
        "nulls": rng.choices([None, 0, 2], k=120),
    }
    return {
        "touches": pa.table(touches),
        "conversions": pa.table(conversions),
        "paths": pa.table(paths),
        "spend": pa.table({"channel": ["a", "a ", "tv", "b"], "spend_minor": [3, 4, 50, 0]}),
        "items": items(rng),
    }


def items(rng: random.Random, count: int = 300) -> pa.Table:
    return pa.table(
        {
            "item": rng.choices([*"abcdefghijk", "é", "Z"], k=count),
            "segment": rng.choices(["s", None], k=count),
            "period_start": [START + rng.randrange(40) * DAY for _ in range(count)],
            "value": rng.choices([1, 2, 3, None], k=count),
            "time": [None if rng.random() < 0.05 else START + rng.randrange(99) * 977 for _ in range(count)],
            "user_id": rng.choices([*"xyz", None], k=count),
            "ups": rng.choices([0, 1, 5, None], k=count),
            "downs": rng.choices([0, 1, 2], k=count),
            "created": [START - rng.randrange(9) * 3600 for _ in range(count)],
        }
    )


SINGLE, AGGREGATED = ("touches", "conversions", "spend"), ("paths", "spend")
AS_OF = START + 60 * 977
CASES: list[tuple[str, tuple[str, ...], dict[str, Any], bool]] = [
    ("attribution", SINGLE, {"models": MODELS, "with_touches": True, "nulls": "users"}, True),
    ("attribution", AGGREGATED, {"models": NO_TIMES, "intervals": True, "replicates": 30}, False),
    (
        "attribution",
        SINGLE,
        {
            "models": MODELS,
            "stepped": True,
            "half_life": 1800,
            "order": 2,
            "nulls": "users",
            "intervals": True,
            "replicates": 30,
            "strict_before": True,
            "max_touches": 5,
            "repeats": "collapse",
            "touch_reuse": "since_previous",
        },
        False,
    ),
    (
        "attribution",
        AGGREGATED,
        {"models": NO_TIMES, "order": 3, "exclude_channels": ["a"], "max_touches": 3, "position": "u_shaped"},
        False,
    ),
    ("attribution", ("paths",), {"models": NO_TIMES, "repeats": "collapse", "max_touches": 4}, False),
    (
        "ranking",
        ("items",),
        {"metric": "score", "score": "decay", "as_of": AS_OF, "period": "month", "other": True, "top": 4},
        False,
    ),
    ("ranking", ("items",), {"approx": True, "top": 3, "slots": 4, "other": True}, True),
    (
        "ranking",
        ("items",),
        {"metric": "score", "score": "trending", "period": "week", "zone": "America/New_York"},
        True,
    ),
    ("ranking", ("items",), {"metric": "score", "score": "hn", "as_of": AS_OF}, False),
    ("ranking", ("items",), {"metric": "score", "score": "reddit_hot", "direction": "asc"}, False),
    ("ranking", ("items",), {"metric": "score", "score": "wilson_low", "ties": "max"}, False),
    ("ranking", ("items",), {"metric": "score", "score": "bayes", "period": "month"}, False),
    ("ranking", ("items",), {"metric": "count", "approx": True, "n": 2, "slots": 2, "period": "week"}, False),
    ("ranking", ("items",), {"metric": "count_distinct", "period": "week", "zone": "Europe/Berlin"}, False),
    ("ranking", ("items",), {"from": "2023-11-20", "to": "2023-11-27", "zone": "Europe/Berlin"}, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "names", "params"),
    [
        pytest.param(*case[:3], id=f"{case[0]}-{number}", marks=() if case[3] else pytest.mark.slow)
        for number, case in enumerate(CASES)
    ],
)
def test_both_engines_give_the_same_credits_and_ranks(
    duck: DuckEngine, spark: SparkEngine, name: str, names: tuple[str, ...], params: dict[str, Any]
) -> None:
    given = tables(name)
    inputs = {table: given[table] for table in names}
    one, other = (run_analysis(name, engine, inputs, params) for engine in (duck, spark))
    assert one.tables.keys() == other.tables.keys()
    for output, table in one.tables.items():
        assert table.num_rows > 0
        assert table.schema == other.tables[output].schema
        for left, right in zip(table.to_pylist(), other.tables[output].to_pylist(), strict=True):
            assert all(same(left[key], right[key]) for key in left), (output, left, right)
    assert one.manifest["result_hash"] == other.manifest["result_hash"]
    assert one.manifest["rows_excluded"] == other.manifest["rows_excluded"]
