"""The plan's limits: what is over them is refused, and counting costs nothing while counts are fresh."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from addon.models.accounts import PLANS, Account, AccountState
from addon.models.tables import Column, Snapshot, TableRef
from addon.provisioning.quotas import BYTES_FRESH_S, ROWS_FRESH_S, QuotaExceeded, Quotas
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from platform_core.base.clock import FixedClock

NANO = replace(PLANS["nano"], rows_per_month=100, stored_bytes=1_000)
ACCOUNT = Account(1, None, "one", NANO, AccountState.PROVISIONED, 0.0)
REF = TableRef(1, "shop", "events")


class Stored:
    """A warehouse whose table has a settable size; counts how often it is asked."""

    def __init__(self) -> None:
        self.bytes = 0
        self.asked = 0

    def snapshot(self, ref: TableRef, version: int | None = None) -> Snapshot | None:
        self.asked += 1
        return Snapshot(ref, version or 1, [Path("a")], [Column("time", "long")], 1, self.bytes)

    def drop(self, ref: TableRef, place: str | None = None) -> None:
        raise AssertionError(ref, place)

    def drop_account(self, account_id: int) -> None:
        raise AssertionError(account_id)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(1_780_000_000.0)


@pytest.fixture
def catalog(tmp_path: Path, clock: FixedClock) -> SqlCatalog:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    made = SqlCatalog(database, clock)
    made.ensure_table(REF)
    return made


def _refused(quotas: Quotas) -> str:
    with pytest.raises(QuotaExceeded) as caught:
        asyncio.run(quotas.check(ACCOUNT))
    return str(caught.value)


def test_rows_over_the_months_quota_are_refused_until_the_month_ends(
    catalog: SqlCatalog, clock: FixedClock
) -> None:
    quotas = Quotas(catalog, Stored(), clock)
    catalog.record_flush(REF, [], 99, 1)
    asyncio.run(quotas.check(ACCOUNT))
    catalog.record_flush(REF, [], 1, 1)
    clock.advance(ROWS_FRESH_S + 1)
    assert "100 rows a month; 100 are stored" in _refused(quotas)
    clock.advance(31 * 86_400)
    asyncio.run(quotas.check(ACCOUNT))


def test_bytes_over_the_plan_are_refused_until_something_is_deleted(
    catalog: SqlCatalog, clock: FixedClock
) -> None:
    stored = Stored()
    quotas = Quotas(catalog, stored, clock)
    asyncio.run(quotas.check(ACCOUNT))
    stored.bytes = 1_000
    asyncio.run(quotas.check(ACCOUNT))  # the count is fresh still
    clock.advance(BYTES_FRESH_S + 1)
    assert "Delete tables, or take a larger plan" in _refused(quotas)
    assert quotas.usage(ACCOUNT).bytes == 1_000
    catalog.delete_table(REF)
    clock.advance(BYTES_FRESH_S + 1)
    asyncio.run(quotas.check(ACCOUNT))


def test_what_is_about_to_be_stored_at_once_must_fit(catalog: SqlCatalog, clock: FixedClock) -> None:
    warehouse = Stored()
    quotas = Quotas(catalog, warehouse, clock)
    catalog.record_flush(REF, [], 60, 1)
    warehouse.bytes = 600
    asyncio.run(quotas.check(ACCOUNT, rows=40, bytes_=400))
    with pytest.raises(QuotaExceeded, match="60 are stored, and these are 41"):
        asyncio.run(quotas.check(ACCOUNT, rows=41))
    with pytest.raises(QuotaExceeded, match="and these are"):
        asyncio.run(quotas.check(ACCOUNT, bytes_=401))


def test_a_crowd_shares_one_count(catalog: SqlCatalog, clock: FixedClock) -> None:
    stored = Stored()
    quotas = Quotas(catalog, stored, clock)

    async def crowd() -> None:
        await asyncio.gather(*(quotas.check(ACCOUNT) for _ in range(50)))

    asyncio.run(crowd())
    assert stored.asked == 1
