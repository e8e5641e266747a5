"""Files put in the place of others: whatever dies, fails or competes, the rows are the same ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from addon.models.tables import TableRef
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.view import view_sql
from platform_core.base import failpoints
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REF = TableRef(7, "shop", "events")
_COMPACT = """
import sys
from pathlib import Path
from addon.models.tables import TableRef
from addon.warehouse.store import DeltaWarehouse
print(DeltaWarehouse(Path(sys.argv[1])).compact(TableRef(7, "shop", "events")))
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[DeltaWarehouse]:
    made = DeltaWarehouse(tmp_path / "warehouse")
    for segment in range(1, 41):
        put(made, segment, segment)
    yield made
    failpoints.arm("")
    made.close()


def put(warehouse: DeltaWarehouse, segment: int, value: int) -> None:
    lines = Lines(pa.array([f'{{"a":{value}}}']), pa.array([5], pa.int64()))
    warehouse.commit(warehouse.prepare(REF, lines), "w", segment)


def values(warehouse: DeltaWarehouse, version: int | None = None) -> list[int]:
    """The rows in the order of the files and within them."""
    snapshot = warehouse.snapshot(REF, version)
    assert snapshot is not None
    with duckdb.connect(config={"threads": 1}) as connection:
        rows = (
            connection.sql(view_sql(snapshot, [str(path) for path in snapshot.files])).select("a").fetchall()
        )
    return [value for (value,) in rows]


@pytest.mark.parametrize(
    ("point", "swapped"),
    [
        ("compaction.pre", False),
        ("compaction.swap", False),
        ("commit.unsynced", True),
        ("compaction.post", True),
    ],
)
def test_a_merge_may_die_at_every_step(warehouse: DeltaWarehouse, point: str, *, swapped: bool) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _COMPACT, str(warehouse.root)],
        env=os.environ | {"SLUICE_FAILPOINT": f"{point}:abort"},
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert died.returncode < 0, died.stderr
    again = DeltaWarehouse(warehouse.root, clock=FixedClock(time.time() + 100_000))
    assert sorted(values(again)) == list(range(1, 41))
    assert again.compact(REF) == (0 if swapped else 40)
    assert sorted(values(again)) == list(range(1, 41))
    again.sweep()
    snapshot = again.snapshot(REF)
    assert snapshot is not None
    assert sorted(again.folder(REF).glob("*.parquet")) == sorted(snapshot.files)


@pytest.mark.parametrize("point", ["compaction.pre", "compaction.swap", "commit.pre"])
def test_a_merge_that_fails_changes_nothing(warehouse: DeltaWarehouse, point: str) -> None:
    failpoints.arm(f"{point}:error@1")
    try:
        warehouse.compact(REF)
    except OSError:
        failpoints.arm("")
    assert sorted(values(warehouse)) == list(range(1, 41))
    while warehouse.compact(REF):
        pass
    assert values(warehouse) == list(range(1, 41))


def test_rows_of_one_second_keep_their_order_over_merges(warehouse: DeltaWarehouse) -> None:
    assert warehouse.compact(REF) == 40
    for segment in range(41, 81):
        put(warehouse, segment, segment)
    assert warehouse.compact(REF) == 40
    assert values(warehouse) == list(range(1, 81))


def test_two_processes_that_merge_at_once_double_nothing(warehouse: DeltaWarehouse) -> None:
    others = [DeltaWarehouse(warehouse.root) for _ in range(3)]
    start, merged = threading.Barrier(3), []

    def compact(one: DeltaWarehouse) -> None:
        start.wait()
        merged.append(one.compact(REF))

    threads = [threading.Thread(target=compact, args=(one,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(merged) == 40
    assert sum(merged) == 40
    assert sorted(values(warehouse)) == list(range(1, 41))


def test_a_damaged_file_is_left_where_it_is_and_the_others_are_merged(warehouse: DeltaWarehouse) -> None:
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    bad = snapshot.files[7]
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 1
    bad.write_bytes(data)
    assert warehouse.compact(REF) == 0
    assert warehouse.compact(REF) == 39
    now = warehouse.snapshot(REF)
    assert now is not None
    assert bad in now.files
    assert len(now.files) == 2


def test_rows_are_deleted_by_place_and_a_gone_file_is_a_conflict(warehouse: DeltaWarehouse) -> None:
    snapshot = warehouse.snapshot(REF)
    assert snapshot is not None
    names = [path.name for path in snapshot.files]
    assert warehouse.compact(REF) == 40
    assert warehouse.rewriter.delete_rows(REF, [(names[0], np.array([0]))]) is None
    merged = warehouse.snapshot(REF)
    assert merged is not None
    (path,) = merged.files
    assert warehouse.rewriter.delete_rows(REF, [(path.name, np.array([0, 7, 39]))]) == 3
    assert values(warehouse) == [n for n in range(1, 41) if n not in {1, 8, 40}]
    assert values(warehouse, merged.version) == list(range(1, 41))
    assert warehouse.rewriter.delete_rows(REF, []) == 0
