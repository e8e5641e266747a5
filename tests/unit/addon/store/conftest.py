"""A fresh, migrated metadata database per test: the whole room runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
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

    from tests.postgres import PostgresServer

_NUMBERS = itertools.count()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(1_780_000_000.0)


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> str:
    """A migrated database that the tests' own are copied from."""
    opened = Database(postgres_server.create("addon_migrated"))
    opened.migrate()
    opened.close()
    return "addon_migrated"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody else uses."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/addon.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create(f"addon_{next(_NUMBERS)}", request.getfixturevalue("migrated"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
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
