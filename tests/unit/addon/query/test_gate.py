"""What SQL may say."""

from __future__ import annotations

import contextlib

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.models.tables import TableRef
from addon.query.dialects import compile_query, result_type
from addon.query.td_functions import Times
from platform_core.base.errors import Forbidden, InvalidInput, NotFound, TooLarge, UserError

TIMES = Times(now=1_780_000_000, scheduled=1_780_000_000)
ALLOWED_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree"}
TABLES = {TableRef(1, "shop", "events"), TableRef(1, "shop", "users"), TableRef(1, "logs", "app")}


def run(sql: str, dialect: str = "trino") -> str:
    return compile_query(sql, dialect, 1, "shop", TABLES.__contains__, TIMES).sql


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from parquet_scan('x.parquet')",
        "select * from glob('/**')",
        "select * from duckdb_settings()",
        "select * from pragma_version()",
        "select * from query('select 1')",
        "select * from query_table('x')",
        "select getenv('HOME')",
        "select current_setting('memory_limit')",
        "copy events to '/tmp/x'",
        "attach '/tmp/x'",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '1TB'",
        "pragma database_list",
        "insert into events values (1)",
        "delete from events",
        "create table x as select 1",
        "drop table events",
        "with x as (delete from events returning *) select * from x",
        "select * into x from events",
        "explain select 1",
        "call x()",
        "export database 'x'",
    ],
)
@pytest.mark.parametrize("dialect", ["duckdb", "trino"])
def test_whatever_is_not_a_query_over_tables_is_refused(sql: str, dialect: str) -> None:
    with pytest.raises(UserError):
        run(sql, dialect)


def _table_functions() -> list[str]:
    sql = "select distinct function_name from duckdb_functions() where function_type like 'table%'"
    found = {name for (name,) in duckdb.sql(sql).fetchall()} - ALLOWED_TABLE_FUNCTIONS
    assert len(found) > 50
    return sorted(found)


@pytest.mark.parametrize("dialect", ["duckdb", "trino", "hive"])
@pytest.mark.parametrize(
    "form",
    [
        "select * from {}(1)",
        'select * from "{}"(1)',
        "select * from main.{}(1)",
        "select * from events, lateral {}(x) t",
        "select * from events cross join {}('x') t",
        "select * from events left join lateral {}(x) t on true",
        "select * from events lateral view {}(x) t as a",
        "select (select max(a) from {}('x') t(a))",
        "select * from table({}(1))",
        "from {}(1)",
    ],
)
def test_no_table_function_that_is_not_known_is_read_from(form: str, dialect: str) -> None:
    for name in [*_table_functions(), "made_by_a_later_version"]:
        with pytest.raises(UserError):
            run(form.format(name), dialect)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from range(3)",
        "select * from generate_series(1, 3) t(n)",
        "select * from unnest([1, 2]) t(n)",
        "select * from (values (1, 2)) t(a, b)",
        "select * from events, lateral (select events.x + 1) t(y)",
        "select * from events, unnest(events.tags) t(tag)",
        "select * from events, lateral unnest(events.tags) t(tag)",
        "select * from events e, lateral json_each(e.x) j",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select * from r",
        "select * from events pivot (count(*) for x in ('a', 'b'))",
        "from events select x",
        "select * from events tablesample 10%",
        "select * from events a join (users b join users c on b.id = c.id) on a.id = b.id",
    ],
)
def test_harmless_sources_pass(sql: str) -> None:
    assert run(sql, "duckdb")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from nope",
        "select * from other.events",
        "select * from '/etc/passwd'",
        "select (select count(*) from 'x.parquet')",
        "select * from events where x in (select y from nope)",
        "with a as (select 1) select * from a join b on true",
        "select * from information_schema.tables",
        "select * from a union all select * from events",
    ],
)
def test_tables_outside_the_account_do_not_exist(sql: str) -> None:
    with pytest.raises(NotFound):
        run(sql, "duckdb")


def test_another_catalog_is_refused_and_treasure_datas_own_is_not() -> None:
    with pytest.raises(Forbidden):
        run("select * from system.shop.events")
    assert '"shop.events"' in run('select * from "td-presto".shop.events')


def test_a_cte_may_shadow_the_table_it_reads() -> None:
    text = run("with events as (select * from events where x = 1) select * from events")
    assert text.count('"shop.events"') == 1


def test_the_tables_name_still_qualifies_columns() -> None:
    text = run("select events.x, shop.events.y, u.z from events join shop.users u on u.id = events.id")
    assert "events.x, events.y, u.z" in text
    assert '"shop.users" AS u' in text


@pytest.mark.parametrize(
    "sql", ["", "select 1; select 2", "select from where", "select nope(", "\0", "(" * 5000]
)
def test_broken_text_is_the_callers_mistake(sql: str) -> None:
    with pytest.raises(InvalidInput):
        run(sql)


def test_a_query_over_one_mebibyte_is_refused() -> None:
    with pytest.raises(TooLarge):
        run("select '" + "x" * (1 << 20) + "'")


def test_unnamed_columns_are_called_as_in_each_dialect() -> None:
    sql = "select count(*), x, max(y) m, 1 + 1 from events group by x"
    assert '"_col0"' in run(sql, "presto")
    assert '"_col3"' in run(sql, "presto")
    assert '"_c0"' in run(sql, "hive")
    assert "_c" not in run(sql, "duckdb")


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered_with_sql_or_a_users_error(text: str) -> None:
    with contextlib.suppress(UserError):
        assert run("select " + text, "duckdb")


def test_types_go_by_the_dialects_names() -> None:
    assert result_type("HUGEINT", "presto") == "bigint"
    assert result_type("VARCHAR[]", "presto") == "array(varchar)"
    assert result_type("VARCHAR[]", "hive") == "array<string>"
    assert result_type("DECIMAL(10,2)", "trino") == "decimal(10,2)"
    assert result_type("STRUCT(a INTEGER)", "trino") == "json"
    assert result_type("INTEGER", "hive") == "int"
