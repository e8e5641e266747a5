"""What was accepted under a name lands in the table that had it, also when that got another name since."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from addon.ingest.service import IngestService
from addon.models.ingest import TABLE_ID, Batch, BodyKind
from addon.models.tables import TableRef
from addon.provisioning.drops import Drops
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.dropped import DroppedPlaces
from addon.store.table_moves import TableMoves
from addon.store.uploads import SqlUploadLedger
from addon.warehouse.store import DeltaWarehouse
from platform_core.base import failpoints
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from addon.models.tables import Snapshot
    from addon.warehouse.store import Committed, Prepared

ONE, TWO, GONE = (TableRef(1, "shop", name) for name in ("one", "two", "gone"))
LONG = 3_600.0


class Place:
    """A service over a real catalog; it flushes only when asked to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = FixedClock(1_800_000_000.0)
        self.database = Database(f"sqlite:///{home}/addon.db")
        self.database.migrate()
        self.catalog = SqlCatalog(self.database, self.clock, keep_s=0.0)  # as in a fleet
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

    def accepted(self, ref: TableRef, number: int) -> Batch:
        """Return a batch as the door makes it, with the number of the table that it is for."""
        table = self.catalog.locate(ref)
        assert table is not None
        batch = self.batch(ref, number)
        return replace(batch, meta={TABLE_ID: str(table.id)})

    def other_node(self) -> tuple[SqlCatalog, TableMoves, Drops]:
        """Return what another process of a fleet changes tables with; nothing here is told of it."""
        catalog = SqlCatalog(self.database, self.clock)
        drops = Drops(DroppedPlaces(self.database), self.warehouse, self.clock)
        return catalog, TableMoves(self.database, catalog, self.clock), drops

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


def flushed(place: Place, *batches: Batch, before: Callable[[], None] = lambda: None) -> IngestService:
    """Append batches, do what happens ``before`` the flush, flush."""

    async def run() -> IngestService:
        service = place.service()
        await service.start()
        for batch in batches:
            await service.append(batch)
        before()
        await service.flush(1)
        await service.close()
        return service

    return asyncio.run(run())


def test_what_was_accepted_before_a_drop_never_lands_in_a_table_made_again_under_the_name(
    place: Place,
) -> None:
    def drop_and_make() -> None:
        catalog, _, drops = place.other_node()
        drops.finish(ONE, catalog.delete_table(ONE))
        catalog.create_table(ONE)

    early = place.accepted(ONE, 1)
    service = flushed(place, early, place.accepted(TWO, 2), before=drop_and_make)
    assert service.stats.discarded_tables == 1
    flushed(place, place.accepted(ONE, 3))
    assert (place.numbers(ONE), place.numbers(TWO)) == ([3], [2])
    assert (place.catalog.table(ONE).rows, place.catalog.table(TWO).rows) == (1, 1)


def test_what_another_node_renames_drops_and_makes_is_followed_without_a_moments_delay(place: Place) -> None:
    def change() -> None:
        catalog, moves, drops = place.other_node()
        moves.rename(ONE, GONE)
        catalog.create_table(ONE)
        drops.finish(TWO, catalog.delete_table(TWO))
        moves.rename(ONE, TWO)

    flushed(place, place.accepted(ONE, 1), place.accepted(TWO, 2), before=change)
    flushed(place, place.accepted(TWO, 3))
    assert (place.numbers(GONE), place.numbers(TWO)) == ([1], [3])
    assert (place.catalog.table(GONE).rows, place.catalog.table(TWO).rows) == (1, 1)


def _after_commit(place: Place, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Have something happen between a flush's Delta commit and the counting of its rows."""
    commit = place.warehouse.commit

    def committed(*arguments: Any) -> Committed:
        done = commit(*arguments)
        change()
        return done

    monkeypatch.setattr(place.warehouse, "commit", committed)


def test_a_swap_between_commit_and_count_counts_for_the_table_that_got_the_rows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed(place, place.accepted(TWO, 7))
    _, moves, _ = place.other_node()
    _after_commit(place, monkeypatch, lambda: moves.swap(ONE, TWO))
    flushed(place, place.accepted(ONE, 1))
    assert (place.numbers(ONE), place.numbers(TWO)) == ([7], [1])
    assert (place.catalog.table(ONE).rows, place.catalog.table(TWO).rows) == (1, 1)
    assert set(place.catalog.drift(TWO)) >= {"n", "time"}


def test_a_drop_between_commit_and_count_leaves_no_row_to_a_table_of_the_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, _, drops = place.other_node()
    old = place.warehouse.folder(ONE)

    def drop_before() -> None:
        drops.finish(ONE, catalog.delete_table(ONE))

    prepare = place.warehouse.prepare

    def prepared(*arguments: Any, **options: Any) -> Prepared:
        monkeypatch.setattr(place.warehouse, "prepare", prepare)
        done = prepare(*arguments, **options)
        drop_before()
        return done

    monkeypatch.setattr(place.warehouse, "prepare", prepared)
    flushed(place, place.accepted(ONE, 1))
    assert old.exists(), "the late commit made the files again"
    catalog.create_table(ONE)
    flushed(place, place.accepted(ONE, 2))
    assert place.numbers(ONE) == [2]
    assert place.catalog.table(ONE).rows == 1
    place.clock.advance(3_601)
    drops.finish_all()
    assert not old.exists()
