"""The warehouse: commits, snapshots, widening, checkpoints, compaction, deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from addon.models.tables import Column, TableRef
from addon.warehouse.delta import CHECKPOINT_EVERY
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.view import view_sql
from platform_core.base.errors import NotFound

REF = TableRef(7, "shop", "events")


@pytest.fixture
def warehouse(tmp_path: Path) -> DeltaWarehouse:
    return DeltaWarehouse(tmp_path / "warehouse")


def put(warehouse: DeltaWarehouse, segment: int, *texts: str, ref: TableRef = REF) -> int:
    lines = Lines(pa.array(texts, pa.string()), pa.array([9] * len(texts), pa.int64()))
    return warehouse.commit(warehouse.prepare(ref, lines), "w", segment).rows


def rows(warehouse: DeltaWarehouse, columns: str = "*", version: int | None = None) -> list[tuple[Any, ...]]:
    snapshot = warehouse.snapshot(REF, version)
    assert snapshot is not None
    sql = view_sql(snapshot, [str(path) for path in snapshot.files])
    return duckdb.sql(f"select {columns} from ({sql}) order by all").fetchall()  # noqa: S608 - test


def test_a_table_without_commits_has_no_snapshot(warehouse: DeltaWarehouse) -> None:
    assert warehouse.snapshot(REF) is None


def test_a_snapshot_names_its_files_rows_and_time_range(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"time":5,"a":1}', '{"time":3,"a":2}')
    put(warehouse, 2, '{"time":8}')
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert (snapshot.rows, snapshot.min_time, snapshot.max_time, len(snapshot.files)) == (3, 3, 8, 2)
    assert [column.name for column in snapshot.columns] == ["time", "a"]
    assert snapshot.bytes == sum(path.stat().st_size for path in snapshot.files)
    assert pq.read_table(snapshot.files[0])["time"].to_pylist() == [3, 5]


def test_a_repeated_segment_adds_nothing_also_after_a_restart(warehouse: DeltaWarehouse) -> None:
    assert put(warehouse, 3, '{"a":1}') == 1
    assert put(warehouse, 3, '{"a":1}') == 0
    assert put(DeltaWarehouse(warehouse.root), 3, '{"a":1}') == 0
    assert put(DeltaWarehouse(warehouse.root), 4, '{"a":2}') == 1
    assert rows(warehouse, "a") == [(1,), (2,)]


def test_two_instances_of_one_writer_cannot_commit_a_segment_twice(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"a":1}')
    other = DeltaWarehouse(warehouse.root)
    assert not other.committed(REF, "w", 2)
    assert put(warehouse, 2, '{"a":2}') == 1
    assert put(other, 2, '{"a":2}') == 0
    assert rows(other, "a") == [(1,), (2,)]


def test_an_old_version_can_be_pinned_and_a_missing_one_says_so(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"a":1}')
    first = warehouse.snapshot(REF)
    put(warehouse, 2, '{"a":2}')
    assert first is not None
    assert rows(warehouse, "a", first.version) == [(1,)]
    with pytest.raises(NotFound):
        warehouse.snapshot(REF, 999)


def test_a_widened_column_reads_right_from_any_files(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"a":1}')
    put(warehouse, 2, '{"a":2.5}', '{"a":3}', '{"a":"x"}')
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert [column.type for column in snapshot.columns] == ["long", "double"]
    assert rows(warehouse, "a") == [(1.0,), (2.5,), (3.0,), (None,)]
    for path in snapshot.files:
        one = duckdb.sql(view_sql(snapshot, [str(path)]))
        assert one.columns == ["time", "a"]
    assert duckdb.sql(view_sql(snapshot, [])).fetchall() == []


def test_declaring_another_type_brings_the_misfits_back(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"status":200}')
    put(warehouse, 2, '{"status":"n/a"}', '{"status":{"b":1}}')
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert rows(warehouse, "status") == [(200,), (None,), (None,)]
    retyped = [Column("status", "string", stored=(("status", "long"),))]
    declared = type(snapshot)(REF, 0, snapshot.files, retyped, 3, 0)
    texts = duckdb.sql(view_sql(declared, [str(path) for path in snapshot.files])).fetchall()
    assert sorted(texts) == [("200",), ("n/a",), ('{"b":1}',)]


def test_names_with_quotes_paths_and_case_twins_are_kept(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"user Id":1,"it\'s":2,"A":3,"a":4,"x/y":5,"_overflow":6}')
    assert rows(warehouse, '"user_id", "it_s", "a", "x_y", "_overflow_2"') == [(1, 2, 3, 5, 6)]
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert pq.read_table(snapshot.files[0])["_overflow"].to_pylist() == ['{"a":4}']
    assert {column.name: column.original for column in snapshot.columns}["user_id"] == "user Id"


def test_columns_beyond_the_limit_stay_in_the_overflow(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, "{" + ",".join(f'"k{n}":{n}' for n in range(600)) + "}")
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert len(snapshot.columns) == 512
    (text,) = pq.read_table(snapshot.files[0])["_overflow"].to_pylist()
    assert text.startswith('{"k511":511,')


def test_commits_go_on_over_checkpoints_and_reopening(warehouse: DeltaWarehouse) -> None:
    for segment in range(1, CHECKPOINT_EVERY + 6):
        put(warehouse, segment, '{"a":1}')
    assert list((warehouse.folder(REF) / "_delta_log").glob("*.checkpoint.parquet"))
    again = DeltaWarehouse(warehouse.root)
    assert put(again, CHECKPOINT_EVERY, '{"a":1}') == 0
    assert len(rows(again, "a")) == CHECKPOINT_EVERY + 5


def test_compaction_keeps_every_row_and_every_segment_number(warehouse: DeltaWarehouse) -> None:
    for segment in range(1, 41):
        put(warehouse, segment, f'{{"a":{segment},"time":{100 - segment}}}')
    before = rows(warehouse)
    old = warehouse.snapshot(REF)
    assert warehouse.compact(REF) == 40
    assert rows(warehouse) == before
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert old is not None
    assert len(snapshot.files) == 1
    assert all(path.exists() for path in old.files)  # a running query still reads its own snapshot
    assert put(warehouse, 40, '{"a":1}') == 0
    assert put(warehouse, 41, '{"a":41}') == 1


def test_a_half_written_log_entry_is_set_aside(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"a":1}')
    log = warehouse.folder(REF) / "_delta_log"
    newest = max(log.glob("*.json"))
    torn = log / f"{int(newest.stem) + 1:020d}.json"
    torn.write_bytes(newest.read_bytes()[:20])
    again = DeltaWarehouse(warehouse.root)
    assert put(again, 2, '{"a":2}') == 1
    assert rows(again, "a") == [(1,), (2,)]


def test_a_flipped_page_is_an_error_for_a_checking_reader(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, *(f'{{"text":"{n:064x}"}}' for n in range(200)))
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    path = snapshot.files[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 8
    path.write_bytes(bytes(data))
    with pytest.raises(OSError, match=r"CRC|checksum|could not verify"):
        pq.ParquetFile(path, page_checksum_verification=True).read()


def test_dropping_leaves_nothing_on_disk(warehouse: DeltaWarehouse) -> None:
    marker = "zzmarkerzz"
    put(warehouse, 1, f'{{"a":"{marker}"}}')
    other = TableRef(7, "shop", "others")
    put(warehouse, 1, '{"a":1}', ref=other)
    warehouse.drop(REF)
    assert warehouse.snapshot(REF) is None
    assert warehouse.snapshot(other) is not None
    assert not any(
        marker.encode() in path.read_bytes() for path in warehouse.root.rglob("*") if path.is_file()
    )
    assert put(warehouse, 1, '{"a":2}') == 1
    warehouse.drop_account(7)
    assert [path for path in warehouse.root.rglob("*") if path.is_file()] == []
    assert warehouse.snapshot(other) is None
