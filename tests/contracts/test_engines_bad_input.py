"""Bad input on both engines: refused with its place, or left out and counted; never silently other rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.contracts.errors import InputError
from jobs.engines.duck import DuckEngine
from jobs.engines.spark import SparkEngine
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobs.engine.port import Engine

SMALL_DATA = {"spark.sql.codegen.wholeStage": "false", "spark.sql.shuffle.partitions": "1"}
HEADER = "user_id,time,seq,event\n"

pytestmark = pytest.mark.xdist_group("spark")


@pytest.fixture(scope="module", params=["duckdb", pytest.param("spark", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = DuckEngine(threads=1) if request.param == "duckdb" else SparkEngine(conf=SMALL_DATA)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("text", "line", "fields"),
    [
        (HEADER + "a,1,1,x\n" * 3 + "b,1,1,x,y\n" * 50, 5, 5),
        (HEADER + "a,1,1,x\n" * 3 + "b,1,1\n", 5, 3),
        ("# a remark\n" + HEADER + "a,1,1,x\n", 2, 4),
        (HEADER + "#a,1,1,x,t\n" + "b,1,1,x\n" * 50, 2, 5),
    ],
)
def test_a_csv_row_of_another_width_is_refused_with_its_line(
    engine: Engine, tmp_path: Path, text: str, line: int, fields: int
) -> None:
    """A reader that guesses the dialect leaves out rows here, or pads and cuts them."""
    file = tmp_path / "events.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError, match=rf"events\.csv: the row that ends in line {line} has {fields} fields"
    ):
        run_analysis("sessions", engine, {"events": file})


def test_csv_with_a_mark_at_its_start_empty_lines_and_hashes_is_read_whole(
    engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "events.csv"
    text = "\ufeff" + HEADER.strip() + '\r\n#a,1,1,"x;y"\r\n\r\nb,1,1,"say ""x"""\r\n'
    file.write_bytes(text.encode())
    found = run_analysis("sessions", engine, {"events": file}).tables["sessions"]
    assert found["user_id"].to_pylist() == ["#a", "b"]
    assert found["entry_event"].to_pylist() == ["x;y", 'say "x"']


def test_csv_in_another_encoding_is_refused(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes((HEADER + "caf\u00e9,1,1,x,y\n").encode("latin-1"))
    with pytest.raises(InputError, match=r"events\.csv"):
        run_analysis("sessions", engine, {"events": file})


def test_a_column_that_never_has_a_value_is_a_column_of_nulls(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    nothing = pa.nulls(2)
    columns = {"user_id": ["a", "b"], "time": [1, 2], "seq": [1, 2], "event": ["x", "y"]}
    pq.write_table(pa.table({**columns, "value_minor": nothing, "utm_source": nothing}), file)
    found = run_analysis("sessions", engine, {"events": file})
    assert found.tables["sessions"]["value_minor"].to_pylist() == [0, 0]
    pq.write_table(pa.table({**columns, "user_id": nothing}), file)
    found = run_analysis("sessions", engine, {"events": file})
    assert found.manifest["rows_excluded"] == {"events": {"null_user_id": 2}}


def test_numbers_that_are_none_rank_nowhere_and_are_counted(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    values = [float("nan"), float("inf"), float("-inf"), 1.5, None]
    pq.write_table(pa.table({"item": list("abcde"), "value": pa.array(values, pa.float64())}), file)
    found = run_analysis("ranking", engine, {"items": file})
    assert found.tables["ranking"].select(["item", "metric", "share"]).to_pylist() == [
        {"item": "d", "metric": 1.5, "share": 1.0}
    ]
    assert found.manifest["rows_excluded"] == {"items": {"null_value": 4}}
