"""Readers that know nothing of us get the same rows: delta-spark, polars, deltalake, DuckDB on the files.

The table has been through all that happens to one: many flushes, new columns, a widened column, misfits,
merges, deleted rows, checkpoints and a cleaned log.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder

from addon.models.tables import TableRef
from addon.query.java import java_home
from addon.warehouse import delta as delta_module
from addon.warehouse.store import DeltaWarehouse, Lines

if TYPE_CHECKING:
    from pathlib import Path

REF = TableRef(7, "shop", "events")
DELTA_SPARK = "io.delta:delta-spark_4.2_2.13:4.4.0"
"""The newest there is: for Spark 4.2. Its own snapshot code does not run on Spark 4.3 (a constructor that it
calls is gone), so Spark reads by its other half, the connector that is built on Delta Kernel."""
EXCLUDED = (
    "com.fasterxml.jackson.core:*", "com.fasterxml.jackson.datatype:*", "com.fasterxml.jackson.module:*",
    "com.github.luben:*", "com.google.code.findbugs:*", "commons-logging:*", "commons-pool:*",
    "io.airlift:*", "javax.annotation:*", "org.antlr:*", "org.apache.hadoop:*",
    "org.apache.logging.log4j:*", "org.apache.parquet:*", "org.locationtech.jts:*", "org.roaringbitmap:*",
    "org.slf4j:*", "org.xerial.snappy:*",
)  # fmt: skip
"""What Spark has of its own."""
COLUMNS = ("time", "n", "path", "price", "price__double", "late", "_overflow")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DeltaWarehouse:
    """A table with a past."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta_module, "CHECKPOINT_EVERY", 10)
        settings = {
            "delta.logRetentionDuration": "interval 0 seconds",
            "delta.enableExpiredLogCleanup": "true",
        }
        patch.setattr(delta_module, "_SETTINGS", settings)
        warehouse = DeltaWarehouse(tmp_path_factory.mktemp("outside") / "warehouse")
        for segment in range(1, 76):
            _flush(warehouse, segment)
            if segment % 33 == 0:
                assert warehouse.compact(REF)
                _delete(warehouse, lambda n: n % 5 == 0)
    return warehouse


def _flush(warehouse: DeltaWarehouse, segment: int) -> None:
    rows: list[dict[str, Any]] = []
    for n in range(segment * 10, segment * 10 + 10):
        row: dict[str, Any] = {"time": 1_800_000_000 + n * 3_571 % 900_000, "n": n, "path": f"/p/{n % 4}/é"}
        row["price"] = n + 0.5 if segment > 20 and n % 3 else n
        if segment > 40:
            row["late"] = n % 2 == 0
        if n % 10 == 7:
            row["n"] = "no number"
        rows.append(row)
    lines = Lines(pa.array([json.dumps(row) for row in rows]), pa.array([0] * 10, pa.int64()))
    warehouse.commit(warehouse.prepare(REF, lines), "w", segment)


def _delete(warehouse: DeltaWarehouse, doomed: Any) -> None:
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    places = []
    for path in snapshot.files:
        values = pl.read_parquet(path)["n"].to_list()
        numbers = [place for place, n in enumerate(values) if n is not None and doomed(n)]
        if numbers:
            places.append((path.name, np.array(numbers)))
    assert warehouse.rewriter.delete_rows(REF, places)


def _expected() -> set[tuple[Any, ...]]:
    """The rows as they must be, from what was sent alone; NULLs are None."""
    rows = set()
    for segment in range(1, 76):
        for n in range(segment * 10, segment * 10 + 10):
            deleted_at = 33 if segment <= 33 else 66
            if n % 5 == 0 and n % 10 != 7 and segment <= deleted_at and segment <= 66:
                continue
            fraction = segment > 20 and n % 3 != 0
            widened = segment > 20
            rows.add(
                (
                    1_800_000_000 + n * 3_571 % 900_000,
                    None if n % 10 == 7 else n,
                    f"/p/{n % 4}/é",
                    float(n + 0.5 if fraction else n) if widened else float(n),
                    (n % 2 == 0) if segment > 40 else None,
                    '{"n":"no number"}' if n % 10 == 7 else None,
                )
            )
    return rows


