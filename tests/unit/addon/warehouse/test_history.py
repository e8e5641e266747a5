"""Time travel: every version of the kept window reads as it was, however the log was cleaned meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from addon.models.tables import TableRef
from addon.warehouse import delta as delta_module
from addon.warehouse.delta import DeltaLog
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.versions import Versions
from addon.warehouse.view import view_sql
from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

REF = TableRef(7, "shop", "events")
HOUR = 3600.0


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = 2_000_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def warehouse(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> DeltaWarehouse:
    """A warehouse whose Delta logs are cleaned at each checkpoint, and whose checkpoints come often."""
    monkeypatch.setattr(delta_module, "CHECKPOINT_EVERY", 5)
    monkeypatch.setattr(
        delta_module,
        "_SETTINGS",
        {"delta.logRetentionDuration": "interval 0 seconds", "delta.enableExpiredLogCleanup": "true"},
    )
    return DeltaWarehouse(tmp_path / "warehouse", keep_s=24 * HOUR, clock=clock)


def put(warehouse: DeltaWarehouse, segment: int, text: str) -> None:
    """Commit one row."""
    lines = Lines(pa.array([text]), pa.array([segment], pa.int64()))
    warehouse.commit(warehouse.prepare(REF, lines), "w", segment)


def rows(
    warehouse: DeltaWarehouse, version: int | None = None, columns: str = "*"
) -> list[tuple[object, ...]]:
    """Rows of a version, as a query sees them."""
    snapshot = warehouse.snapshot(REF, version)
    assert snapshot is not None
    sql = view_sql(snapshot, [str(path) for path in snapshot.files])
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT {columns} FROM ({sql}) ORDER BY ALL").fetchall()  # noqa: S608 (of this test)


def newest(warehouse: DeltaWarehouse) -> int:
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    return snapshot.version


def test_every_version_reads_as_it_was_over_checkpoints_merges_and_new_columns(
    warehouse: DeltaWarehouse,
) -> None:
    seen: dict[int, list[tuple[object, ...]]] = {}
    for segment in range(1, 60):
        put(warehouse, segment, f'{{"c{segment // 20}":{segment}}}')
        if segment % 33 == 0:
            assert warehouse.compact(REF)
        seen[newest(warehouse)] = rows(warehouse)
    logs = {path.name for path in (warehouse.folder(REF) / "_delta_log").glob("*.json")}
    assert len(logs) < 20  # Delta itself has forgotten the old ones
    for reader in (warehouse, DeltaWarehouse(warehouse.root)):
        for version, expected in list(seen.items())[::4]:
            assert rows(reader, version) == expected, version


def test_history_goes_on_when_the_log_was_cleaned_by_somebody_else(warehouse: DeltaWarehouse) -> None:
    for segment in range(1, 4):
        put(warehouse, segment, f'{{"a":{segment}}}')
    other = DeltaTable(warehouse.folder(REF))
    other.create_checkpoint()
    other.cleanup_metadata()
    for segment in range(4, 20):
        put(warehouse, segment, f'{{"a":{segment}}}')
    top = newest(warehouse)
    assert rows(warehouse, top - 3, "a") == [(n,) for n in range(1, 17)]
    with pytest.raises(NotFound, match="not any more"):
        warehouse.snapshot(REF, 1)


def test_a_version_is_found_by_its_time(warehouse: DeltaWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    times: dict[int, int] = {}
    settle = DeltaLog.settle

    def noting(log: DeltaLog, table: DeltaTable, before: int) -> None:
        for entry in table.history(1):
            times[table.version()] = entry["timestamp"]
        settle(log, table, before)

    monkeypatch.setattr(DeltaLog, "settle", noting)
    for segment in range(1, 30):
        put(warehouse, segment, '{"a":1}')
    versions = Versions(warehouse)
    for version, at in times.items():
        last = max(one for one, other in times.items() if other <= at)
        assert versions.at(REF, at / 1000) == last, version
    assert versions.at(REF, 4e9) == newest(warehouse)
    with pytest.raises(NotFound, match="of that time"):
        versions.at(REF, 1e9)


def test_files_stay_as_long_as_a_version_of_the_window_or_a_pin_names_them(
    warehouse: DeltaWarehouse, clock: Clock
) -> None:
    versions = Versions(warehouse)
    for segment in range(1, 41):
        put(warehouse, segment, f'{{"a":{segment}}}')
    before = newest(warehouse)
    assert warehouse.compact(REF) == 40
    versions.pin(REF, "month-end", 20)
    info = versions.pins(REF)[0]
    assert (info.name, info.version, info.rows) == ("month-end", 20, 20)
    expected = rows(warehouse, 20)
    clock.at = warehouse.folder(REF).stat().st_mtime + 23 * HOUR
    assert warehouse.sweep() == 0
    assert len(rows(warehouse, before)) == 40
    clock.at += 2 * HOUR
    assert warehouse.sweep() == 20
    with pytest.raises(NotFound):
        warehouse.snapshot(REF, before)
    assert rows(warehouse, 20) == expected
    assert rows(DeltaWarehouse(warehouse.root), 20) == expected
    versions.unpin(REF, "month-end")
    clock.at += 25 * HOUR
    assert warehouse.sweep() == 20
    assert len(list(warehouse.folder(REF).glob("*.parquet"))) == 1
    assert len(rows(warehouse)) == 40


def test_old_history_goes_and_the_window_stays_readable(warehouse: DeltaWarehouse, clock: Clock) -> None:
    for segment in range(1, 150):
        put(warehouse, segment, '{"a":1}')
    history = warehouse.folder(REF) / "_sluice" / "history"
    kept = len(list(history.iterdir()))
    clock.at = warehouse.folder(REF).stat().st_mtime + 48 * HOUR
    put(warehouse, 150, '{"a":1}')
    (warehouse.folder(REF) / "w-orphan.parquet").write_bytes(b"of a flush that was interrupted")
    assert warehouse.sweep() == 1
    assert len(list(history.iterdir())) < kept / 2
    assert len(rows(warehouse, newest(warehouse) - 1)) == 149


def test_pins_have_plain_names_and_are_not_overwritten(warehouse: DeltaWarehouse) -> None:
    versions = Versions(warehouse)
    with pytest.raises(NotFound):
        versions.pin(REF, "early", None)
    put(warehouse, 1, '{"a":1}')
    versions.pin(REF, "one", None)
    with pytest.raises(Conflict):
        versions.pin(REF, "one", None)
    for bad in ("", "../x", "A", "x" * 65, "a/b"):
        with pytest.raises(InvalidInput):
            versions.pin(REF, bad, None)
    with pytest.raises(NotFound):
        versions.pin(REF, "two", 99)
    with pytest.raises(NotFound):
        versions.unpin(REF, "none")


def test_a_table_made_anew_has_no_history_of_the_old_one(warehouse: DeltaWarehouse) -> None:
    for segment in range(1, 12):
        put(warehouse, segment, '{"a":1}')
    Versions(warehouse).pin(REF, "old", None)
    warehouse.drop(REF)
    put(warehouse, 20, '{"b":2}')
    assert Versions(warehouse).pins(REF) == []
    with pytest.raises(NotFound):
        warehouse.snapshot(REF, 9)
