"""Customer reports beside their peers: retention beside ClickHouse, the summary beside lifetimes and polars.

Every peer reads the same Parquet file. Ours also checks the input (NULL keys, times out of range, repeated
keys) and hashes the file and the result for the manifest. Results are compared before any time is reported;
lifetimes reads its frame before its clock starts, polars reads the file as ours does. `SLUICE_BENCH_LARGE=1`
adds 20 million transactions and 50 million events.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
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

NAME = "customers"
MILLION: Final = 1_000_000
LARGE: Final = bool(os.environ.get("SLUICE_BENCH_LARGE"))
ROUNDS: Final = 3
START: Final = 1_699_833_600  # a Monday
WEEKS: Final = 12
PEERS: Final = Path(__file__).parents[2] / ".venv" / "peers" / "bin" / "python"

#: Every user's weeks, once each; then who of each cohort was there at each age.
RETENTION: Final = """
SELECT cohort, age, count() FROM (
    SELECT min(w) AS cohort, arrayJoin(arrayMap(x -> x - min(w), groupUniqArray(w))) AS age
    FROM (SELECT user_id, intDiv(intDiv(time, 86400) + 3, 7) AS w FROM file('{file}', Parquet))
    GROUP BY user_id
) GROUP BY cohort, age ORDER BY cohort, age
"""
LIFETIMES: Final = """
import json, sys, time, pandas, lifetimes
import pyarrow.parquet
from lifetimes.utils import summary_data_from_transaction_data
data = pyarrow.parquet.read_table(sys.argv[1]).to_pandas()
data["date"] = pandas.to_datetime(data["time"], unit="s")
begun = time.perf_counter()
found = summary_data_from_transaction_data(
    data, "customer_id", "date", monetary_value_col="amount_minor", freq="D"
)
seconds = time.perf_counter() - begun
sums = [float(found[name].sum()) for name in ("frequency", "recency", "T", "monetary_value")]
print("RESULT" + json.dumps([seconds, lifetimes.__version__, len(found), sums]))
"""
POLARS: Final = """
import json, sys, time, polars as pl
begun = time.perf_counter()
data = pl.scan_parquet(sys.argv[1]).with_columns(day=pl.col("time") // 86400)
end = data.select(pl.col("day").max()).collect().item()
day, money = pl.col("day"), pl.col("amount_minor")
found = (
    data.group_by("customer_id", "day").agg(money.sum())
    .group_by("customer_id").agg(
        frequency=pl.len().cast(pl.Int64) - 1, recency=day.max() - day.min(), T=end - day.min(),
        repeats=money.sum() - money.sort_by("day").first(),
    )
    .with_columns(
        monetary=pl.when(pl.col("frequency") > 0).then(pl.col("repeats") / pl.col("frequency")).otherwise(0.0)
    )
    .sort("customer_id").collect()
)
seconds = time.perf_counter() - begun
sums = [float(found[name].sum()) for name in ("frequency", "recency", "T", "monetary")]
print("RESULT" + json.dumps([seconds, pl.__version__, found.height, sums]))
"""


def figures() -> list[Figure]:
    """Measure retention by week and the customer summary, on a million rows, and on many where asked."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        counts = (MILLION, 50 * MILLION) if LARGE else (MILLION,)
        found += [_retention(_write(Path(folder), "events", rows), rows // MILLION) for rows in counts]
        small = _write(Path(folder), "transactions", MILLION)
        found.append(_summary(small, 1, LIFETIMES, "lifetimes", "<= 0.4 x peer"))
        found.append(_summary(small, 1, POLARS, "polars", "<= 1 x peer"))
        if LARGE:
            large = _write(Path(folder), "transactions", 20 * MILLION)
            found.append(_summary(large, 20, POLARS, "polars", "<= 1 x peer"))
    return found


def _write(folder: Path, table: str, rows: int) -> Path:
    """Rows in the order of time, as a log has them, of 6 users for 100 rows, from one seed."""
    file = folder / f"{table}_{rows}.parquet"
    rng = np.random.default_rng(2026)
    span = WEEKS * 7 * 86_400
    writer: pq.ParquetWriter | None = None
    for begin in range(0, rows, MILLION):
        low, high = START + span * begin // rows, START + span * (begin + MILLION) // rows
        users = pa.array([f"u{user}" for user in rng.integers(0, rows * 6 // 100, MILLION)])
        times = np.sort(rng.integers(low, high, MILLION))
        columns: dict[str, Any] = {
            "customer_id": users,
            "time": times,
            "amount_minor": rng.integers(1, 20_000, MILLION),
        }
        if table == "events":
            names = pa.array(np.array(["view", "cart", "buy"])[rng.integers(0, 3, MILLION)])
            columns = {
                "user_id": users,
                "time": times,
                "seq": np.arange(begin, begin + MILLION),
                "event": names,
            }
        part = pa.table(columns)
        writer = writer or pq.ParquetWriter(file, part.schema)
        writer.write_table(part)
    if writer is not None:
        writer.close()
    return file


def _retention(file: Path, millions: int) -> Figure:
    try:
        chdb = importlib.import_module("chdb")
    except ImportError as error:
        raise RuntimeError("chdb is missing: `make bench` installs it") from error
    engine = DuckEngine()

    def ours() -> list[tuple[int, int]]:
        table = run_analysis("retention", engine, {"events": file}, {"period": "week"}).tables["retention"]
        return [(row["age"], row["users"]) for row in table.to_pylist() if row["users"]]

    def peer() -> list[tuple[int, int]]:
        lines = str(chdb.query(RETENTION.format(file=file), "CSV")).splitlines()
        return [(int(line.split(",")[1]), int(line.split(",")[2])) for line in lines]

    if (mine := ours()) != (theirs := peer()):
        raise RuntimeError(f"the retentions differ: {mine[:5]} is not {theirs[:5]}")
    medians = interleaved({"ours": timed(ours), "peer": timed(peer)}, ROUNDS)
    engine.close()
    return Figure.measured(
        f"customers.retention_week_{millions}m",
        medians["ours"],
        "s",
        bar="<= 1 x peer",
        peer=f"chdb {chdb.__version__} groupUniqArray",
        peer_value=medians["peer"],
    )


def _summary(file: Path, millions: int, script: str, name: str, bar: str) -> Figure:
    engine = DuckEngine()

    def ours() -> tuple[int, list[float]]:
        table = run_analysis("customer_summary", engine, {"transactions": file}).tables["customer_summary"]
        numbers = ("frequency", "recency", "T", "monetary_minor")
        return table.num_rows, [float(np.sum(table.column(column).to_numpy())) for column in numbers]

    (rows, mine), (_, version, their_rows, theirs) = ours(), _peer(script, file)
    if rows != their_rows or not np.allclose(mine, theirs, rtol=1e-9):
        raise RuntimeError(f"the summaries differ: {rows} {mine} is not {their_rows} {theirs}")
    variants: dict[str, Callable[[], float]] = {"ours": timed(ours), "peer": lambda: _peer(script, file)[0]}
    medians = interleaved(variants, ROUNDS)
    engine.close()
    return Figure.measured(
        f"customers.summary_{millions}m_{name}",
        medians["ours"],
        "s",
        bar=bar,
        peer=f"{name} {version}",
        peer_value=medians["peer"],
    )


def _peer(script: str, file: Path) -> tuple[float, str, int, list[float]]:
    """The peer's own seconds, its version, its rows and their sums."""
    if not PEERS.exists():
        raise RuntimeError("the peers are missing: `make bench` installs them")
    done = subprocess.run(
        [str(PEERS), "-c", script, str(file)], capture_output=True, text=True, check=True, timeout=900
    )
    seconds, version, rows, sums = json.loads(done.stdout.partition("RESULT")[2])
    return seconds, version, rows, sums
