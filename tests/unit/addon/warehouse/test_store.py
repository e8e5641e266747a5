"""The warehouse: commits, snapshots, widening, checkpoints, compaction, deletion."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from addon.models.tables import Column, TableRef
from addon.warehouse.compaction import carry_out
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


def test_replaced_and_orphaned_files_go_after_the_grace_and_not_before(tmp_path: Path) -> None:
    warehouse = DeltaWarehouse(tmp_path / "warehouse", keep_s=3600)
    for segment in range(1, 41):
        put(warehouse, segment, f'{{"a":{segment}}}')
    pinned = warehouse.snapshot(REF)
    assert pinned is not None
    before = rows(warehouse)
    warehouse.compact(REF)
    orphan = warehouse.folder(REF) / "w-00000000000000000099.parquet"
    orphan.write_bytes(b"of a flush that was interrupted")
    assert warehouse.sweep() == 0
    assert all(path.exists() for path in pinned.files)
    warehouse._keep_s = 0
    assert warehouse.sweep() == 41
    assert rows(warehouse) == before
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert sorted(warehouse.folder(REF).glob("*.parquet")) == snapshot.files
    with pytest.raises(NotFound, match="merged and deleted"):
        warehouse.snapshot(REF, pinned.version)


def test_a_written_file_that_is_committed_later_is_not_swept(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1, '{"a":1}')
    lines = Lines(pa.array(['{"a":2}']), pa.array([9], pa.int64()))
    prepared = warehouse.prepare(REF, lines)
    file = warehouse.write(prepared, "part")
    assert warehouse.write(prepared, "part") == file  # equal bytes, equal name
    warehouse.sweep()
    assert rows(warehouse, "a") == [(1,)]
    assert warehouse.commit_files(REF, [file], prepared.schema, "bulk", 1).rows == 1
    warehouse._keep_s = 0
    assert warehouse.sweep() == 0
    assert rows(warehouse, "a") == [(1,), (2,)]


def test_many_files_become_visible_in_one_commit_and_once(warehouse: DeltaWarehouse) -> None:
    schema, files = None, []
    for number in range(3):
        lines = Lines(
            pa.array([f'{{"a":{number},"time":{number},"c{number}":1}}']), pa.array([9], pa.int64())
        )
        prepared = warehouse.prepare(REF, lines, base=schema)
        schema = prepared.schema
        files.append(warehouse.write(prepared, f"part-{number}"))
    assert schema is not None
    assert warehouse.snapshot(REF) is None
    done = warehouse.commit_files(REF, files, schema, "bulk", 1)
    assert (done.rows, done.last_time) == (3, 2)
    assert warehouse.commit_files(REF, files, schema, "bulk", 1).rows == 0
    assert rows(warehouse, "a, c0, c1, c2") == [(0, 1, None, None), (1, None, 1, None), (2, None, None, 1)]
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert snapshot.version == 1


def test_a_table_dropped_while_its_files_are_merged_stays_dropped(
    warehouse: DeltaWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for segment in range(1, 41):
        put(warehouse, segment, '{"a":1}')

    def dropping(*args: Any) -> Any:
        done = carry_out(*args)
        warehouse.drop(REF)
        put(warehouse, 41, '{"b":2}')
        return done

    monkeypatch.setattr("addon.warehouse.rewriting.carry_out", dropping)
    assert warehouse.compact(REF) == 0
    assert rows(warehouse, "b") == [(2,)]
    assert len(list(warehouse.folder(REF).glob("*.parquet"))) == 1


def test_commits_and_snapshots_go_on_while_files_are_merged(
    warehouse: DeltaWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for segment in range(1, 41):
        put(warehouse, segment, f'{{"a":{segment}}}')

    def committing(*args: Any) -> Any:
        other = threading.Thread(target=put, args=(warehouse, 41, '{"a":41}'))
        other.start()
        other.join(20)
        assert not other.is_alive()
        return carry_out(*args)

    monkeypatch.setattr("addon.warehouse.rewriting.carry_out", committing)
    assert warehouse.compact(REF) == 40
    assert rows(warehouse, "a") == [(n,) for n in range(1, 42)]
    assert put(DeltaWarehouse(warehouse.root), 41, '{"a":0}') == 0


def test_workers_of_another_uid_can_read_whatever_the_umask(warehouse: DeltaWarehouse) -> None:
    before = os.umask(0o077)
    try:
        put(warehouse, 1, '{"a":1}')
    finally:
        os.umask(before)
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    folder = warehouse.folder(REF)
    modes = {path: path.stat().st_mode & 0o777 for path in [*folder.parents[:3], folder, *snapshot.files]}
    assert set(modes.values()) == {0o755, 0o644}
    assert modes[folder] == 0o755


def test_plain_delta_readers_see_the_same_rows(warehouse: DeltaWarehouse) -> None:
    for segment in range(1, CHECKPOINT_EVERY + 10):
        put(warehouse, segment, f'{{"time":{segment},"a":{segment},"user Id":"x"}}', '{"a":"misfit"}')
    put(warehouse, 100, '{"a":0.5}')
    warehouse.compact(REF)
    warehouse.sweep()
    put(warehouse, 101, '{"a":7,"time":5}')
    count = 2 * (CHECKPOINT_EVERY + 9) + 2
    table = DeltaTable(str(warehouse.folder(REF)))
    read = pa.table(table.to_pyarrow_table())
    assert read.num_rows == count == len(rows(warehouse))
    assert {"time", "a", "a__double", "user_id", "_overflow"} <= set(read.column_names)
    assert read.schema.field("time").type == pa.int64()
    early = DeltaTable(str(warehouse.folder(REF))).to_pyarrow_table(filters=[("time", "<=", 3)])
    assert sorted(early["time"].to_pylist()) == [1, 2, 3]
    files = {Path(uri).name for uri in table.file_uris()}
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert files == {path.name for path in snapshot.files}
    assert DeltaTable(str(warehouse.folder(REF))).transaction_version("w") == 101


def test_a_whole_number_that_a_widened_column_would_round_is_kept(warehouse: DeltaWarehouse) -> None:
    big = 2**53 + 1
    put(warehouse, 1, '{"a":1}')
    put(warehouse, 2, '{"a":2.5}', f'{{"a":{big}}}', f'{{"a":{2**64}}}')
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    stored = pq.read_table(snapshot.files[-1])
    assert sorted(filter(None, stored["a"].to_pylist())) == [big]
    assert stored["a__double"].to_pylist().count(2.5) == 1
    # 2^64 is exact in binary64, so it is a double; nothing went to the overflow.
    assert 2.0**64 in stored["a__double"].to_pylist()
    assert stored["_overflow"].null_count == 3
