"""The database: its migrations, its file, its transactions."""

from __future__ import annotations

import asyncio
import itertools
import stat
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from platform_core.base.errors import Conflict
from platform_core.base.ids import fingerprint
from platform_core.models.missing import Missing
from platform_core.store import accounts, apps
from platform_core.store.database import open_store
from platform_core.store.tables import METADATA, authorizations

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer

_NUMBERS = itertools.count()
KEY = "HRKU-0b0e6a5e-6f7c-4f5a-9d3a-5c1d2e3f4a5b"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody else uses."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/platform.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create(f"platform_{next(_NUMBERS)}")


def test_the_migrated_schema_is_the_metadata(url: str) -> None:
    store = open_store(url)
    with store.engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        inspector = sa.inspect(connection)
        for table in METADATA.sorted_tables:
            found = {key["constrained_columns"][0] for key in inspector.get_foreign_keys(table.name)}
            assert found == {key.parent.name for key in table.foreign_keys}
    store.close()


def test_every_table_can_be_made_on_postgresql() -> None:
    for table in METADATA.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))


def test_opening_again_migrates_nothing_and_keeps_the_rows(url: str) -> None:
    store = open_store(url)
    account = store.run_sync(accounts.ensure_account, "a@example.com", 1.0)
    store.close()
    again = open_store(url)
    assert again.run_sync(accounts.ensure_account, "a@example.com", 2.0) == account
    again.close()


def test_the_database_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "platform.db"
    open_store(f"sqlite:///{path}").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_api_keys_are_stored_as_hashes(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/platform.db")
    account = store.run_sync(accounts.ensure_account, "a@example.com", 1.0)
    store.run_sync(accounts.ensure_key, account, KEY, 1.0)
    store.run_sync(accounts.ensure_key, account, KEY, 2.0)
    with store.engine.begin() as connection:
        assert connection.execute(sa.select(authorizations.c.token_sha256)).scalars().all() == [
            fingerprint(KEY)
        ]
    assert KEY.encode() not in (tmp_path / "platform.db").read_bytes()
    found = store.run_sync(accounts.find_authorization, KEY, 3.0)
    assert found is not None
    assert found.account == account
    assert store.run_sync(accounts.find_authorization, f"{KEY}x", 3.0) is None
    store.close()


def test_a_token_ends_when_it_expires(url: str) -> None:
    store = open_store(url)
    account = store.run_sync(accounts.ensure_account, "a@example.com", 1.0)
    store.run_sync(accounts.add_authorization, "token", "short", 1.0, account_id=account.id, expires_at=10.0)
    assert store.run_sync(accounts.find_authorization, "token", 9.9) is not None
    assert store.run_sync(accounts.find_authorization, "token", 10.0) is None
    store.close()


def test_a_failure_undoes_the_whole_transaction(url: str) -> None:
    store = open_store(url)
    owner = store.run_sync(accounts.ensure_account, "a@example.com", 1.0)

    def two(connection: sa.Connection) -> None:
        apps.create_app(connection, "first", owner, 1.0)
        apps.create_app(connection, "first", owner, 1.0)

    with pytest.raises(Conflict, match="taken"):
        store.run_sync(two)
    assert store.run_sync(apps.list_apps) == []
    store.close()


def test_host_uids_are_never_given_out_twice(url: str) -> None:
    store = open_store(url)
    owner = store.run_sync(accounts.ensure_account, "a@example.com", 1.0)
    first = store.run_sync(apps.create_app, "first", owner, 1.0)
    uid = store.run_sync(apps.uid_of, first.id)
    store.run_sync(apps.delete_app, first.id)
    second = store.run_sync(apps.create_app, "first", owner, 2.0)
    assert uid == apps.FIRST_UID
    assert store.run_sync(apps.uid_of, second.id) == uid + 1
    with pytest.raises(Missing, match="app"):
        store.run_sync(apps.uid_of, first.id)
    store.close()


def test_concurrent_transactions_all_commit(url: str) -> None:
    store = open_store(url)
    owner = store.run_sync(accounts.ensure_account, "a@example.com", 1.0)

    async def race() -> None:
        await asyncio.gather(*(store.run(apps.create_app, f"app-{n}", owner, 1.0) for n in range(20)))

    asyncio.run(race())
    uids = {store.run_sync(apps.uid_of, app_id) for app_id in store.run_sync(apps.app_ids)}
    assert len(uids) == 20
    store.close()
