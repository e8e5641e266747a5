"""The slow walk: orphans go also where nobody writes or reads, some tables a round; no failure stops it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from addon.models.tables import TableRef
from addon.provisioning.sweeps import Sweeps
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.warehouse.delta import DeltaLog
from addon.warehouse.store import DeltaWarehouse, Lines
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3_600.0
REFS = [TableRef(number % 2 + 1, "shop", f"table{number}") for number in range(5)]


class House:
    """Five tables that another process wrote; the sweeping one has opened none of them."""

    def __init__(self, home: Path) -> None:
        self.clock = FixedClock(1_800_000_000.0)
        self.database = Database(f"sqlite:///{home}/addon.db")
        self.database.migrate()
        self.catalog = SqlCatalog(self.database, self.clock)
        self.root = home / "warehouse"
        writer = DeltaWarehouse(self.root, places=self.catalog.place, clock=self.clock)
        for ref in REFS:
            self.catalog.ensure_table(ref)
            lines = Lines(pa.array(['{"n":1}']), pa.array([1], pa.int64()))
            writer.commit(writer.prepare(ref, lines), "w", 1)
        writer.close()
        self.warehouse = DeltaWarehouse(
            self.root, places=self.catalog.place, clock=self.clock, keep_s=24 * HOUR
        )

    def orphan(self, ref: TableRef, age_s: float) -> Path:
        path = self.warehouse.folder(ref) / "w-00000000000000000009-0123456789abcdef.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of a flush that was interrupted")
        os.utime(path, (self.clock.now() - age_s,) * 2)
        return path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.warehouse.close()
    made.database.close()


def test_orphans_of_tables_that_nobody_touches_go_a_few_tables_a_round(house: House) -> None:
    old = [house.orphan(ref, 25 * HOUR) for ref in REFS]
    sweeps = Sweeps(house.catalog, house.warehouse, most=2)
    left = []
    for _ in range(3):
        sweeps.round()
        left.append(sum(path.exists() for path in old))
    assert left == [3, 1, 0]
    again = house.orphan(REFS[0], 25 * HOUR)
    sweeps.round()
    assert not again.exists(), "after the last table the walk begins anew"
    for ref in REFS:
        snapshot = house.warehouse.snapshot(ref)
        assert snapshot is not None
        assert all(path.exists() for path in snapshot.files)


def test_a_young_file_stays_it_may_be_about_to_be_committed(house: House) -> None:
    young = house.orphan(REFS[0], 23 * HOUR)
    Sweeps(house.catalog, house.warehouse).round()
    assert young.exists()


def test_files_of_a_table_that_never_had_a_commit_go_too(house: House) -> None:
    ref = TableRef(1, "shop", "never")
    house.catalog.ensure_table(ref)
    staged = house.orphan(ref, 25 * HOUR)
    Sweeps(house.catalog, house.warehouse).round()
    assert not staged.exists()


def test_a_table_that_fails_does_not_keep_the_others_from_their_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [house.orphan(ref, 25 * HOUR) for ref in REFS]
    sweep = DeltaLog.sweep

    def failing(log_: DeltaLog, keep_s: float, now: float) -> int:
        if log_.prefix.endswith("table1"):
            raise OSError(5, "the disk is unwell")
        return sweep(log_, keep_s, now)

    monkeypatch.setattr(DeltaLog, "sweep", failing)
    Sweeps(house.catalog, house.warehouse).round()
    assert [path.exists() for path in old] == [False, True, False, False, False]


def test_a_sweep_is_due_at_first_then_only_while_something_is_left(house: House) -> None:
    house.orphan(REFS[0], HOUR)
    with house.warehouse.locked(REFS[0]) as log_:
        now, keep = house.clock.now(), 24 * HOUR
        assert log_.sweeping.is_due(keep, now)
        assert log_.sweep(keep, now) == 0
        assert not log_.sweeping.is_due(keep, now + HOUR - 1)
        assert log_.sweeping.is_due(keep, now + HOUR), "the young file may be old enough by then"
        assert log_.sweep(keep, now + keep) == 1
        assert not log_.sweeping.is_due(keep, now + 100 * keep), "nothing is left"
        log_.sweeping.note_replaced()
        assert log_.sweeping.is_due(keep, now + keep + HOUR)
