"""The migrations and the metadata say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from addon.store.database import Database
from addon.store.schema import METADATA

if TYPE_CHECKING:
    from pathlib import Path


def test_the_migrated_schema_equals_the_metadata(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_migrating_twice_changes_nothing(database: Database) -> None:
    database.migrate()
    assert set(METADATA.tables) < set(sa.inspect(database.engine).get_table_names())


def test_reads_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    with database.write(), database.read() as connection:
        assert connection.execute(sa.text("select count(*) from accounts")).scalar_one() == 0
    database.close()
