"""Funnel, sessions, and sessions with their paths, beside ClickHouse and polars on the same Parquet file.

A million rows; `BENCH_JOURNEYS_ROWS=50000000` in the environment asks for more. Results are compared first.
Polars holds all events several times over: where the machine's memory is too small for that, it is left out.
Sessions are written to a Parquet file by every side, one row each. Ours also checks the input (NULL keys,
times out of range, repeated keys), hashes the file and the result for the manifest, and computes every output
column of the contract; a peer computes what is compared.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "journeys"
ROWS: Final = int(os.environ.get("BENCH_JOURNEYS_ROWS", "1000000"))
PIECE: Final = 1_000_000
STEPS: Final = ("view", "cart", "checkout", "purchase")
WINDOW_S: Final = 86_400
TIMEOUT_S: Final = 1_800
ROUNDS: Final = 5 if ROWS <= PIECE else 1
#: What polars took for an event, rounded up: 50 million were killed for want of memory at 23 GB.
POLARS_BYTES: Final = 600


def figures() -> list[Figure]:
    """Measure funnels on rows in the order of seq and on shuffled ones, then sessions and paths."""
    with tempfile.TemporaryDirectory() as folder:
        plain, shuffled = Path(folder) / "events.parquet", Path(folder) / "shuffled.parquet"
        _write(plain, shuffle=False)
        _write(shuffled, shuffle=True)
        return [
            _figure("funnel", _funnel(plain), "<= 0.5 x peer"),
            _figure("funnel_shuffled", _funnel(shuffled), "<= 0.5 x peer"),
            _figure("sessions", _sessions(shuffled, Path(folder)), "<= 1 x peer"),
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


def _ours(name: str, events: Path, params: dict[str, Any]) -> Callable[[], Mapping[str, pa.Table]]:
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


def _cut_by_arrays(events: Path) -> str:
    """ClickHouse: one row for each session, its events as an array; three times as fast as its windows."""
    return (
        "SELECT user_id, arrayJoin(arraySplit((x, opens) -> opens, all,"  # noqa: S608 - fixed text
        f" arrayMap((x, before) -> x.1 - before.1 > {TIMEOUT_S}, all,"
        " arrayPopBack(arrayPushFront(all, all[1]))))) AS steps"
        " FROM (SELECT user_id, arraySort(groupArray((time, seq, event))) AS all"
        f" FROM file('{events}', Parquet) GROUP BY user_id)"
    )


def _cut_by_polars(events: Path) -> pl.LazyFrame:
    """Polars: the events in order with the number of their session."""
    time, user = pl.col("time"), pl.col("user_id")
    opens = ((time - time.shift() > TIMEOUT_S) | (user != user.shift())).fill_null(value=True)
    ordered = pl.scan_parquet(events).sort("user_id", "time", "seq").with_columns(opens=opens)
    return ordered.with_columns(session=pl.col("opens").cum_sum())


def _sessions(events: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """Sessions as rows of a file, in the order of users; compared by their number and sums over them."""
    chdb, engine = _chdb(), DuckEngine()
    files = {side: folder / f"sessions_{side}.parquet" for side in ("chdb", "polars")}
    sql = (
        "SELECT user_id, steps[1].1 AS started_at, steps[-1].1 AS ended_at, length(steps) AS events,"  # noqa: S608 - fixed text
        " steps[1].3 AS entry_event, steps[-1].3 AS exit_event,"
        " arrayExists(x -> x.3 = 'purchase', steps) AS converted"
        f" FROM ({_cut_by_arrays(events)}) ORDER BY user_id, started_at"
        f" INTO OUTFILE '{files['chdb']}' TRUNCATE FORMAT Parquet"
    )

    def ours() -> list[int]:
        run_analysis("sessions", engine, {"events": events}, {"timeout": TIMEOUT_S}, folder / "ours")
        return _summed(folder / "ours" / "sessions.parquet")

    def by_chdb() -> list[int]:
        chdb.query(sql)
        return _summed(files["chdb"])

    def by_polars() -> list[int]:
        time, event = pl.col("time"), pl.col("event")
        _cut_by_polars(events).group_by("session", maintain_order=True).agg(
            pl.col("user_id").first(),
            started_at=time.first(),
            ended_at=time.last(),
            events=pl.len(),
            entry_event=event.first(),
            exit_event=event.last(),
            converted=(event == "purchase").any(),
        ).collect().write_parquet(files["polars"])
        return _summed(files["polars"])

    return {"ours": ours, f"chdb {chdb.__version__}": by_chdb} | _where_it_fits(by_polars)


def _where_it_fits(by_polars: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    """Polars as a peer, if this machine has the memory for it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < ROWS * POLARS_BYTES:
        print(f"polars is left out: {ROWS:,} events need more memory than there is", file=sys.stderr)  # noqa: T201 - told
        return {}
    return {f"polars {pl.__version__}": by_polars}


def _summed(file: Path) -> list[int]:
    """What sessions are compared by; a look of a moment at the file just written."""
    event_names = [pl.col(name) == "view" for name in ("entry_event", "exit_event")]
    sums = [pl.len(), pl.col("events").sum(), (pl.col("ended_at") - pl.col("started_at")).sum()]
    sums += [
        pl.col("started_at").sum(),
        pl.col("converted").cast(pl.Boolean).sum(),
        *(e.sum() for e in event_names),
    ]
    found = pl.scan_parquet(file).select(
        *(expression.cast(pl.Int64).alias(str(place)) for place, expression in enumerate(sums))
    )
    return [int(value) for value in found.collect().row(0)]


def _paths(events: Path) -> dict[str, Callable[[], Any]]:
    """Sessions cut and their collapsed paths counted: the ten most frequent ones."""
    sql = (
        "SELECT arrayStringConcat(arraySlice(arrayCompact(arrayMap(x -> x.3, steps)), 1, 10), ' > ') AS path,"  # noqa: S608 - fixed text
        f" count() AS n FROM ({_cut_by_arrays(events)}) GROUP BY path ORDER BY n DESC, path LIMIT 10"
    )
    chdb = _chdb()
    run = _ours("paths", events, {"timeout": TIMEOUT_S})

    def ours() -> list[tuple[str, int]]:
        rows = run()["paths"].slice(0, 10).to_pylist()
        return [(row["path"], row["entities"]) for row in rows]

    def peer() -> list[tuple[str, int]]:
        lines = str(chdb.query(sql, "TSV")).splitlines()
        return [(line.split("\t")[0], int(line.split("\t")[1])) for line in lines]

    def by_polars() -> list[tuple[str, int]]:
        event = pl.col("event")
        counted = (
            _cut_by_polars(events)
            .filter(pl.col("opens") | (event != event.shift()))
            .group_by("session", maintain_order=True)
            .agg(path=event.head(10).str.join(" > "))
            .group_by("path")
            .len()
            .sort(["len", "path"], descending=[True, False])
        )
        return [(path, int(n)) for path, n in counted.head(10).collect().rows()]

    return {"ours": ours, f"chdb {chdb.__version__}": peer} | _where_it_fits(by_polars)
