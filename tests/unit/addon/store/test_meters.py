"""What the meters add up, on both databases, and the inputs of the analysis that they become."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import pytest

from addon.models.tables import Column, TableRef
from addon.query.books import Books, meter_tables
from addon.query.metering import Metering
from addon.store.meters import HOUR_S, MeterStore, Use, hour_of
from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.ingest import Warehouse
    from addon.store.catalog import SqlCatalog
    from addon.store.database import Database
    from platform_core.base.clock import FixedClock

A, B, THEIRS = TableRef(1, "shop", "a"), TableRef(1, "shop", "b"), TableRef(2, "shop", "a")
COLUMNS = [Column("time", "long")]


@pytest.fixture
def meters(database: Database, clock: FixedClock) -> MeterStore:
    return MeterStore(database, clock)


def test_rows_count_with_their_commit_once_and_by_the_hour(
    meters: MeterStore, catalog: SqlCatalog, clock: FixedClock
) -> None:
    first = hour_of(clock.now())
    for ref in (A, THEIRS):
        catalog.ensure_table(ref)
    for _ in range(2):  # a flush that is repeated after a crash
        catalog.record_flush(A, COLUMNS, 3, 9, ("w", 1), size=30)
    catalog.record_flush(A, COLUMNS, 2, 9, ("w", 2), size=20)
    catalog.record_flush(THEIRS, COLUMNS, 7, 9, ("w", 1), size=70)
    clock.advance(HOUR_S)
    catalog.record_flush(A, COLUMNS, 1, 9, ("w", 3), size=10)
    assert [(row.hour, row.rows_in, row.bytes_in) for row in meters.rows(1)] == [
        (first, 5, 50),
        (first + HOUR_S, 1, 10),
    ]
    assert sum(row.rows_in for row in meters.rows()) == 13
    catalog.forget_account(1)
    assert [row.account_id for row in meters.rows()] == [2]


def test_parallel_processes_add_to_the_same_hours(meters: MeterStore, clock: FixedClock) -> None:
    hour = hour_of(clock.now())

    def work(_: int) -> None:
        for _ in range(10):
            meters.add_uses({(1, hour, "shop", name): Use(1, 10, 0.5) for name in "ab"})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert [(row.queries, row.bytes_scanned, row.cpu_s) for row in meters.rows(1)] == [(40, 400, 20.0)] * 2


def test_a_size_stands_in_the_place_of_the_one_before(meters: MeterStore, clock: FixedClock) -> None:
    meters.note_sizes({A: 5, B: 6})
    meters.note_sizes({A: 7})
    assert [row.bytes_stored for row in meters.rows(1)] == [7, 6]
    clock.advance(HOUR_S)
    assert meters.expire(clock.now()) == 2


def test_a_querys_time_goes_to_its_tables_by_what_it_read(meters: MeterStore) -> None:
    counted = Metering(meters)
    counted.note(1, {A: 30, B: 10}, 4.0)
    counted.note(1, {A: 0, B: 0}, 1.0)
    counted.note(1, {}, 2.0)
    asyncio.run(counted.flush())
    asyncio.run(counted.flush())
    assert [(r.table, r.queries, r.bytes_scanned, r.cpu_s) for r in meters.rows(1)] == [
        ("", 1, 0, 2.0),
        ("a", 2, 30, 3.5),
        ("b", 2, 10, 1.5),
    ]


def test_counts_outlive_a_database_that_is_away(meters: MeterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Metering(meters)
    counted.note(1, {A: 1}, 1.0)
    with monkeypatch.context() as away:
        away.setattr(meters, "add_uses", lambda _: 1 // 0)
        asyncio.run(counted.flush())
    counted.note(1, {A: 2}, 1.0)
    asyncio.run(counted.flush())
    assert [(row.queries, row.bytes_scanned) for row in meters.rows(1)] == [(2, 3)]


class Sizes:
    """A warehouse whose tables hold 99 bytes."""

    bytes = 99

    def snapshot(self, _: TableRef) -> Sizes:
        return self


def test_the_analysis_usage_says_what_the_meters_say_of_one_account(
    meters: MeterStore, catalog: SqlCatalog, tmp_path: Path
) -> None:
    for ref in (A, THEIRS):
        catalog.ensure_table(ref)
        catalog.record_flush(ref, COLUMNS, 3, 9, ("w", 1), size=30)
    counted = Metering(meters)
    for _ in range(3):
        counted.note(1, {A: 10}, 0.25)
    counted.note(1, {}, 2.0)
    counted.note(2, {THEIRS: 1_000}, 9.0)
    books = Books(meters, counted, catalog, cast("Warehouse", Sizes()))
    asyncio.run(books.write(1, tmp_path))
    engine = DuckEngine()
    inputs = {name: tmp_path / f"{name}.parquet" for name in ("ingested", "stored", "queried")}
    found = run_analysis("usage", engine, inputs, {})
    engine.close()
    columns = (
        "database",
        "table",
        "rows_in",
        "bytes_in",
        "bytes_stored",
        "queries",
        "bytes_scanned",
        "cpu_s",
    )
    assert [tuple(row[name] for name in columns) for row in found.tables["usage"].to_pylist()] == [
        ("(none)", "(none)", 0, 0, None, 1, 0, 2.0),
        ("shop", "a", 3, 30, 99, 3, 30, 0.75),
    ]
    assert not any(reasons for reasons in found.manifest["rows_excluded"].values())


def test_a_round_measures_some_tables_of_all_accounts_and_goes_on_with_the_next(
    meters: MeterStore, catalog: SqlCatalog, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.query.books.MOST", 2)
    for ref in (A, B, THEIRS):
        catalog.ensure_table(ref)
    books = Books(meters, Metering(meters), catalog, cast("Warehouse", Sizes()))
    books.round()
    assert [(row.account_id, row.table) for row in meters.rows()] == [(1, "a"), (1, "b")]
    books.round()
    assert {(row.account_id, row.table, row.bytes_stored) for row in meters.rows()} == {
        (1, "a", 99),
        (1, "b", 99),
        (2, "a", 99),
    }
    clock.advance(401 * 86_400)
    books.round()
    assert {row.hour for row in meters.rows()} == {hour_of(clock.now())}


def test_an_account_without_anything_has_empty_meters() -> None:
    assert {name: table.num_rows for name, table in meter_tables([]).items()} == {
        "ingested": 0,
        "stored": 0,
        "queried": 0,
    }
