from __future__ import annotations

import duckdb
import pytest

from addon.query.dialects import compile_query
from addon.query.td_functions import Times


def answer(sql: str, dialect: str) -> object:
    compiled = compile_query(sql, dialect, 1, "shop", lambda _: True, Times(0, 0))
    connection = duckdb.connect(config={"integer_division": "true"})
    (row,) = connection.execute(compiled.sql).fetchall()
    return row[0]


@pytest.mark.parametrize("dialect", ["trino", "presto"])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 7 / 2", 3),
        ("select -7 / 2", -3),
        ("select 7 / 2 / 2", 1),
        ("select (1 + 6) / (1 + 1) * 2", 6),
        ("select 7e0 / 2", 3.5),
        ("select 7 / cast(2 as double)", 3.5),
        ("select null / 2", None),
        ("select max(x) / 2 from (values (7), (9)) as t(x)", 4),
        ("select sum(x) / count(*) from (values (7), (8)) as t(x)", 7),
        ("select max(x) / 2 from (values (7e0), (9e0)) as t(x)", 4.5),
        ("select x / y from (values (7e0, 2)) as t(x, y)", 3.5),
        ("select x / y from (values (7, 2)) as t(x, y)", 3),
        ("select sum(x / 86400) from (values (86401), (172801)) as t(x)", 3),
        ("select row_number() over () / 2 from (values 1) as t(x)", 0),
    ],
)
def test_whole_numbers_divide_to_whole_numbers_in_trino(sql: str, expected: object, dialect: str) -> None:
    assert answer(sql, dialect) == expected


@pytest.mark.parametrize("dialect", ["hive", "duckdb"])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 7 / 2", 3.5),
        ("select 7 / 2 / 2", 1.75),
        ("select (1 + 6) / 2", 3.5),
        ("select sum(x) / count(*) from (values (7), (8)) as t(x)", 7.5),
        ("select x / 2 from (values (7)) as t(x)", 3.5),
        ("select 1 / 0", None),
        ("select 1e0 / 0e0", None),
    ],
)
def test_other_dialects_keep_their_fraction(sql: str, expected: object, dialect: str) -> None:
    assert answer(sql, dialect) == expected


def test_a_whole_number_by_zero_is_an_error_in_trino() -> None:
    with pytest.raises(duckdb.Error, match="Division by zero"):
        answer("select 1 / 0", "trino")
