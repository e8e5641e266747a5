"""The catalog and the upload ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from addon.models.catalog import DeclaredColumn
from addon.models.tables import Column, TableRef
from addon.store.uploads import KEEP_S, SqlUploadLedger
from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.store.catalog import SqlCatalog
    from addon.store.database import Database

EVENTS = TableRef(1, "shop", "events")


def test_ensure_table_makes_the_database_too_and_repeats(catalog: SqlCatalog) -> None:
    catalog.ensure_table(EVENTS)
    catalog.ensure_table(EVENTS)
    assert catalog.table_exists(EVENTS)
    assert [info.name for info in catalog.databases(1)] == ["shop"]
    assert catalog.databases(2) == []


def test_a_flush_adds_rows_to_the_table_and_to_the_month(catalog: SqlCatalog) -> None:
    catalog.ensure_table(EVENTS)
    columns = [Column("time", "long"), Column("user", "string", "User")]
    catalog.record_flush(EVENTS, columns, 10, 100)
    catalog.record_flush(EVENTS, columns, 5, 50)
    info = catalog.table(EVENTS)
    assert (info.rows, info.last_log_time, list(info.detected)) == (15, 100, columns)
    assert catalog.rows_this_month(1) == 15
    assert catalog.databases(1)[0].rows == 15
    catalog.delete_table(EVENTS)
    assert catalog.rows_this_month(1) == 15


def test_names_that_clash_or_break_the_rule_are_refused(catalog: SqlCatalog) -> None:
    catalog.create_database(1, "shop")
    with pytest.raises(Conflict):
        catalog.create_database(1, "shop")
    with pytest.raises(InvalidInput):
        catalog.create_database(1, "Shop!")
    catalog.create_table(EVENTS)
    with pytest.raises(Conflict):
        catalog.create_table(EVENTS)
    with pytest.raises(NotFound):
        catalog.create_table(TableRef(1, "nowhere", "events"))


def test_a_protected_table_is_not_deleted(catalog: SqlCatalog) -> None:
    catalog.create_database(1, "shop")
    catalog.create_table(EVENTS, delete_protected=True, declared=[DeclaredColumn("id", "long", "ident")])
    assert catalog.table(EVENTS).declared == [DeclaredColumn("id", "long", "ident")]
    for attempt in (lambda: catalog.delete_table(EVENTS), lambda: catalog.delete_database(1, "shop")):
        with pytest.raises(Conflict):
            attempt()
    catalog.update_table(EVENTS, delete_protected=False)
    assert catalog.delete_database(1, "shop") == [(EVENTS, "shop/events")]
    with pytest.raises(NotFound):
        catalog.tables(1, "shop")


def test_upload_ids_are_known_for_seven_days(database: Database) -> None:
    ledger = SqlUploadLedger(database)
    entry = (1, "shop", "events", "id", "a" * 64)
    ledger.record([entry, entry], 0.0)
    ledger.record([(1, "shop", "events", "id", "b" * 64)], 1.0)
    assert ledger.seen(1, "shop", "events", "id") == "a" * 64
    assert ledger.seen(2, "shop", "events", "id") is None
    ledger.record([], KEEP_S - 1.0)
    assert ledger.seen(1, "shop", "events", "id") is not None
    ledger.record([], KEEP_S + 1.0)
    assert ledger.seen(1, "shop", "events", "id") is None


def test_a_flush_that_is_repeated_after_a_crash_is_counted_once_for_each_writer(catalog: SqlCatalog) -> None:
    catalog.ensure_table(EVENTS)
    for mark in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 1)):
        catalog.record_flush(EVENTS, [Column("time", "long")], 10, 1, mark)
    assert catalog.table(EVENTS).rows == catalog.rows_this_month(1) == 30
    catalog.delete_table(EVENTS)
    catalog.ensure_table(EVENTS)
    catalog.record_flush(EVENTS, [Column("time", "long")], 10, 1, ("a", 1))
    assert catalog.table(EVENTS).rows == 10
    catalog.delete_database(1, "shop")
    catalog.ensure_table(EVENTS)
    catalog.record_flush(EVENTS, [Column("time", "long")], 10, 1, ("a", 1))
    assert catalog.table(EVENTS).rows == 10
