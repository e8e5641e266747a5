"""Tables for a cluster to read: a warehouse with a past, in a folder or a bucket; Arrow tables as files."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import S3Store

from addon.models.catalog import TableInfo
from addon.models.tables import TableRef
from addon.query.dialects import compile_query
from addon.query.service import Prepared, Query, _Pinned
from addon.query.spark_place import spark_place, write_pinned
from addon.query.td_functions import Times
from addon.warehouse.store import DeltaWarehouse, Lines
from jobs.contracts.pinned import SUFFIX, Pinned, PinnedColumn, PinnedFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from addon.models.objects import ObjectStore
    from tests.object_servers import ObjectServer

REF = TableRef(7, "shop", "events")
PIECES = 4
_TYPES = {pa.int64(): "BIGINT", pa.string(): "VARCHAR", pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN"}


def fill(objects: ObjectStore | Path, rows: Sequence[dict[str, Any]]) -> DeltaWarehouse:
    """Commit rows in several pieces; merge them; ``price`` is widened on the way."""
    warehouse = DeltaWarehouse(objects)
    for segment in range(PIECES):
        commit(warehouse, segment, rows[segment::PIECES])
        if segment == 1:
            warehouse.compact(REF)
    return warehouse


def commit(warehouse: DeltaWarehouse, segment: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows to the table."""
    lines = pa.array(
        [json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows]
    )
    times = pa.array([0] * len(rows), pa.int64())
    warehouse.commit(warehouse.prepare(REF, Lines(lines, times)), "w", segment)


def pin(warehouse: DeltaWarehouse, sql: str, file: Path, **environment: str) -> bool:
    """Write the document of what a query stands for, as the service does; tell whether there is one."""
    compiled = compile_query(sql, "duckdb", 7, "shop", lambda _ref: True, Times(0, 0))
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    info = TableInfo(
        1, "shop", "events", 0, (), tuple(snapshot.columns), True, False, False, None, None, None, 0.0, 0.0
    )
    pinned = {name: _Pinned(info, snapshot, None) for name in compiled.views}
    place = spark_place({"SLUICE_SPARK_MASTER": "spark://127.0.0.1:1", **environment})
    assert place is not None
    query = Prepared(Query(sql, "duckdb", "shop"), compiled, pinned)
    return write_pinned(query, warehouse, place, file, 3600) is not None


def as_files(tables: dict[str, pa.Table], folder: Path) -> dict[str, Path]:
    """Write tables as Parquet files."""
    folder.mkdir(exist_ok=True, parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=100)
    return {name: folder / f"{name}.parquet" for name in tables}


def as_objects(tables: dict[str, pa.Table], server: ObjectServer, folder: Path) -> dict[str, Path]:
    """Put tables into the bucket, each in two objects, and write the documents that name these."""
    folder.mkdir(exist_ok=True, parents=True)
    place = server.place("")
    store = S3Store(place.bucket, **place.config(), client_options={"allow_http": True})  # type: ignore[arg-type]
    documents = {}
    for name, table in tables.items():
        files = []
        for number, piece in enumerate((table.slice(0, len(table) // 2), table.slice(len(table) // 2))):
            local = folder / f"{name}-{number}.parquet"
            pq.write_table(piece, local, row_group_size=100)
            digest = hashlib.sha256(local.read_bytes()).hexdigest()[:16]
            key = f"{folder.name}/{name}-{number}-{digest}.parquet"
            obstore.put(store, key, local)
            files.append(PinnedFile(local.name, local.stat().st_size, f"s3://{place.bucket}/{key}"))
            local.unlink()
        columns = [
            PinnedColumn(f.name, _TYPES[f.type], ((f.name, _TYPES[f.type]),)) for f in _typed(table).schema
        ]
        documents[name] = folder / f"{name}{SUFFIX}"
        documents[name].write_text(json.dumps(Pinned(name, 1, tuple(columns), tuple(files)).to_json()))
    return documents


def _typed(table: pa.Table) -> pa.Table:
    """A column of nothing but NULLs has no type of its own."""
    return table.cast(
        pa.schema([f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in table.schema])
    )


def aws(server: ObjectServer) -> dict[str, str]:
    """Return the environment by which a driver finds the bucket."""
    place = server.place("")
    return {
        "AWS_ENDPOINT": str(place.endpoint),
        "AWS_REGION": str(place.region),
        "AWS_ACCESS_KEY_ID": str(place.access_key),
        "AWS_SECRET_ACCESS_KEY": str(place.secret_key),
        "AWS_ALLOW_HTTP": "true",
    }
