"""Tables at scale: what merges cost, what a commit costs late in a table's life, what pruning saves.

- Write amplification: 100 M narrow rows in 1,000 commits, half a per mille of them late by up to a month,
  merged as the program merges; bytes that merges wrote per byte that flushes wrote.
- Commit latency: the median of the commits around number 5,000 against those around 100, with everything
  that goes with them by default (checkpoints, history, log clean-up, merges beside them).
- One day out of a hundred: a query on a table of 10,000 files against the same query on a table that has
  that day's 100 files alone, through compiler, pruning, and a sandboxed worker.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from addon.models.tables import TableRef
from addon.query.service import Query
from addon.warehouse.delta import DataFile
from addon.warehouse.parquet import write_parquet
from addon.warehouse.schema import seeded
from addon.warehouse.store import DeltaWarehouse
from tests.benchmarks.figures import Figure, interleaved
from tests.unit.addon.query.table_rig import Rig, table_rig

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "table"
_ROWS = int(float(os.environ.get("SLUICE_BENCH_TABLE_ROWS", "100e6")))
_PER_COMMIT = 100_000
_COMMITS = 5_000
_SPAN = 100
"""Commits whose latency is one sample of the trend."""
_MERGE_EVERY = 32
_DAY = 86_400
_BEGIN = 1_700_006_400
_SEED = (("user", "long"), ("value", "double"))
_FILES, _DAYS = 10_000, 100
_QUERY = "SELECT count(*), sum(value) FROM {} WHERE TD_TIME_RANGE(time, {}, {})"


def figures() -> list[Figure]:
    """Measure the three."""
    with tempfile.TemporaryDirectory(prefix="bench-table-") as scratch:
        home = Path(scratch)
        found = [*_amplification(home / "amplification"), _latency(home / "latency")]
        return [*found, *asyncio.run(_pruning(home / "pruning"))]


def _merge(warehouse: DeltaWarehouse, ref: TableRef) -> None:
    while warehouse.compact(ref):
        pass


def _resident() -> float:
    """Return the resident memory in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _batches(chance: np.random.Generator) -> Iterator[pa.Table]:
    now = _BEGIN
    for _ in range(_ROWS // _PER_COMMIT):
        times = np.sort(now + chance.integers(0, 900, _PER_COMMIT))
        now += 860
        late = chance.random(_PER_COMMIT) < 0.0005
        times[late] -= chance.integers(0, 30 * _DAY, late.sum())
        users = chance.integers(0, 1_000_000, _PER_COMMIT)
        values = np.round(chance.gamma(2, 10, _PER_COMMIT), 2)
        yield pa.table({"time": times, "user": users, "value": values})


def _amplification(home: Path) -> list[Figure]:
    warehouse, ref = DeltaWarehouse(home), TableRef(1, "bench", "events")
    written, spent, before, most = 0, 0.0, _resident(), 0.0
    for segment, rows in enumerate(_batches(np.random.default_rng(1)), start=1):
        prepared = warehouse.prepare(ref, None, rows, _SEED)
        file = warehouse.write(prepared, f"w-{segment:020d}")
        warehouse.commit_files(ref, [file], prepared.schema, "w", segment)
        written += file.size
        if segment % _MERGE_EVERY == 0:
            began = time.perf_counter()
            _merge(warehouse, ref)
            spent += time.perf_counter() - began
            most = max(most, _resident())
    snapshot = warehouse.snapshot(ref)
    if snapshot is None or snapshot.rows != _ROWS // _PER_COMMIT * _PER_COMMIT:
        raise AssertionError("rows were lost or doubled")
    merged = warehouse.rewriter.merged_bytes
    shutil.rmtree(home)
    return [
        Figure.measured(
            "table.write_amplification",
            merged / written,
            "x",
            bar="<= 3 x",
        ),
        Figure.measured("table.files_after_100M_rows", len(snapshot.files), "files", bar="<= 250 files"),
        Figure.measured("table.merge_speed", merged / 2**20 / spent, "MiB/s", bar=">= 5 MiB/s"),
        Figure.measured("table.merge_memory", max(most - before, 1.0), "MiB", bar="<= 250 MiB"),
    ]


def _latency(home: Path) -> Figure:
    """Commit tiny files, merging beside them; the log and the history grow as they do in life."""
    warehouse, ref = DeltaWarehouse(home), TableRef(1, "bench", "events")
    times = np.arange(100, dtype=np.int64)
    taken = []
    for segment in range(1, _COMMITS + 1):
        rows = pa.table({"time": _BEGIN + segment * 100 + times, "user": times, "value": times / 7})
        prepared = warehouse.prepare(ref, None, rows, _SEED)
        began = time.perf_counter()
        warehouse.commit(prepared, "w", segment)
        taken.append(time.perf_counter() - began)
        if segment % _MERGE_EVERY == 0:
            _merge(warehouse, ref)
    shutil.rmtree(home)
    early = statistics.mean(taken[50 : 50 + _SPAN])
    late = statistics.mean(taken[-_SPAN:])
    return Figure.measured(
        "table.commit_at_5000",
        late * 1000,
        "ms",
        peer="the same table at 100 commits",
        peer_value=early * 1000,
        bar="<= 1.5 x peer",
    )


def _fill(rig: Rig, table: str, days: range) -> None:
    """Commit 100 files a day, as one commit a day; a day's files are copies of one file's rows."""
    ref, schema = rig.ref(table), seeded(_SEED)
    rig.catalog.ensure_table(ref)
    folder = rig.warehouse.folder(ref)
    per_day = _FILES // _DAYS
    step = _DAY // per_day
    for day in days:
        files = []
        for part in range(per_day):
            begin = _BEGIN + day * _DAY + part * step
            times = np.arange(begin, begin + step, 2, dtype=np.int64)
            rows = pa.table(
                {
                    "time": times,
                    "user": times % 999,
                    "value": times % 7 / 4,
                    "_overflow": pa.nulls(len(times), pa.string()),
                }
            )
            draft = rig.warehouse.objects.scratch / f"{uuid.uuid4().hex}.tmp"
            digest = write_parquet(rows, draft)
            name = f"w-{day * per_day + part:020d}-{digest[:16]}.parquet"
            size = rig.warehouse.objects.put_file(f"{folder.relative_to(rig.warehouse.root)}/{name}", draft)
            files.append(DataFile(name, size, len(times), int(times[0]), int(times[-1])))
        rig.segment += 1
        done = rig.warehouse.commit_files(ref, files, schema, "w", rig.segment)
        rig.catalog.record_flush(ref, done.columns, done.rows, done.last_time)


async def _pruning(home: Path) -> list[Figure]:
    await asyncio.to_thread(home.mkdir)
    async with table_rig(home) as rig:
        day = _DAYS // 2
        await asyncio.to_thread(_fill, rig, "many", range(_DAYS))
        await asyncio.to_thread(_fill, rig, "day", range(day, day + 1))
        first = _BEGIN + day * _DAY
        sql = {table: _QUERY.format(table, first, first + _DAY) for table in ("many", "day")}
        answers = [await rig.ask(text) for text in sql.values()]
        if answers[0] != answers[1] or answers[0][0][0] != _DAY // 2:
            raise AssertionError(f"the answers differ: {answers}")
        loop = asyncio.get_running_loop()

        def asked(text: str) -> float:
            began = time.perf_counter()
            asyncio.run_coroutine_threadsafe(_ask(rig, text), loop).result()
            return time.perf_counter() - began

        variants = {table: lambda text=text: asked(text) for table, text in sql.items()}
        medians = await asyncio.to_thread(interleaved, variants, 41)
        return [
            Figure.measured(
                "table.one_day_of_10000_files",
                medians["many"] * 1000,
                "ms",
                peer="100 files of that day alone",
                peer_value=medians["day"] * 1000,
                bar="<= 1.3 x peer",
            )
        ]


async def _ask(rig: Rig, sql: str) -> None:
    descriptor = os.memfd_create("result")
    try:
        await rig.service.execute(rig.account, Query(sql, "trino", "shop"), descriptor, asyncio.Event())
    finally:
        os.close(descriptor)
