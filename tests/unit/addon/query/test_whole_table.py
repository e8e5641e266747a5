"""Which inputs a Spark cluster reads from the table's own files, and what it is told of them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from addon.models.catalog import DeclaredColumn, TableInfo
from addon.models.tables import Column, Snapshot, TableRef
from addon.query.dialects import compile_query
from addon.query.service import Prepared, Query, _Pinned
from addon.query.spark_place import spark_place, write_pinned
from addon.query.td_functions import Times
from addon.query.whole_table import pinned_table
from platform_core.base.errors import InvalidInput
from platform_core.base.sandbox.spec import Bind, Network

if TYPE_CHECKING:
    from collections.abc import Sequence

REF = TableRef(7, "shop", "events")
COLUMNS = [
    Column("time", "long"),
    Column("user_id", "string"),
    Column("price", "double", stored=(("price", "long"), ("price__double", "double"))),
    Column("odd", "string", stored=(("odd", "long"), ("odd__string", "string"))),
]
FILES = [Path("/w/7/shop/events/a.parquet"), Path("/w/7/shop/events/b.parquet")]


class Halves:
    """The first file ends at 99, the second begins at 100."""

    def meeting(self, ranges: Sequence[tuple[int, int]]) -> Sequence[int]:
        return [
            n for n, (low, high) in enumerate(((0, 99), (100, 200)))
            if any(first <= high and low <= last for first, last in ranges)
        ]  # fmt: skip


def prepared(sql: str, *, since: int | None = None, declared: tuple[DeclaredColumn, ...] = ()) -> Prepared:
    compiled = compile_query(sql, "trino", 7, "shop", lambda _ref: True, Times(1_790_000_000, 1_790_000_000))
    snapshot = Snapshot(REF, 5, FILES, COLUMNS, 10, 30, spans=Halves(), sizes=[10, 20])
    table = TableInfo(
        1, "shop", "events", 0, declared, COLUMNS, True, False, False, None, None, None, 0.0, 0.0
    )
    return Prepared(
        Query(sql, "trino", "shop"),
        compiled,
        {name: _Pinned(table, snapshot, since) for name in compiled.views},
    )


def described(sql: str, **more: Any) -> Any:
    found = pinned_table(prepared(sql, **more), lambda files: [file.as_uri() for file in files])
    if found is None:
        return None
    stored = {column.name: column.stored for column in found.columns}
    return stored, [file.name for file in found.files], (found.first, found.last)


TIME = ("time", "BIGINT")
USER = ("user_id", "VARCHAR")


def test_columns_go_by_their_new_names_from_where_they_are_stored() -> None:
    assert described("SELECT user_id AS customer_id, time, price FROM events e") == (
        {
            "customer_id": (USER,),
            "time": (TIME,),
            "price": (("price", "BIGINT"), ("price__double", "DOUBLE")),
        },
        ["a.parquet", "b.parquet"],
        (None, None),
    )


@pytest.mark.parametrize(
    ("condition", "files", "bounds"),
    [
        ("time >= 100 AND time < 150", ["b.parquet"], (100, 149)),
        ("(time > 9) AND time <= 20 AND time >= 5", ["a.parquet"], (10, 20)),
        ("time BETWEEN 1 AND 300", ["a.parquet", "b.parquet"], (1, 300)),
        ("time = 100", ["b.parquet"], (100, 100)),
        ("TD_TIME_RANGE(time, 100, 120)", ["b.parquet"], (100, 119)),
    ],
)
def test_bounds_of_time_pass_over_files_and_stay_exact(
    condition: str, files: list[str], bounds: tuple[int, int]
) -> None:
    _, named, found = described(f"SELECT user_id, time FROM events WHERE {condition}")  # noqa: S608 (fixed text)
    assert (named, found) == (files, bounds)


def test_expired_rows_are_not_part_of_it() -> None:
    assert described("SELECT user_id FROM events", since=120)[1:] == (["b.parquet"], (120, None))
    assert described("SELECT user_id FROM events WHERE time >= 130", since=120)[2] == (130, None)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT user_id || 'x' AS user_id FROM events",
        "SELECT user_id FROM events WHERE user_id = 'a'",
        "SELECT user_id FROM events WHERE time >= 1.5",
        "SELECT user_id FROM events WHERE time >= 1 OR time < 9",
        "SELECT user_id FROM events WHERE NOT time >= 1",
        "SELECT DISTINCT user_id FROM events",
        "SELECT user_id FROM events LIMIT 5",
        "SELECT user_id FROM events ORDER BY time",
        "SELECT user_id FROM events GROUP BY user_id",
        "SELECT a.user_id FROM events a JOIN events b ON a.time = b.time",
        "SELECT user_id FROM events UNION ALL SELECT user_id FROM events",
        "SELECT user_id FROM (SELECT user_id FROM events) t",
        "SELECT user_id, user_id FROM events",
        "SELECT user_id AS time FROM events",
        "SELECT odd FROM events",
        "SELECT * FROM events",
        "SELECT 1 AS x",
        "SELECT user_id FROM events TABLESAMPLE BERNOULLI (10)",
        "WITH e AS (SELECT user_id FROM events) SELECT user_id FROM e",
    ],
)
def test_everything_else_is_computed_by_duckdb(sql: str) -> None:
    assert pinned_table(prepared(sql), lambda files: [file.as_uri() for file in files]) is None


def test_a_column_declared_with_another_type_is_computed_by_duckdb() -> None:
    declared = (DeclaredColumn("user_id", "long"),)
    assert described("SELECT user_id FROM events", declared=declared) is None


class Store:
    """A warehouse that gives addresses of its own."""

    def __init__(self, link: str) -> None:
        self.link, self.fetched = link, list[Path]()

    def links(self, files: Sequence[Path], seconds: float) -> Sequence[str]:
        assert seconds > 60
        return [self.link.format(file) for file in files]

    def reading(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is held."""

    def fetch(self, paths: Sequence[Path]) -> None:
        self.fetched += paths


