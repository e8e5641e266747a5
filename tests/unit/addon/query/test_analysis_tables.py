"""Inputs from tables: the columns that an analysis reads, under the names that the customer has for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from addon.models.tables import Column, TableRef
from addon.query.analysis_inputs import resolved_inputs
from addon.query.analysis_request import check_request, check_schedule, named_pins
from addon.query.dialects import compile_query
from addon.query.pins import Pin
from addon.query.td_functions import Times
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from jobs.registry import find
from platform_core.base.clock import FixedClock
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VIEWS = TableRef(1, "shop", "views")
COLUMNS = ("time", "visitor", "seq", "event", "price", "agent")
MAPPED = {"table": "views", "columns": {"user_id": "visitor"}}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    made = SqlCatalog(database, FixedClock())
    for ref in (VIEWS, TableRef(1, "logs", "router")):
        made.ensure_table(ref)
        made.record_flush(ref, [Column(name, "string") for name in COLUMNS], 1, 1)
    yield made
    database.close()


def sql_of(catalog: SqlCatalog, body: dict[str, Any], name: str = "funnel", database: str = "shop") -> Any:
    return resolved_inputs(find(name), body, catalog, 1, database)["inputs"]


@pytest.mark.parametrize("dialect", ["trino", "presto", "hive", "duckdb"])
def test_only_what_is_read_is_selected_in_the_requests_dialect(catalog: SqlCatalog, dialect: str) -> None:
    steps = [{"where": [{"column": "price", "op": "=", "value": "9"}]}, "b"]
    body = {"tables": {"events": MAPPED}, "dialect": dialect, "params": {"steps": steps}}
    sql = sql_of(catalog, body)["events"]
    compiled = compile_query(sql, dialect, 1, "logs", catalog.table_exists, Times(0, 0))
    assert list(compiled.views.values()) == [VIEWS]
    assert '"visitor" AS "user_id"' in compiled.sql
    assert "agent" not in sql


def test_names_that_need_quotes_stay_names(catalog: SqlCatalog) -> None:
    with pytest.raises(InvalidInput, match="has no column"):
        sql_of(catalog, {"tables": {"events": {**MAPPED, "columns": {"user_id": 'x" FROM y --'}}}})
    with pytest.raises(NotFound):
        sql_of(catalog, {"tables": {"events": 'shop.views" WHERE 1=1 --'}})


def test_without_inputs_the_tables_of_their_names_are_read(catalog: SqlCatalog) -> None:
    with pytest.raises(InvalidInput, match=r"router needs status|needs status"):
        sql_of(catalog, {}, "operations", "logs")
    with pytest.raises(InvalidInput, match="no table of the name of one: router, app, dyno, metrics"):
        sql_of(catalog, {}, "operations", "shop")
    assert sql_of(catalog, {}, "usage") == {}


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        (
            {"events": "shop.views"},
            "events needs user_id .VARCHAR., and table shop.views has no column 'user_id'",
        ),
        ({"views": MAPPED}, "funnel has no input views. It reads events"),
        ({"events": 7}, "given as '7'"),
        ({"events": {"table": "views", "colums": {}}}, "colums"),
        ({"events": {**MAPPED, "columns": {"user_id": 7}}}, "user_id"),
        ({"events": {**MAPPED, "columns": {"usr": "visitor"}}}, "has no column 'usr'. It has user_id"),
        ([], "must be objects"),
    ],
)
def test_a_map_that_cannot_be_is_refused_in_words(catalog: SqlCatalog, tables: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        sql_of(catalog, {"tables": tables or [1]})


def test_an_input_is_given_once(catalog: SqlCatalog) -> None:
    with pytest.raises(InvalidInput, match="given twice"):
        sql_of(catalog, {"tables": {"events": MAPPED}, "inputs": {"events": "SELECT 1"}})


def test_named_snapshots_are_the_versions_that_are_read() -> None:
    asked = {"inputs": {"items": "SELECT 1"}, "snapshots": {"shop.views": 12}}
    params = check_request("ranking", asked)
    assert named_pins(1, params) == {VIEWS: Pin(12)}
    for wrong in ({"views": 12}, {"shop.views": "12"}, {"shop.views": True}, {"shop.views": -1}, [1]):
        with pytest.raises(InvalidInput, match="snapshot"):
            check_request("ranking", {**asked, "snapshots": wrong})


@pytest.mark.parametrize("field", ["again", "colour"])
def test_only_fields_that_there_are_can_be_given_and_the_answer_lists_them(field: str) -> None:
    with pytest.raises(InvalidInput, match=f"There is no field '{field}'") as refused:
        check_request("ranking", {"inputs": {"items": "SELECT 1"}, field: 5})
    assert refused.value.hint is not None
    assert "tables" in refused.value.hint
    assert "again" not in refused.value.hint


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"priority": 3}, "priority must be -2 to 2, not 3"),
        ({"priority": True}, "priority must be -2 to 2, not true"),
        ({"retry_limit": -1}, "retry_limit must be 0 to 1000, not -1"),
        ({"domain_key": ""}, "domain_key"),
        ({"domain_key": "k" * 256}, "domain_key"),
    ],
)
def test_what_the_queue_is_told_is_checked(body: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        check_schedule(body)
    assert check_schedule({"priority": 2}) == {"priority": 2, "retry_limit": 0, "domain_key": None}
