"""What was accepted under a name lands in the table that had it, also when that got another name since."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from addon.ingest.service import IngestService
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.table_moves import TableMoves
from addon.store.uploads import SqlUploadLedger
from addon.warehouse.store import DeltaWarehouse
from platform_core.base import failpoints
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from addon.models.tables import Snapshot

ONE, TWO, GONE = (TableRef(1, "shop", name) for name in ("one", "two", "gone"))
LONG = 3_600.0


class Place:
    """A service over a real catalog; it flushes only when asked to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = FixedClock(1_800_000_000.0)
        self.database = Database(f"sqlite:///{home}/addon.db")
        self.database.migrate()
        self.catalog = SqlCatalog(self.database, self.clock)
        self.moves = TableMoves(self.database, self.catalog, self.clock)
        self.warehouse = DeltaWarehouse(home / "warehouse", places=self.catalog.place)
        for ref in (ONE, TWO):
            self.catalog.ensure_table(ref)

    def service(self) -> IngestService:
        ledger = SqlUploadLedger(self.database)
        return IngestService(
            self.home / "wal", self.warehouse, self.catalog, ledger, clock=self.clock, linger_s=LONG
        )

    def batch(self, ref: TableRef, number: int) -> Batch:
        self.clock.advance(1)
        body = b'{"time":%d,"n":%d}\n' % (number, number)
        return Batch(BodyKind.NDJSON, 1, ref.database, ref.table, body, self.clock.now(), f"id-{number}")

    def numbers(self, ref: TableRef) -> list[int]:
        """Return the rows' times of a table."""
        snapshot: Snapshot | None = self.warehouse.snapshot(ref)
        if snapshot is None:
            return []
        return sorted(t for path in snapshot.files for t in pq.read_table(path)["time"].to_pylist())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.warehouse.close()
    made.database.close()


def test_batches_that_wait_while_tables_are_swapped_belong_to_the_names_of_before(place: Place) -> None:
    async def run() -> None:
        service = place.service()
        await service.start()
        await service.append(place.batch(ONE, 1))
        await service.append(place.batch(TWO, 2))
        await service.flush(1)
        await service.append(place.batch(ONE, 11))
        place.clock.advance(1)
        place.moves.swap(ONE, TWO)
        await service.append(place.batch(ONE, 12))
        await service.flush(1)
        await service.close()

    asyncio.run(run())
    assert (place.numbers(TWO), place.numbers(ONE)) == ([1, 11], [2, 12])
    assert (place.catalog.table(TWO).rows, place.catalog.table(ONE).rows) == (2, 2)


def test_a_batch_accepted_in_the_moment_of_a_rename_is_not_lost(place: Place) -> None:
    async def run() -> None:
        service = place.service()
        await service.start()
        place.moves.rename(ONE, GONE)
        await service.append(place.batch(ONE, 1))
        await service.flush(1)
        await service.close()
        assert service.stats.discarded_tables == 0

    asyncio.run(run())
    assert place.numbers(GONE) == [1]
    assert place.catalog.table(GONE).rows == 1


def test_a_flush_repeated_after_a_swap_adds_nothing(place: Place) -> None:
    """A crash between the commit and the end of the segment, then a swap, then the segment again."""

    async def run() -> None:
        service = place.service()
        await service.start()
        await service.append(place.batch(ONE, 1))
        failpoints.arm("wal.delete.pre:error@1")
        with pytest.raises(Exception, match="cannot be stored"):
            await service.flush(1)
        assert place.numbers(ONE) == [1]
        place.clock.advance(1)
        place.moves.swap(ONE, TWO)
        await service.flush(1)
        await service.close()

    try:
        asyncio.run(run())
    finally:
        failpoints.arm("")
    assert (place.numbers(TWO), place.numbers(ONE)) == ([1], [])
    assert (place.catalog.table(TWO).rows, place.catalog.table(ONE).rows) == (1, 0)
