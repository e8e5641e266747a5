"""How analyses grow: seconds and resident memory of `python -m jobs run` on 1 and 10 million rows.

`SLUICE_BENCH_LARGE=1` adds 100 million. Every run is a process of its own with two threads and nothing else
set; its seconds are those of the whole process, its memory is the most that the kernel saw. The data come
from hashes of the row's number, so every run has the same. At 100 million rows they, the results and the
temporary files take up to 15 GB of the folder for temporary files. What is measured also goes to stderr at
once.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from tests.benchmarks.figures import Figure

NAME = "growth"
MILLION: Final = 1_000_000
SIZES: Final = (1, 10, 100) if os.environ.get("SLUICE_BENCH_LARGE") else (1, 10)
#: Comma-separated names of analyses, to measure only these.
CHOSEN: Final = tuple(filter(None, os.environ.get("BENCH_GROWTH_ONLY", "").split(",")))
ROOT: Final = Path(__file__).parents[2]
GIB: Final = 1 << 30
KIB: Final = 1 << 10
#: Ten times the rows may take so many times ten times the seconds: the noise of a machine.
LINEAR: Final = "<= 1.15 x peer"
MEMORY: Final = "<= 4 GiB"

#: Sessions of five events, one event a minute or so; six users for a hundred events; a month.
EVENTS: Final = """
SELECT
    'user ' || (h(i // 5) % {users}) AS user_id,
    CAST(1700000000 + h(i // 5 + 1000000007) % 2592000 + (i % 5) * (30 + h(i) % 60) AS BIGINT) AS time,
    i AS seq,
    ['view', 'view', 'view', 'search', 'cart', 'cart', 'checkout', 'purchase'][1 + h(i + 17) % 8] AS event
FROM range({rows}) AS rows(i)
"""
TRANSACTIONS: Final = """
SELECT
    'customer ' || (h(i) % {users}) AS customer_id,
    CAST(1700000000 + i * 7257600 // {rows} AS BIGINT) AS time,
    CAST(1 + h(i + 5) % 20000 AS BIGINT) AS amount_minor
FROM range({rows}) AS rows(i)
"""
#: One to nine touches of twelve channels, some far more frequent than others.
PATHS: Final = """
SELECT
    list_aggregate(
        list_transform(
            range(1 + h(i) % 9),
            lambda k: 'channel ' || CAST(FLOOR(12 * POW((h(i * 16 + k) % 1000) / 1000, 3)) AS INTEGER)
        ), 'string_agg', ' > '
    ) AS path,
    CAST(h(i + 3) % 3 AS BIGINT) AS conversions,
    CAST((h(i + 3) % 3) * (100 + h(i + 7) % 8900) AS BIGINT) AS value_minor,
    CAST(h(i + 11) % 4 AS BIGINT) AS nulls
FROM range({rows}) AS rows(i)
"""
TABLES: Final = {"events": EVENTS, "transactions": TRANSACTIONS, "paths": PATHS}

RUNS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "funnel": (
        "funnel",
        "events",
        {"steps": ["view", "cart", "checkout", "purchase"], "window": 86_400, "ties": "step"},
    ),
    "sessions": ("sessions", "events", {}),
    "paths": ("paths", "events", {}),
    "retention_week": ("retention", "events", {"period": "week"}),
    "customer_summary": ("customer_summary", "transactions", {}),
    "heuristics": ("attribution", "paths", {"models": ["first", "last", "linear"]}),
    "markov": ("attribution", "paths", {"models": ["markov"]}),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: the process's seconds and the most memory it held, in bytes."""

    seconds: float
    memory: int


def figures() -> list[Figure]:
    """Run every analysis on every size; a size is held against a tenth of it."""
    found: list[Figure] = []
    before: dict[str, Measured] = {}
    for millions in SIZES:
        with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
            for table in TABLES:
                runs = {name: run for name, run in RUNS.items() if run[1] == table and _is_chosen(name)}
                if not runs:
                    continue
                file = _write(Path(folder), table, millions * MILLION)
                for name, (analysis, _, params) in runs.items():
                    now = _run(Path(folder), analysis, table, file, params)
                    found += _figures(f"growth.{name}_{millions}m", now, before.get(name))
                    _tell(name, millions, now, before.get(name))
                    before[name] = now
                file.unlink()
    return found


def _is_chosen(name: str) -> bool:
    return not CHOSEN or name in CHOSEN


def _write(folder: Path, table: str, rows: int) -> Path:
    file = folder / f"{table}.parquet"
    sql = TABLES[table].format(rows=rows, users=rows * 6 // 100)
    with duckdb.connect(
        config={"threads": 2, "memory_limit": "2GB", "temp_directory": str(folder / "spill")}
    ) as db:
        db.execute("CREATE MACRO h(x) AS CAST(hash(x) >> 2 AS BIGINT)")
        db.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
    return file


def _run(folder: Path, analysis: str, table: str, file: Path, params: dict[str, Any]) -> Measured:
    """Run the program to its end; what it wrote is removed."""
    out, errors = folder / "out", folder / "errors"
    command = [sys.executable, "-m", "jobs", "run", analysis, "--input", f"{table}={file}"]
    command += ["--params", json.dumps(params), "--out", str(out)]
    environment = os.environ | {"SLUICE_DUCKDB_THREADS": "2", "TMPDIR": str(folder)}
    begun = time.perf_counter()
    with errors.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=stream
        )
        # Unlike `wait`, it tells of this child alone.
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{analysis} on {file}: {errors.read_text()[-2_000:]}")
    shutil.rmtree(out)
    return Measured(seconds, usage.ru_maxrss * KIB)


def _figures(name: str, now: Measured, before: Measured | None) -> list[Figure]:
    found = [Figure.measured(f"{name}_memory", now.memory / GIB, "GiB", bar=MEMORY)]
    if before is not None:
        peer, tenfold = "ten runs on a tenth", 10 * before.seconds
        found.append(Figure.measured(name, now.seconds, "s", bar=LINEAR, peer=peer, peer_value=tenfold))
    return found


def _tell(name: str, millions: int, now: Measured, before: Measured | None) -> None:
    exponent = "" if before is None else f"  exponent {math.log10(now.seconds / before.seconds):.2f}"
    rate = millions * MILLION / now.seconds
    sys.stderr.write(
        f"  {name:<17}{millions:>4} M rows {now.seconds:8.1f} s {rate:12,.0f} rows/s"
        f" {now.memory / GIB:6.2f} GiB{exponent}\n"
    )
    sys.stderr.flush()
