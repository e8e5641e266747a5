"""A fresh, migrated metadata database per test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.jobs import JobStore
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(1_780_000_000.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/addon.db")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def accounts(database: Database, clock: FixedClock) -> AccountStore:
    return AccountStore(database, clock)


@pytest.fixture
def catalog(database: Database, clock: FixedClock) -> SqlCatalog:
    return SqlCatalog(database, clock)


@pytest.fixture
def jobs(database: Database, clock: FixedClock) -> JobStore:
    return JobStore(database, clock)
