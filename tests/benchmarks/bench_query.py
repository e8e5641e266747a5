"""Queries: the sandboxed worker beside DuckDB in process, an hourly count beside ClickHouse, result encoding.

The worker runs in the real sandbox, warm, as it does for a tenant. The pieces take turns.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import msgpack

from addon.models.accounts import PLANS, Account, AccountState
from addon.query.worker import Reply, Request
from addon.query.worker_rows import CountingFile, projection, write_td_rows
from addon.query.workers import WorkerPool
from platform_core.base.clock import SystemClock
from platform_core.base.sandbox.client import SpawnerSandbox
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "query"
ROWS: Final = 8_000_000
RESULT_ROWS: Final = 200_000
ROUNDS: Final = 5
TRIPS: Final = 100
_THREADS: Final = 2
_DUCKDB: Final = f"duckdb {duckdb.__version__}, in process"
_HOURLY: Final = "select time // 3600 as hour, event, count(*) as n from {table} group by all order by all"
_RESULT: Final = """select i as id, case when i % 5 > 0 then 'user' || (i % 1000) end as name,
    timestamp '2026-01-01' + interval 1 second * i as at, (i / 100)::decimal(14, 2) as price
    from range(200000) t(i)"""


def figures() -> list[Figure]:
    """Measure the trip of `select 1`, an hourly count over 8 M rows, and 200 k result rows as msgpack."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        bench = _Bench(runner, Path(folder))
        bench.open()
        try:
            return [_round_trip(bench), _hourly_count(bench), _encoding()]
        finally:
            bench.close()


@dataclass
class _Bench:
    """A warm pool of workers over one file of events, usable from plain functions."""

    runner: asyncio.Runner
    home: Path

    def open(self) -> None:
        """Write the file, start the sandbox and one worker."""
        self.file = self.home / "warehouse" / "1" / "events.parquet"
        self.file.parent.mkdir(parents=True)
        with duckdb.connect() as connection:
            connection.execute(
                "copy (select 1767225600 + i // 4 as time, (hash(i) % 400000)::int as user_id,"  # noqa: S608  (our own path)
                " ['view', 'cart', 'purchase', 'search'][1 + (hash(i + 1) % 4)::int] as event"
                f" from range({ROWS}) t(i)) to '{self.file}' (compression zstd)"
            )
        self.account = Account(1, None, "bench", PLANS["standard"], AccountState.PROVISIONED, 0.0)
        self.sandbox = SpawnerSandbox()
        self.pool = WorkerPool(
            self.sandbox, self.home / "warehouse", self.home / "spill", SystemClock(), threads=_THREADS
        )
        self.runner.run(self.sandbox.start())
        self.runner.run(self.pool.start())
        self.ask("select 1")

    def close(self) -> None:
        """Stop what `open` started."""
        self.runner.run(self.pool.close())
        self.runner.run(self.sandbox.close())

    def ask(self, sql: str) -> Reply:
        """Run one query in a worker; its result is written and thrown away."""
        return self.runner.run(self._ask(sql))

    async def _ask(self, sql: str) -> Reply:
        descriptor = os.memfd_create("result", os.MFD_CLOEXEC)
        try:
            async with self.pool.lend(self.account) as worker:
                views = {"events": f"select * from read_parquet(['{worker.path_inside(self.file)}'])"}  # noqa: S608  (our own path)
                request = Request(sql, views, "td", 1 << 30)
                return await worker.run(request, descriptor, timeout_s=60, kill=asyncio.Event())
        finally:
            os.close(descriptor)


def _in_process(sql: str) -> Callable[[], object]:
    """Do what a worker does, without it: run, encode, write."""
    connection = duckdb.connect(config={"threads": _THREADS})

    def run() -> int:
        relation = connection.sql(sql)
        chosen = projection("td", relation.columns, [str(kind) for kind in relation.types])
        columns = ", ".join(f"c{index}" for index in range(len(relation.columns)))
        shaped = f"select {chosen} from ({sql}) as result({columns})"  # noqa: S608  (the benchmark's own text)
        return write_td_rows(connection.sql(shaped).to_arrow_reader(65_536), CountingFile(BytesIO(), 1 << 30))

    return run


def _round_trip(bench: _Bench) -> Figure:
    """Take the median trip of each kind; a single trip is too short to be worth one turn."""
    direct = _in_process("select 1")
    median = interleaved({"worker": timed(lambda: bench.ask("select 1")), "direct": timed(direct)}, TRIPS)
    return Figure.measured(
        "query.select_1_round_trip",
        median["worker"] * 1e3,
        "ms",
        bar="<= 10 ms",
        peer=_DUCKDB,
        peer_value=median["direct"] * 1e3,
    )


def _hourly_count(bench: _Bench) -> Figure:
    """Compare with ClickHouse in its own process-less form on the same file.

    Raises:
        RuntimeError: chdb is not installed, or it counts something else than we do.
    """
    try:
        chdb = importlib.import_module("chdb")
    except ImportError as error:
        raise RuntimeError(
            "chdb is not installed; `make bench` installs it from requirements/bench.txt"
        ) from error
    text = (
        f"SELECT intDiv(time, 3600) AS hour, event, count() AS n FROM file('{bench.file}', Parquet)"  # noqa: S608  (our own path)
        f" GROUP BY hour, event ORDER BY hour, event SETTINGS max_threads = {_THREADS}"
    )
    theirs = str(chdb.query(text, "CSV")).splitlines()
    sql = _HOURLY.format(table='"events"')
    ours = bench.ask(sql)
    if len(theirs) != ours.rows:
        raise RuntimeError(f"{len(theirs)} groups from chdb, {ours.rows} from the worker")
    variants: dict[str, Callable[[], Any]] = {
        "worker": timed(lambda: bench.ask(sql)),
        "chdb": timed(lambda: chdb.query(text, "CSV")),
    }
    median = interleaved(variants, ROUNDS)
    return Figure.measured(
        "query.hourly_count",
        ROWS / median["worker"],
        "rows/s",
        bar=">= 1.4 x peer",
        peer=f"chdb {importlib.import_module('importlib.metadata').version('chdb')}",
        peer_value=ROWS / median["chdb"],
    )


def _encoding() -> Figure:
    """Compare DuckDB's casts with turning every value in Python, both from the query to packed rows."""
    connection = duckdb.connect(config={"threads": _THREADS})

    def in_python() -> int:
        packed = 0
        for batch in connection.sql(_RESULT).to_arrow_reader(65_536):
            for row in batch.to_pylist():
                packed += len(msgpack.packb(list(row.values()), default=str))
        return packed

    median = interleaved({"casts": timed(_in_process(_RESULT)), "python": timed(in_python)}, ROUNDS)
    return Figure.measured(
        "query.result_rows_msgpack_gz",
        RESULT_ROWS / median["casts"],
        "rows/s",
        bar=">= 3 x peer",
        peer=f"to_pylist and msgpack {'.'.join(map(str, msgpack.version))}, uncompressed",
        peer_value=RESULT_ROWS / median["python"],
    )
