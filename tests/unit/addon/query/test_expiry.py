"""Rows over a table's limit: not shown from that second on, out of the table within a round, off the disk."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from addon.provisioning.retention import Retention
from addon.store.accounts import AccountStore
from addon.warehouse.retention import REWRITE_S, Expiry
from tests.unit.addon.query.table_rig import NOW, Rig, table_rig

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400


def stored(rig: Rig) -> list[int]:
    """The times in the files of the newest version, shown or not."""
    snapshot = rig.warehouse.snapshot(rig.ref())
    assert snapshot is not None
    return sorted(moment for path in snapshot.files for moment in pq.read_table(path)["time"].to_pylist())


def retention(rig: Rig) -> Retention:
    accounts = AccountStore(rig.catalog._database, rig.clock)
    return Retention(accounts, rig.catalog, Expiry(rig.warehouse), rig.clock)


def put_days(rig: Rig, *days: float) -> None:
    """Commit one row for each of the days before now, as one file."""
    rig.put(*(f'{{"time":{int(rig.clock.now() - day * DAY)},"n":{int(day * 10)}}}' for day in days))


def test_rows_are_not_shown_once_their_days_are_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            put_days(rig, 1, 2, 9, 10, 11)
            rig.catalog.update_table(rig.ref(), expire_days=10)
            assert await rig.ask("SELECT n FROM events ORDER BY n") == [[10], [20], [90], [100]]
            rig.clock.advance(1)
            assert await rig.ask("SELECT n FROM events ORDER BY n") == [[10], [20], [90]]
            assert await rig.ask("SELECT count(*) FROM events WHERE time < 1") == [[0]]
            rig.catalog.update_table(rig.ref(), expire_days=None)
            assert await rig.ask("SELECT count(*) FROM events") == [[5]]

    asyncio.run(scenario())


def test_a_round_drops_whole_files_and_rewrites_parts_sparingly(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            rig.clock.advance(time.time() - NOW)
            put_days(rig, 20, 25)  # expired as a whole
            put_days(rig, 1, 12)  # a tenth of its time has expired
            put_days(rig, 9, 30)  # most of its time has
            put_days(rig, 2, 3)  # nothing has
            now = rig.clock.now()
            rig.catalog.update_table(rig.ref(), expire_days=10)
            retention(rig).round()
            days = sorted(round((now - moment) / DAY) for moment in stored(rig))
            assert days == [1, 2, 3, 9, 12]
            assert rig.catalog.table(rig.ref()).rows == 5
            retention(rig).round()
            assert len(stored(rig)) == 5
            rig.clock.advance(REWRITE_S + 600)
            retention(rig).round()
            assert sorted(round((now - moment) / DAY) for moment in stored(rig)) == [1, 2, 3]
            assert await rig.ask("SELECT count(*) FROM events") == [[3]]
            rig.clock.advance(25 * 3600)
            assert rig.warehouse.sweep() == 4
            left = sorted(rig.warehouse.folder(rig.ref()).glob("*.parquet"))
            snapshot = rig.warehouse.snapshot(rig.ref())
            assert snapshot is not None
            assert left == sorted(snapshot.files)

    asyncio.run(scenario())


def test_the_plan_keeps_rows_by_when_they_came(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            rig.clock.advance(time.time() - NOW)
            rig.put(f'{{"time":{NOW - 400_000_000}}}')  # years old, but it has just been loaded
            rig.clock.advance(rig.account.plan.retention_s - DAY)
            retention(rig).round()
            assert len(stored(rig)) == 1
            rig.clock.advance(2 * DAY)
            retention(rig).round()
            assert stored(rig) == []

    asyncio.run(scenario())
