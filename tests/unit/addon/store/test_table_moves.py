"""Names change, files stay: renaming, swapping and moving tables, and where new ones go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from addon.models.moves import follow
from addon.models.tables import Column, TableRef
from addon.store.dropped import KEEP_S as UNUSED_S
from addon.store.dropped import DroppedPlaces
from addon.store.table_moves import KEEP_S, TableMoves
from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.store.catalog import SqlCatalog
    from addon.store.database import Database
    from platform_core.base.clock import FixedClock

ACCOUNT = 1
OLD, NEW, OTHER = (TableRef(ACCOUNT, "shop", name) for name in ("events", "archive", "other"))


@pytest.fixture
def moves(database: Database, catalog: SqlCatalog, clock: FixedClock) -> TableMoves:
    for ref, rows in ((OLD, 5), (OTHER, 7)):
        catalog.ensure_table(ref)
        catalog.record_flush(ref, [Column("time", "long"), Column(ref.table, "long")], rows, 9, ("w", 3))
    return TableMoves(database, catalog, clock)


def test_a_renamed_table_keeps_its_place_and_all_that_is_known_of_it(
    moves: TableMoves, catalog: SqlCatalog
) -> None:
    before = catalog.table(OLD)
    assert moves.rename(OLD, NEW) is None
    with pytest.raises(NotFound):
        catalog.table(OLD)
    after = catalog.table(NEW)
    assert (after.id, after.rows, after.detected) == (before.id, 5, before.detected)
    assert catalog.place(NEW) == "shop/events"
    assert set(catalog.drift(NEW)) == {"time", "events"}
    catalog.record_flush(NEW, after.detected, 5, 9, ("w", 3))
    assert catalog.table(NEW).rows == 5, "the mark of the counted segment came along"


def test_a_new_table_never_lies_where_a_renamed_one_does(moves: TableMoves, catalog: SqlCatalog) -> None:
    moves.rename(OLD, NEW)
    catalog.ensure_table(OLD)
    assert catalog.place(OLD).startswith("shop/events.")
    assert catalog.place(NEW) == "shop/events"
    assert catalog.delete_table(OLD).startswith("shop/events.")


def test_a_new_table_never_lies_where_a_deleted_ones_files_may_still_be(
    moves: TableMoves, catalog: SqlCatalog, database: Database, clock: FixedClock
) -> None:
    dropped = DroppedPlaces(database)
    place = catalog.delete_table(OLD)
    assert place == "shop/events"
    catalog.ensure_table(OLD)
    assert catalog.place(OLD).startswith("shop/events.")
    assert dropped.left(clock.now() + 1) == [(ACCOUNT, place)]
    assert dropped.left(clock.now()) == []
    moves.rename(OLD, OTHER, overwrite=True)
    assert set(dropped.left(clock.now() + 1)) == {(ACCOUNT, place), (ACCOUNT, "shop/other")}
    dropped.emptied(ACCOUNT, place, clock.now())
    assert dropped.left(clock.now() + 1) == [(ACCOUNT, "shop/other")]
    catalog.ensure_table(OLD)
    assert catalog.place(OLD).startswith("shop/events."), "a flush may still have been committing there"
    assert catalog.delete_table(OLD).startswith("shop/events.")
    clock.advance(UNUSED_S + 1)
    dropped.emptied(ACCOUNT, "shop/other", clock.now())
    catalog.ensure_table(OLD)
    assert catalog.place(OLD) == place, "by now it is not"
    catalog.forget_account(ACCOUNT)
    assert dropped.left(clock.now() + 1) == []


def test_a_table_renamed_back_lies_under_its_name_again(moves: TableMoves, catalog: SqlCatalog) -> None:
    moves.rename(OLD, NEW)
    moves.rename(NEW, OLD)
    assert catalog.place(OLD) == "shop/events"


def test_a_name_that_is_taken_is_a_conflict_unless_it_shall_be_overwritten(
    moves: TableMoves, catalog: SqlCatalog
) -> None:
    with pytest.raises(Conflict):
        moves.rename(OLD, OTHER)
    catalog.update_table(OTHER, delete_protected=True)
    with pytest.raises(Conflict, match="protected"):
        moves.rename(OLD, OTHER, overwrite=True)
    catalog.update_table(OTHER, delete_protected=False)
    assert moves.rename(OLD, OTHER, overwrite=True) == "shop/other"
    assert (catalog.table(OTHER).rows, catalog.place(OTHER)) == (5, "shop/events")


def test_a_swap_exchanges_everything_but_the_names(moves: TableMoves, catalog: SqlCatalog) -> None:
    catalog.update_table(OLD, expire_days=3)
    for _ in range(3):
        moves.swap(OLD, OTHER)
    assert (catalog.table(OLD).rows, catalog.table(OTHER).rows) == (7, 5)
    assert (catalog.place(OLD), catalog.place(OTHER)) == ("shop/other", "shop/events")
    assert (catalog.table(OLD).expire_days, catalog.table(OTHER).expire_days) == (None, 3)
    assert set(catalog.drift(OLD)) == {"time", "other"}
    moves.swap(OTHER, OLD)
    assert (catalog.place(OLD), catalog.place(OTHER)) == ("shop/events", "shop/other")


def test_a_table_moves_to_a_database_that_exists(moves: TableMoves, catalog: SqlCatalog) -> None:
    away = TableRef(ACCOUNT, "archive", "events")
    with pytest.raises(NotFound, match="'archive' does not exist"):
        moves.rename(OLD, away)
    catalog.create_database(ACCOUNT, "archive")
    moves.rename(OLD, away)
    assert catalog.place(away) == "shop/events"
    assert catalog.delete_database(ACCOUNT, "archive") == [(away, "shop/events")]


def test_what_cannot_be_moved_is_refused_and_changes_nothing(moves: TableMoves, catalog: SqlCatalog) -> None:
    for call in (
        lambda: moves.rename(OLD, OLD),
        lambda: moves.rename(OLD, TableRef(ACCOUNT, "shop", "No!")),
        lambda: moves.swap(OLD, OLD),
    ):
        with pytest.raises(InvalidInput):
            call()
    with pytest.raises(NotFound):
        moves.swap(OLD, NEW)
    with pytest.raises(NotFound):
        moves.rename(TableRef(ACCOUNT + 1, "shop", "events"), NEW)
    assert [table.name for table in catalog.tables(ACCOUNT, "shop")] == ["events", "other"]
    assert catalog.moves(frozenset({ACCOUNT})) == []


def test_a_batch_goes_where_its_table_went(moves: TableMoves, catalog: SqlCatalog, clock: FixedClock) -> None:
    def now_of(ref: TableRef, received_at: float) -> TableRef:
        return follow(ref, received_at, catalog.moves(frozenset({ACCOUNT})), catalog.table_exists)

    start = clock.now()
    clock.advance(10)
    moves.swap(OLD, OTHER)
    clock.advance(10)
    moves.rename(OLD, NEW)
    assert now_of(OLD, start) == OTHER
    assert now_of(OTHER, start) == NEW
    assert now_of(OTHER, start + 15) == OTHER
    assert now_of(OLD, start + 15) == NEW
    assert now_of(OLD, start + 25) == NEW, "accepted in the moment of the move: nobody has the name now"
    catalog.ensure_table(OLD)
    assert now_of(OLD, start + 25) == OLD
    assert now_of(TableRef(ACCOUNT, "shop", "never"), start) == TableRef(ACCOUNT, "shop", "never")
    assert catalog.moves(frozenset({ACCOUNT + 1})) == []


def test_moves_are_forgotten_in_time_and_with_their_account(
    moves: TableMoves, catalog: SqlCatalog, clock: FixedClock
) -> None:
    moves.rename(OLD, NEW)
    clock.advance(KEEP_S + 1)
    moves.swap(NEW, OTHER)
    assert len(catalog.moves(frozenset({ACCOUNT}))) == 2
    catalog.forget_account(ACCOUNT)
    assert catalog.moves(frozenset({ACCOUNT})) == []
