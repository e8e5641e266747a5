"""One behaviour suite over every implementation of the engine port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.contracts.errors import EngineError, InputError
from jobs.engine.port import Engine, Kind
from jobs.engine.text import literal
from jobs.engines.duck import DuckEngine
from jobs.engines.spark import SparkEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Compiling each query to Java code costs more than it saves on a few rows.
SMALL_DATA = {"spark.sql.codegen.wholeStage": "false", "spark.sql.shuffle.partitions": "1"}

pytestmark = pytest.mark.xdist_group("spark")


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = DuckEngine(threads=1) if request.param == "duckdb" else SparkEngine(conf=SMALL_DATA)
    yield made
    made.close()


def rows(engine: Engine, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.collect(sql).to_pylist()
    return found


def test_parquet_files_are_one_table_by_column_name(engine: Engine, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": ["y"], "a": [2]}), tmp_path / "2.parquet")
    engine.register_parquet("two_files", [tmp_path / "1.parquet", tmp_path / "2.parquet"])
    assert rows(engine, "SELECT a, b FROM two_files ORDER BY a") == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert {name: column.kind for name, column in engine.columns("two_files").items()} == {
        "a": Kind.INTEGER,
        "b": Kind.TEXT,
    }


def test_csv_is_text_with_quotes_and_line_ends_inside(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text('a,b c\n1,"x ""y"", z\nw"\n02,\n', encoding="utf-8")
    engine.register_csv("texts", [file])
    name = engine.dialect.identifier("b c")
    assert rows(engine, f"SELECT a, NULLIF({name}, '') AS b FROM texts ORDER BY a") == [  # noqa: S608 - fixed text
        {"a": "02", "b": None},
        {"a": "1", "b": 'x "y", z\nw'},
    ]


def test_a_file_of_another_format_is_an_input_error(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "not.parquet"
    file.write_text("hello")
    with pytest.raises(InputError, match=r"not\.parquet"):
        engine.register_parquet("broken", [file])


def test_views_follow_and_materialized_results_stay(engine: Engine) -> None:
    engine.register_arrow("source", pa.table({"a": [1, 2]}))
    engine.view("doubled", "SELECT a * 2 AS a FROM source")
    engine.materialize("kept", "SELECT SUM(a) AS s FROM doubled")
    assert rows(engine, "SELECT s FROM kept") == [{"s": 6}]
    engine.view("doubled", "SELECT a * 3 AS a FROM source")
    assert rows(engine, "SELECT SUM(a) AS s FROM doubled") == [{"s": 9}]
    engine.materialize("doubled", "SELECT 1 AS a")
    assert rows(engine, "SELECT a FROM doubled") == [{"a": 1}]


def test_lists_split_and_join_in_order(engine: Engine) -> None:
    engine.register_arrow("joined", pa.table({"id": [1, 2], "path": ["c>a>b", ""]}))
    split = engine.dialect.split_table("joined", "path", ">")
    assert rows(engine, f"SELECT id, part, place FROM ({split}) AS parts ORDER BY id, place") == [  # noqa: S608
        {"id": 1, "part": "c", "place": 1},
        {"id": 1, "part": "a", "place": 2},
        {"id": 1, "part": "b", "place": 3},
        {"id": 2, "part": "", "place": 1},
    ]
    again = engine.dialect.ordered_concat("part", " > ", "place")
    assert rows(engine, f"SELECT {again} AS p FROM ({split}) AS parts WHERE id = 1") == [{"p": "c > a > b"}]  # noqa: S608


def test_series_include_both_ends_and_may_be_empty(engine: Engine) -> None:
    engine.register_arrow("ends", pa.table({"low": [0, 3], "high": [2, 1]}))
    series = engine.dialect.series("low", "high")
    assert [row["n"] for row in rows(engine, f"SELECT {series} AS n FROM ends ORDER BY n")] == [0, 1, 2]  # noqa: S608


def test_months_are_counted_through_leap_years(engine: Engine) -> None:
    engine.register_arrow("days", pa.table({"day": pa.array([0, 11_015, 11_016, 11_017], pa.int64())}))
    index = engine.dialect.month_index("day")
    start = engine.dialect.month_start(f"({index})")
    found = rows(engine, f"SELECT {index} AS i, {start} AS s FROM days ORDER BY day")  # noqa: S608
    # 2000-02-28, 2000-02-29 and the day after: 2000 was a leap year.
    assert [(row["i"], row["s"]) for row in found] == [
        (23_640, 0),
        (24_001, 10_988),
        (24_001, 10_988),
        (24_002, 11_017),
    ]


def test_casts_that_fail_give_null(engine: Engine) -> None:
    cast = engine.dialect.try_cast("t", "BIGINT")
    engine.register_arrow("texts2", pa.table({"t": ["5", "x"]}))
    assert [row["n"] for row in rows(engine, f"SELECT {cast} AS n FROM texts2 ORDER BY t")] == [5, None]  # noqa: S608


def test_literals_keep_type_and_text(engine: Engine) -> None:
    values = [0.1, 7, True, "it's a \\ back\\\\slash", None]
    items = ", ".join(f"{literal(value)} AS c{index}" for index, value in enumerate(values))
    assert list(rows(engine, f"SELECT {items}")[0].values()) == values


def test_a_bad_statement_is_an_engine_error_in_one_line(engine: Engine) -> None:
    with pytest.raises(EngineError) as caught:
        engine.collect("SELECT nothing FROM nowhere")
    assert "nowhere" in str(caught.value)
