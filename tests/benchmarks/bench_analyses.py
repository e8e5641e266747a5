"""Analyses on a million rows: DuckDB beside ClickHouse on the same file, and beside Spark on this machine.

Results are compared before any time is reported.
"""

from __future__ import annotations

import importlib
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.engines.duck import DuckEngine
from jobs.engines.spark import SparkEngine
from jobs.run.runner import run_analysis
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "analyses"
ROWS: Final = 1_000_000
USERS: Final = 60_000
STEPS: Final = ("view", "cart", "checkout", "purchase")
WINDOW_S: Final = 86_400
ROUNDS: Final = 7


def figures() -> list[Figure]:
    """Measure a 4-step funnel with a 1-day window, attribution and the customer summary."""
    with tempfile.TemporaryDirectory() as folder:
        files = _write_inputs(Path(folder))
        return [_funnel_beside_clickhouse(files["events"]), *_duckdb_beside_spark(files)]


def _write_inputs(folder: Path) -> dict[str, Path]:
    """A million events, touches and purchases each, 200,000 conversions, from one seed."""
    rng = np.random.default_rng(2026)
    users = np.array([f"u{index}" for index in range(USERS)])
    owner, time = users[rng.integers(0, USERS, ROWS)], rng.integers(1_700_000_000, 1_702_592_000, ROWS)
    events = np.array([*STEPS, "other"])[rng.choice(5, ROWS, p=[0.4, 0.2, 0.1, 0.05, 0.25])]
    channels = np.array(["search", "social", "email", "direct", "referral"])[rng.integers(0, 5, ROWS)]
    seq, some = np.arange(ROWS), slice(0, ROWS // 5)
    ids = np.char.add("c", np.arange(ROWS // 5).astype(str))
    buyers, money = users[rng.integers(0, USERS, ROWS // 5)], rng.integers(1, 20_000, ROWS)
    bought_at = rng.integers(1_700_000_000, 1_702_592_000, ROWS // 5)
    tables: dict[str, dict[str, Any]] = {
        "events": {"user_id": owner, "time": time, "seq": seq, "event": events},
        "touches": {"user_id": owner, "time": time, "seq": seq, "channel": channels},
        "conversions": {
            "conversion_id": ids,
            "user_id": buyers,
            "time": bought_at,
            "value_minor": money[some],
        },
        "transactions": {"customer_id": owner, "time": time, "amount_minor": money},
    }
    files = {}
    for name, columns in tables.items():
        files[name] = folder / f"{name}.parquet"
        pq.write_table(pa.table(columns), files[name])
    return files


def _funnel_beside_clickhouse(events: Path) -> Figure:
    """The peer's default order rule is our ties = step. Both engines are up before the clock starts.

    Ours also checks the input (NULL keys, times out of range, repeated keys), hashes the file for the
    manifest, and measures the times to convert; the peer only counts.
    """
    try:
        chdb = importlib.import_module("chdb")
    except ImportError as error:
        raise RuntimeError("chdb is missing: `make bench` installs it") from error
    conditions = ", ".join(f"event = '{step}'" for step in STEPS)
    sql = (
        f"SELECT level, count() FROM (SELECT user_id, windowFunnel({WINDOW_S})(toUInt64(time), {conditions})"  # noqa: S608 - fixed text
        f" AS level FROM file('{events}', Parquet) GROUP BY user_id) WHERE level > 0"
        " GROUP BY level ORDER BY level"
    )
    params = {"steps": list(STEPS), "window": WINDOW_S, "ties": "step"}

    engine = DuckEngine()

    def ours() -> list[int]:
        table = run_analysis("funnel", engine, {"events": events}, params).tables["funnel"]
        found: list[int] = table.column("entities").to_pylist()
        return found

    def peer() -> list[int]:
        levels = [int(line.split(",")[1]) for line in str(chdb.query(sql, "CSV")).splitlines()]
        return [sum(levels[step:]) for step in range(len(levels))]

    if (mine := ours()) != (theirs := peer()):
        raise RuntimeError(f"the funnels differ: {mine} is not {theirs}")
    medians = interleaved({"ours": timed(ours), "peer": timed(peer)}, ROUNDS)
    engine.close()
    return Figure.measured(
        "analyses.funnel_4_steps_1m",
        medians["ours"],
        "s",
        bar="<= 1 x peer",
        peer=f"chdb {chdb.__version__} windowFunnel",
        peer_value=medians["peer"],
    )


def _duckdb_beside_spark(files: dict[str, Path]) -> list[Figure]:
    """Each analysis on both engines, on the same files, with equal results."""
    cases: dict[str, tuple[str, dict[str, Path]]] = {
        "attribution_1m": ("attribution", {name: files[name] for name in ("touches", "conversions")}),
        "customer_summary_1m": ("customer_summary", {"transactions": files["transactions"]}),
    }
    found = []
    for label, (analysis, inputs) in cases.items():
        hashes: dict[str, str] = {}
        engines: dict[str, Callable[[], DuckEngine | SparkEngine]] = {
            "duckdb": DuckEngine,
            "spark": SparkEngine,
        }

        def run(name: str, analysis: str = analysis, inputs: dict[str, Path] = inputs) -> None:
            engine = engines[name]()  # noqa: B023 - the same in every turn
            try:
                manifest = run_analysis(analysis, engine, inputs).manifest
                hashes[name] = manifest["result_hash"]  # noqa: B023 - called inside this turn only
            finally:
                engine.close()

        medians = interleaved({name: timed(partial(run, name)) for name in engines}, 1)
        if hashes["duckdb"] != hashes["spark"]:
            raise RuntimeError(f"{analysis}: the engines' results differ")
        found.append(
            Figure.measured(
                f"analyses.{label}",
                medians["duckdb"],
                "s",
                bar="<= 1 x peer",
                peer=f"spark {SparkEngine.version} local[2]",
                peer_value=medians["spark"],
            )
        )
    return found
