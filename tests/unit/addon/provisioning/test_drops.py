"""A deleted table's files go with the call, or in time when that was cut short; never a newer table's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from addon.models.tables import TableRef
from addon.provisioning.drops import Drops
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.dropped import DroppedPlaces
from addon.warehouse.store import DeltaWarehouse, Lines
from platform_core.base import failpoints
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from pathlib import Path

REF = TableRef(1, "shop", "events")


def test_a_call_that_was_cut_short_is_finished_and_a_new_table_is_not_touched(tmp_path: Path) -> None:
    clock = FixedClock(1_800_000_000.0)
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    catalog = SqlCatalog(database, clock)
    warehouse = DeltaWarehouse(tmp_path / "warehouse", places=catalog.place)
    drops = Drops(DroppedPlaces(database), warehouse, clock)

    def put(number: int) -> None:
        catalog.ensure_table(REF)
        lines = Lines(pa.array([f'{{"n":{number}}}']), pa.array([number], pa.int64()))
        warehouse.commit(warehouse.prepare(REF, lines), "w", number)

    put(1)
    old = warehouse.folder(REF)
    failpoints.arm("table.drop.files:error")
    try:
        with pytest.raises(OSError, match="failpoint"):
            drops.finish(REF, catalog.delete_table(REF))
    finally:
        failpoints.arm("")
    assert warehouse.snapshot(REF) is not None, "nobody sees it: the catalog has no such table"
    put(2)
    drops.finish_all()
    assert old.exists(), "the call might still be at it"
    clock.advance(3_601)
    drops.finish_all()
    assert not old.exists()
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    assert (snapshot.rows, snapshot.min_time) == (1, 2)
    drops.finish(REF, catalog.delete_table(REF))
    assert not warehouse.folder(REF).exists()
    put(3)
    assert warehouse.folder(REF) != old, "a late flush of the first table would come into the new one"
    database.close()
    warehouse.close()
