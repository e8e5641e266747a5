"""The metadata database: SQLite's settings, transactions, migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from platform_core.base.database import migrate, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENV = """
from alembic import context
connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
FIRST = """
import sqlalchemy as sa
from alembic import op
revision = "1"
down_revision = None
def upgrade():
    op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/a.db")
    yield engine
    engine.dispose()


def test_a_committed_row_survives_a_power_cut(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]


def test_a_transaction_takes_the_write_lock_at_once(engine: sa.Engine, tmp_path: Path) -> None:
    other = sa.create_engine(f"sqlite:///{tmp_path}/a.db", connect_args={"timeout": 0})
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(sa.exc.OperationalError, match="locked"), other.begin() as second:
            second.exec_driver_sql("BEGIN IMMEDIATE")
    other.dispose()


def test_a_failed_transaction_leaves_nothing(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")

    def insert_and_fail() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            raise LookupError

    with pytest.raises(LookupError):
        insert_and_fail()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one() == 0


def test_migrations_run_once_and_may_be_run_again(engine: sa.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "100% migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "versions" / "one.py").write_text(FIRST)
    for _ in range(2):
        migrate(engine, folder)
    assert "thing" in sa.inspect(engine).get_table_names()
