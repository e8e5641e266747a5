"""Funnel, and sessions with their paths, beside ClickHouse on the same Parquet file, results compared first.

A million rows; `BENCH_JOURNEYS_ROWS=50000000` in the environment asks for more. Ours also checks the input
(NULL keys, times out of range, repeated keys), hashes the file for the manifest, and computes every output
column of the contract; the peer computes what is compared.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "journeys"
ROWS: Final = int(os.environ.get("BENCH_JOURNEYS_ROWS", "1000000"))
PIECE: Final = 1_000_000
STEPS: Final = ("view", "cart", "checkout", "purchase")
WINDOW_S: Final = 86_400
TIMEOUT_S: Final = 1_800
ROUNDS: Final = 5 if ROWS <= PIECE else 1
_ORDER: Final = "OVER (PARTITION BY user_id ORDER BY time, seq)"


def figures() -> list[Figure]:
    """Measure funnels on rows in the order of seq and on shuffled ones, then sessions and paths."""
    with tempfile.TemporaryDirectory() as folder:
        plain, shuffled = Path(folder) / "events.parquet", Path(folder) / "shuffled.parquet"
        _write(plain, shuffle=False)
        _write(shuffled, shuffle=True)
        return [
            _figure("funnel", _funnel(plain), "<= 0.5 x peer"),
            _figure("funnel_shuffled", _funnel(shuffled), "<= 0.5 x peer"),
            _figure("paths", _paths(shuffled), "<= 1 x peer"),
        ]


def _write(file: Path, *, shuffle: bool) -> None:
    """Events of a month, 6 users for 100 rows, one seed; written in pieces, so that any number fits."""
    rng = np.random.default_rng(2026)
    seqs = rng.permutation(ROWS) if shuffle else np.arange(ROWS)
    kinds = np.array([*STEPS, "other"])
    columns = {"user_id": pa.string(), "time": pa.int64(), "seq": pa.int64(), "event": pa.string()}
    with pq.ParquetWriter(file, pa.schema(columns)) as writer:
        for start in range(0, ROWS, PIECE):
            seq = seqs[start : start + PIECE]
            piece = {
                "user_id": np.char.add("u", rng.integers(0, max(ROWS * 6 // 100, 1), len(seq)).astype(str)),
                "time": rng.integers(1_700_000_000, 1_702_592_000, len(seq)),
                "seq": seq,
                "event": kinds[rng.choice(5, len(seq), p=[0.4, 0.2, 0.1, 0.05, 0.25])],
            }
            writer.write_table(pa.table(piece))


def _figure(name: str, sides: dict[str, Callable[[], Any]], bar: str) -> Figure:
    """Compare what all sides find, then time them in turns; the peer that counts is the fastest."""
    results = {side: run() for side, run in sides.items()}
    if any(result != results["ours"] for result in results.values()):
        raise RuntimeError(f"{name}: the results differ: {results}")
    medians = interleaved({side: timed(run) for side, run in sides.items()}, ROUNDS)
    best = min((side for side in medians if side != "ours"), key=medians.__getitem__)
    return Figure.measured(
        f"journeys.{name}_{ROWS // PIECE}m",
        medians["ours"],
        "s",
        bar=bar,
        peer=best,
        peer_value=medians[best],
    )


def _ours(name: str, events: Path, params: dict[str, Any]) -> Callable[[], dict[str, pa.Table]]:
    """The analysis on an engine that is up before the clock starts, as the peer's is."""
    engine = DuckEngine()
    return lambda: run_analysis(name, engine, {"events": events}, params).tables


def _chdb() -> Any:
    try:
        return importlib.import_module("chdb")
    except ImportError as error:
        raise RuntimeError("chdb is missing: `make bench` installs it") from error


def _funnel(events: Path) -> dict[str, Callable[[], Any]]:
    """The peer's default order rule is our ties = step."""
    conditions = ", ".join(f"event = '{step}'" for step in STEPS)
    sql = (
        f"SELECT level, count() FROM (SELECT user_id, windowFunnel({WINDOW_S})(toUInt64(time), {conditions})"  # noqa: S608 - fixed text
        f" AS level FROM file('{events}', Parquet) GROUP BY user_id) WHERE level > 0"
        " GROUP BY level ORDER BY level"
    )
    chdb = _chdb()

    def peer() -> list[int]:
        levels = [int(line.split(",")[1]) for line in str(chdb.query(sql, "CSV")).splitlines()]
        return [sum(levels[step:]) for step in range(len(levels))]

    params = {"steps": list(STEPS), "window": WINDOW_S, "ties": "step"}
    run = _ours("funnel", events, params)
    return {
        "ours": lambda: run()["funnel"].column("entities").to_pylist(),
        f"chdb {chdb.__version__} windowFunnel": peer,
    }


def _paths(events: Path) -> dict[str, Callable[[], Any]]:
    """Sessions cut and their collapsed paths counted: the ten most frequent ones."""
    cut = (
        f"SELECT *, sum(opens) {_ORDER} AS session FROM (SELECT user_id, time, seq, event,"  # noqa: S608 - fixed text
        f" if(row_number() {_ORDER} = 1 OR time - lagInFrame(time) {_ORDER} > {TIMEOUT_S}, 1, 0) AS opens"
        f" FROM file('{events}', Parquet))"
    )
    sql = (
        "SELECT arrayStringConcat(arraySlice(steps, 1, 10), ' > ') AS path, count() AS n FROM (SELECT"  # noqa: S608 - fixed text
        " arrayCompact(arrayMap(x -> x.3, arraySort(groupArray((time, seq, event))))) AS steps"
        f" FROM ({cut}) GROUP BY user_id, session) GROUP BY path ORDER BY n DESC, path LIMIT 10"
    )
    chdb = _chdb()
    run = _ours("paths", events, {"timeout": TIMEOUT_S})

    def ours() -> list[tuple[str, int]]:
        rows = run()["paths"].slice(0, 10).to_pylist()
        return [(row["path"], row["entities"]) for row in rows]

    def peer() -> list[tuple[str, int]]:
        lines = str(chdb.query(sql, "TSV")).splitlines()
        return [(line.split("\t")[0], int(line.split("\t")[1])) for line in lines]

    return {"ours": ours, f"chdb {chdb.__version__}": peer}