def _logical(rows: Any) -> list[tuple[Any, ...]]:
    """Put the two parts of the widened column together, as the table's notes say."""
    found = []
    for time, n, path, price, wide, late, overflow in rows:
        value = wide if wide is not None else price
        found.append((time, n, path, None if value is None else float(value), late, overflow))
    return found


def _check(rows: Any) -> None:
    found = _logical(rows)
    assert len(found) == len(set(found))
    assert set(found) == _expected()


def test_plain_deltalake_reads_the_same_rows(warehouse: DeltaWarehouse) -> None:
    table = DeltaTable(warehouse.folder(REF))
    whole = QueryBuilder().register("t", table).execute(f"SELECT {', '.join(COLUMNS)} FROM t").read_all()  # noqa: S608 (names)
    whole = pa.table(whole)
    _check(zip(*(whole[name].to_pylist() for name in COLUMNS), strict=True))


@pytest.mark.parametrize("lazy", [False, True])
def test_polars_reads_the_same_rows(warehouse: DeltaWarehouse, *, lazy: bool) -> None:
    place = str(warehouse.folder(REF))
    frame = pl.scan_delta(place).select(COLUMNS).collect() if lazy else pl.read_delta(place).select(COLUMNS)
    _check(frame.iter_rows())
    if lazy:
        bound = 1_800_400_000
        some = pl.scan_delta(place).filter(pl.col("time") < bound).select(pl.len()).collect().item()
        assert some == sum(1 for row in _expected() if row[0] < bound)


def test_duckdb_reads_the_same_rows_from_the_active_files(warehouse: DeltaWarehouse) -> None:
    files = list(DeltaTable(warehouse.folder(REF)).file_uris())
    with duckdb.connect() as connection:
        relation = connection.read_parquet(files, union_by_name=True)
        _check(relation.select(*COLUMNS).fetchall())


def test_a_reader_of_a_pinned_version_is_not_disturbed_by_later_ones(
    warehouse: DeltaWarehouse, tmp_path: Path
) -> None:
    place = tmp_path / "warehouse" / warehouse.folder(REF).relative_to(warehouse.root)
    shutil.copytree(warehouse.folder(REF), place)  # the other tests read the table as it is
    going_on = DeltaWarehouse(tmp_path / "warehouse")
    assert going_on.folder(REF) == place
    files = DeltaTable(place).file_uris()
    for segment in range(76, 110):
        _flush(going_on, segment)
    assert going_on.compact(REF)
    with duckdb.connect() as connection:
        _check(connection.read_parquet(files, union_by_name=True).select(*COLUMNS).fetchall())


_SPARK = """
import json, sys
from pyspark.sql import SparkSession
place, package, excluded, columns = sys.argv[1:5]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars.packages", package)
    .config("spark.jars.excludes", excluded)
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.databricks.delta.v2.enableMode", "STRICT")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
rows = spark.sql(f"SELECT {columns} FROM delta.`{place}`").collect()
print("ROWS " + json.dumps([list(row) for row in rows]))
spark.stop()
"""


@pytest.mark.slow
def test_delta_spark_reads_the_same_rows(warehouse: DeltaWarehouse, tmp_path: Path) -> None:
    place = tmp_path / "copy"  # Spark may write beside it
    shutil.copytree(warehouse.folder(REF), place)
    expected = (
        QueryBuilder()
        .register("t", DeltaTable(place))
        .execute(
            f"SELECT {', '.join(COLUMNS)} FROM t"  # noqa: S608 (names)
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", _SPARK, str(place), DELTA_SPARK, ",".join(EXCLUDED), ", ".join(COLUMNS)],
        env=os.environ | {"JAVA_HOME": str(java_home()), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    line = next((line for line in done.stdout.splitlines() if "ROWS " in line), None)
    assert line is not None, done.stderr[-3000:]
    rows = [tuple(row) for row in json.loads(line.partition("ROWS ")[2])]
    whole = pa.table(expected.read_all())
    ours = list(zip(*(whole[name].to_pylist() for name in COLUMNS), strict=True))
    assert sorted(rows, key=repr) == sorted(ours, key=repr)
    assert len(rows) > 500
