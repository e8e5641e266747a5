"""A Spark cluster of two workers against one local core: the same funnel on the same files, results compared.

The master and both workers are processes on this machine, with one core and one executor each, so the machine
needs two cores for itself. 50 million events; `BENCH_SPARK_ROWS=2000000` in the environment asks for fewer.
Each side is a driver in a process of its own; before the clock starts, its session is up and has run a funnel
on a small file.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.figures import Figure
from tests.contracts.spark_driver import SparkDriver
from tests.spark_cluster import spark_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "spark"
ROWS: Final = int(os.environ.get("BENCH_SPARK_ROWS", "50000000"))
PIECE: Final = 1_000_000
STEPS: Final = ("view", "cart", "checkout", "purchase")
FUNNEL: Final[dict[str, Any]] = {"steps": list(STEPS), "window": 86_400}
MEMORY: Final = "2g"
ONE_CORE: Final = "-XX:ActiveProcessorCount=1"
"""Java gives its compilers and its collector as many threads as it sees cores, whatever Spark is told."""
SETTINGS: Final = {
    "spark.executor.memory": "1536m",
    "spark.driver.memory": MEMORY,
    "spark.executor.extraJavaOptions": ONE_CORE,
    "spark.sql.shuffle.partitions": str(max(8, ROWS // PIECE)),
}
"""The same for both sides: a driver with local[1] has the memory that one executor and its driver have."""
USUAL: Final = {
    "spark.sql.codegen.wholeStage": "true",
    "spark.sql.shuffle.partitions": SETTINGS["spark.sql.shuffle.partitions"],
}


def figures() -> list[Figure]:
    """Measure one funnel on both, one after the other: side by side they would share the cores."""
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as name:
        folder = Path(name)
        files = _write(folder / "events")
        quiet = {
            "SLUICE_SPARK_SHARED": name,
            "SPARK_SUBMIT_OPTS": ONE_CORE,
            "SPARK_LOCAL_DIRS": f"{name}/local",
        }
        alone, expected = _measure(folder, files, quiet | {"SLUICE_SPARK_MASTER": "local[1]"})
        with spark_cluster(folder / "cluster", memory=MEMORY) as cluster:
            together, found = _measure(folder, files, quiet | {"SLUICE_SPARK_MASTER": cluster.url})
    if found != expected:
        raise RuntimeError(f"the results differ: {found} is not {expected}")
    rows = f"{ROWS // PIECE}m"
    return [
        Figure.measured(
            f"spark.two_workers_{rows}",
            ROWS / together,
            "events/s",
            bar=">= 1.5 x peer",
            peer="Spark on local[1]",
            peer_value=ROWS / alone,
        )
    ]


def _write(folder: Path) -> list[Path]:
    """Events of a month, 6 users for 100 rows, one seed, a file for each million, in the order of seq."""
    folder.mkdir()
    rng = np.random.default_rng(2026)
    kinds = np.array([*STEPS, "other"])
    files = []
    for start in range(0, ROWS, PIECE):
        count = min(PIECE, ROWS - start)
        piece = {
            "user_id": np.char.add("u", rng.integers(0, max(ROWS * 6 // 100, 1), count).astype(str)),
            "time": rng.integers(1_700_000_000, 1_702_592_000, count),
            "seq": np.arange(start, start + count),
            "event": kinds[rng.choice(5, count, p=[0.4, 0.2, 0.1, 0.05, 0.25])],
        }
        files.append(folder / f"{start // PIECE:05}.parquet")
        pq.write_table(pa.table(piece), files[-1])
    return files


def _measure(folder: Path, files: list[Path], environment: Mapping[str, str]) -> tuple[float, str]:
    """Return the seconds of the run and the hash of its result."""
    small = folder / "small.parquet"
    pq.write_table(pq.read_table(files[0]).slice(0, 20_000), small)
    with SparkDriver(folder, SETTINGS, **environment) as driver:
        _run(driver, [small])
        begun = time.perf_counter()
        digest = _run(driver, files)
        return time.perf_counter() - begun, digest


def _run(driver: SparkDriver, files: list[Path]) -> str:
    outcome = driver.run("funnel", {"events": files}, FUNNEL, **USUAL)
    if outcome.error:
        raise RuntimeError(f"the funnel fails: {outcome.error}\n{driver.said()[-2000:]}")
    return str(outcome.manifest["result_hash"])
