"""Every option of the customer reports gives the same rows on DuckDB and on Spark, with many ties."""

from __future__ import annotations

import math
import random
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
START = 1_711_670_400  # 2024-03-29: the clocks of Europe change two days later
DAY = 86_400


def tables(seed: str) -> dict[str, pa.Table]:
    rng = random.Random(seed)  # noqa: S311 - a seed

    def drawn(count: int, *choices: Any) -> list[Any]:
        return rng.choices(choices, k=count)

    def times(count: int) -> list[int]:
        return [START + rng.randrange(9) * rng.choice((0, 1, 1_800, DAY, 9 * DAY)) for _ in range(count)]

    names = ("d", "e")
    return {
        "events": pa.table({
            "user_id": drawn(400, *"abcdefghij", "é", None),
            "time": times(400),
            "seq": [index % 390 for index in range(400)],
            "event": drawn(400, "view", "cart", "purchase"),
            "value_minor": drawn(400, None, 100, 333),
            "utm_source": drawn(400, None, "google", "news"),
            "utm_medium": drawn(400, None, "cpc", "email"),
            "breakdown": drawn(400, "ios", "web", None),
        }),
        "transactions": pa.table({
            "customer_id": drawn(300, *"abcdeklmnop"),
            "time": times(300),
            "amount_minor": drawn(300, -200, 0, 500, 500, 999),
        }),
        "identity_edges": pa.table({
            "anonymous_id": ["a", "k", "b"], "user_id": ["c", "c", "d"], "time": [1, 2, 2],
        }),
        "ingested": pa.table({
            "time": times(40), "database": drawn(40, *names), "table": drawn(40, *names),
            "rows_in": drawn(40, 0, 3), "bytes_in": drawn(40, 0, 99),
        }),
        "stored": pa.table({
            "time": times(40), "database": drawn(40, *names), "table": drawn(40, *names),
            "bytes_stored": drawn(40, 1, 7),
        }),
        "queried": pa.table({
            "query_id": drawn(40, *"pqrstu"), "time": times(40), "database": drawn(40, *names, None),
            "table": drawn(40, *names), "bytes_scanned": drawn(40, None, 0, 3, 7),
            "cpu_s": drawn(40, 0.1, 0.7),
        }),
        "router": pa.table({
            "time": times(400), "app": drawn(400, "a", "b", None),
            "path": drawn(400, "/x?q=1", "/o/12/i", "/o/deadbeef-0000-1111-2222-33334444abcd", "/12ab", None),
            "status": drawn(400, 200, 404, 499, 503, None), "code": drawn(400, None, "H12", "H27"),
            "service_ms": drawn(400, None, 1, 2, 5, 30_000), "connect_ms": drawn(400, 0, 1, 3),
            "bytes": drawn(400, None, 10),
        }),
        "dyno": pa.table({
            "time": times(40), "app": drawn(40, "a", None), "process": drawn(40, "web.1", None),
            "event": drawn(40, "state", "error"), "state_from": drawn(40, "up", "crashed", None),
            "state_to": drawn(40, "starting", "crashed", None), "code": drawn(40, None, "R14"),
            "exit_status": drawn(40, None, 0, 137),
        }),
        "metrics": pa.table({
            "time": times(40), "app": drawn(40, "a", None), "metric": drawn(40, "memory", "load"),
            "value": drawn(40, 0.1, 0.2, 0.7, None, math.inf, math.nan), "unit": drawn(40, "MB", None),
        }),
        "app": pa.table({
            "time": times(40), "message": drawn(40, "Error L10 (x): 3", "Error L1x", "hello", None),
        }),
        "cdnow": cdnow(),
    }  # fmt: skip


def cdnow() -> pa.Table:
    lines = [line.split() for line in CDNOW.read_text(encoding="ascii").splitlines()]
    days = [datetime.strptime(line[2], "%Y%m%d").replace(tzinfo=UTC) for line in lines]
    return pa.table(
        {
            "customer_id": [line[1] for line in lines],
            "time": [int(day.timestamp()) for day in days],
            "amount_minor": [round(float(line[4]) * 100) for line in lines],
        }
    )


BERLIN = {"zone": "Europe/Berlin"}
EVENTS, MONEY = ("events",), ("transactions",)
LOGS = ("router", "dyno", "metrics", "app")
#: Analysis, inputs (input=table where the names differ), parameters, and whether it runs in `make test`.
CASES: list[tuple[str, tuple[str, ...], dict[str, Any], bool]] = [
    ("retention", EVENTS, {"period": "day", "start_event": "view", "return_event": "cart"} | BERLIN, True),
    ("retention", EVENTS, {"period": "week", "mode": "unbounded"} | BERLIN, False),
    ("retention", EVENTS, {"period": "month", "mode": "bracket", "brackets": [[0, 1]]} | BERLIN, False),
    ("retention", EVENTS, {"period": "day", "mode": "rolling", "data_through": "2024-04-20"} | BERLIN, False),
    ("retention", (*EVENTS, "identity_edges"), {"period": "day", "data_through": "2024-07-01"}, False),
    ("churn", EVENTS, {"period": "day", "event": "view"} | BERLIN, False),
    ("churn", MONEY, {"period": "week", "from": "2024-03-20", "data_through": "2024-07-01"}, False),
    ("churn", (*MONEY, "identity_edges"), {"period": "month", "stitch": "graph"}, False),
    ("customer_summary", MONEY, {"calibration_end": "2024-04-05", "unit": "week"} | BERLIN, False),
    ("customer_summary", ("transactions=cdnow",), {"E1": "1997-09-30", "freq_multiplier": 7}, False),
    ("rfm", (*MONEY, "identity_edges"), {"buckets": 3} | BERLIN, False),
    ("clv", ("transactions=cdnow",), {"end": "1997-09-30", "discount": 0.01, "horizon": 10}, False),
    ("clv", ("transactions=cdnow",), {"end": "1997-09-30", "model": "pareto_nbd"}, False),
    ("clv", MONEY, {"accept_weak_fit": True}, False),
    ("profile", (*EVENTS, *MONEY, "identity_edges"), BERLIN, True),
    ("profile", EVENTS, {"as_of": "2024-04-20"}, False),
    ("usage", ("ingested", "stored", "queried"), BERLIN, True),
    ("usage", ("stored",), {"from": "2024-03-30", "through": "2024-05-01"}, False),
    ("operations", LOGS, {"max_paths": 2, "bucket": 86_400}, True),
    ("operations", ("router",), {"by_path": False, "error_from": 404, "from": START + 1}, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "params"),
    [
        pytest.param(name, given, params, id=f"{name}-{index}", marks=() if fast else pytest.mark.slow)
        for index, (name, given, params, fast) in enumerate(CASES)
    ],
)
def test_both_engines_report_the_same_on_customers(
    duck: DuckEngine, spark: SparkEngine, name: str, given: tuple[str, ...], params: dict[str, Any]
) -> None:
    known = tables(name)
    inputs = {item.partition("=")[0]: known[item.partition("=")[2] or item] for item in given}
    one, other = (run_analysis(name, engine, inputs, params) for engine in (duck, spark))
    assert one.tables.keys() == other.tables.keys()
    assert any(table.num_rows for table in one.tables.values())
    for output, table in one.tables.items():
        assert table.schema == other.tables[output].schema
        for left, right in zip(table.to_pylist(), other.tables[output].to_pylist(), strict=True):
            assert all(same(left[key], right[key]) for key in left), (output, left, right)
    assert one.manifest["result_hash"] == other.manifest["result_hash"]
    assert one.manifest["rows_excluded"] == other.manifest["rows_excluded"]