def written(store: Store, tmp_path: Path, **environment: str) -> Any:
    place = spark_place({"SLUICE_SPARK_MASTER": "spark://one:7077", **environment})
    assert place is not None
    file = tmp_path / "events.snapshot.json"
    query = prepared("SELECT user_id FROM events")
    return write_pinned(query, store, place, file, 60), file  # type: ignore[arg-type]  # what is asked of it


def test_files_in_a_shared_folder_are_shown_to_the_driver_after_a_check(tmp_path: Path) -> None:
    store = Store("file://{}")
    folder = FILES[0].parent
    found, file = written(store, tmp_path, SLUICE_SPARK_SHARED="/w")
    assert found == ([Bind(folder, str(folder))], 30)
    assert store.fetched == FILES
    assert json.loads(file.read_text())["files"][0] == {
        "name": "a.parquet",
        "bytes": 10,
        "link": f"file://{FILES[0]}",
    }


def test_files_that_executors_do_not_see_are_left_to_duckdb(tmp_path: Path) -> None:
    store = Store("file://{}")
    found, file = written(store, tmp_path)
    assert found is None
    assert not file.exists()
    assert store.fetched == []


def test_signed_addresses_are_for_the_job_alone(tmp_path: Path) -> None:
    found, file = written(Store("https://s3{}?signature=s3cret"), tmp_path)
    assert found == ([], 30)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "s3cret" in file.read_text()


def test_a_driver_of_a_cluster_gets_the_network_and_the_configuration(tmp_path: Path) -> None:
    assert spark_place({}) is None
    assert spark_place({"SLUICE_SPARK_MASTER": "local[4]"}) is None
    named = {"SPARK_CONF_DIR": str(tmp_path), "PYSPARK_PYTHON": "python3", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    place = spark_place({"SLUICE_SPARK_MASTER": "yarn", **named})
    assert place is not None
    assert place.network is Network.HOST
    assert Bind(tmp_path, str(tmp_path)) in place.binds
    assert place.environment["PYSPARK_PYTHON"] == "python3"
    assert "s3cret" not in place.environment.values()
    with pytest.raises(InvalidInput, match="no Spark master"):
        spark_place({"SLUICE_SPARK_MASTER": "flink://x"})
