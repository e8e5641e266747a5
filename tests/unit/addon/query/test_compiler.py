"""Long queries are compiled in a process of their own, with the same outcome and a limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from addon.models.accounts import PLANS, Account, AccountState
from addon.models.tables import TableRef
from addon.query import compiler
from addon.query.compiler import Compiler
from addon.query.td_functions import Times
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Forbidden, InvalidInput, NotFound, TooLarge, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from addon.query.dialects import CompiledQuery

ACCOUNT = Account(1, None, "one", PLANS["nano"], AccountState.PROVISIONED, 0.0)
REF = TableRef(1, "shop", "events")
PADDING = " /* " + "long " * 2_000 + "*/"


@pytest.fixture
def catalog(tmp_path: Path) -> SqlCatalog:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    made = SqlCatalog(database, FixedClock())
    made.ensure_table(REF)
    made.ensure_table(TableRef(2, "shop", "others"))
    return made


def _compile(catalog: SqlCatalog, sql: str) -> CompiledQuery:
    return asyncio.run(Compiler(catalog).compile(ACCOUNT, sql, "trino", "shop", Times(86_400, 7)))


def test_a_long_text_compiles_to_the_same_as_a_short_one(catalog: SqlCatalog) -> None:
    sql = "select td_scheduled_time(), count(*) from events where td_interval(time, '-1d')"
    short, long = _compile(catalog, sql), _compile(catalog, sql + PADDING)
    assert (short.sql, dict(short.views)) == (long.sql, dict(long.views))
    assert dict(long.views) == {"shop.events": REF}


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("select * from others", NotFound),
        ("drop table events", Forbidden),
        ("select from where", InvalidInput),
        ("select 1" + " " * (1 << 20), TooLarge),
    ],
)
def test_a_long_text_is_refused_for_the_same_reason(
    catalog: SqlCatalog, sql: str, kind: type[UserError]
) -> None:
    with pytest.raises(kind):
        _compile(catalog, sql + PADDING)


def test_a_text_that_takes_too_long_is_refused(catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_WALL_S", 0.01)
    with pytest.raises(InvalidInput, match="too long or too involved"):
        _compile(catalog, "select 1" + PADDING)
