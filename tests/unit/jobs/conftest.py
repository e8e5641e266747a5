"""A DuckDB engine, and runs over rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from jobs.engines.duck import DuckEngine
from jobs.run.runner import RunResult, run_analysis

Rows = Sequence[Mapping[str, Any]]
Run = Callable[..., RunResult]


@pytest.fixture(scope="session")
def duck() -> Iterator[DuckEngine]:
    engine = DuckEngine(threads=1)
    yield engine
    engine.close()


def arrow(rows: Rows, columns: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in columns.items()})


COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "events": {"user_id": pa.string(), "time": pa.int64(), "seq": pa.int64(), "event": pa.string()},
    "touches": {"user_id": pa.string(), "time": pa.int64(), "seq": pa.int64(), "channel": pa.string()},
    "conversions": {
        "conversion_id": pa.string(),
        "user_id": pa.string(),
        "time": pa.int64(),
        "value_minor": pa.int64(),
    },
    "paths": {
        "path": pa.string(),
        "conversions": pa.int64(),
        "value_minor": pa.int64(),
        "nulls": pa.int64(),
    },
    "transactions": {"customer_id": pa.string(), "time": pa.int64(), "amount_minor": pa.int64()},
    "items": {"item": pa.string(), "segment": pa.string(), "period_start": pa.int64(), "value": pa.int64()},
}


@pytest.fixture(scope="session")
def run(duck: DuckEngine) -> Run:
    """Run an analysis on rows: run(name, {table: rows}, params). Extra keys of the rows become columns."""

    def call(name: str, inputs: Mapping[str, Rows], params: Mapping[str, Any] | None = None) -> RunResult:
        tables = {}
        for table, rows in inputs.items():
            extra = {key for row in rows for key in row} - set(COLUMNS.get(table, {}))
            kinds = COLUMNS.get(table, {}) | {
                key: pa.array([row.get(key) for row in rows]).type for key in sorted(extra)
            }
            tables[table] = arrow(rows, kinds)
        return run_analysis(name, duck, tables, params)

    return call
