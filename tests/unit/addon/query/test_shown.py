"""A declared schema is how a table's columns are read, over real files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from addon.models.catalog import DeclaredColumn, TableInfo
from addon.models.tables import Column, Snapshot, TableRef
from addon.query.shown import column_kind, table_view

if TYPE_CHECKING:
    from pathlib import Path

REF = TableRef(1, "shop", "events")
DETECTED = [Column("time", "long"), Column("price", "long"), Column("who", "string"), Column("tags", "json")]


def _info(*declared: DeclaredColumn, detect: bool = True) -> TableInfo:
    return TableInfo(
        1, "shop", "events", 0, declared, DETECTED, detect, False, False, None, None, None, 0.0, 0.0
    )


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    file = tmp_path / "a.parquet"
    misfit = json.dumps({"price": "2.50"})
    rows = f"(1, 3, 'ann', '[1]', null), (2, null, '7', null, '{misfit}')"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select time::bigint as time, price::bigint as price, who, tags, o as _overflow"  # noqa: S608  (our own)
            f" from (values {rows}) t(time, price, who, tags, o)) to '{file}'"
        )
    return Snapshot(REF, 1, [file], DETECTED, 2, 100)


def _read(info: TableInfo, snapshot: Snapshot | None) -> tuple[list[str], list[str], list[Any]]:
    files = [] if snapshot is None else [str(file) for file in snapshot.files]
    with duckdb.connect() as connection:
        found = connection.sql(table_view(info, snapshot, files))
        return found.columns, [str(kind) for kind in found.types], found.fetchall()


def test_without_a_declaration_the_detected_columns_show(snapshot: Snapshot) -> None:
    names, kinds, rows = _read(_info(), snapshot)
    assert names == ["time", "price", "who", "tags"]
    assert kinds == ["BIGINT", "BIGINT", "VARCHAR", "VARCHAR"]
    assert rows == [(1, 3, "ann", "[1]"), (2, None, "7", None)]


def test_another_declared_type_brings_misfits_back(snapshot: Snapshot) -> None:
    names, kinds, rows = _read(
        _info(DeclaredColumn("price", "double"), DeclaredColumn("who", "int")), snapshot
    )
    assert names == ["time", "price", "who", "tags"]
    assert kinds == ["BIGINT", "DOUBLE", "BIGINT", "VARCHAR"]
    assert rows == [(1, 3.0, None, "[1]"), (2, 2.5, 7, None)]
    assert [row[1] for row in _read(_info(DeclaredColumn("price", "string")), snapshot)[2]] == ["3", "2.50"]


def test_an_alias_takes_the_place_of_the_name(snapshot: Snapshot) -> None:
    info = _info(DeclaredColumn("who", "string", "customer"), DeclaredColumn("new", "array<long>", "price"))
    names, _, rows = _read(info, snapshot)
    assert names == ["time", "customer", "price", "tags"]
    assert rows == [(1, "ann", None, "[1]"), (2, "7", None, None)]


def test_without_detection_only_declared_columns_show(snapshot: Snapshot) -> None:
    assert _read(_info(DeclaredColumn("who", "string"), detect=False), snapshot)[0] == ["time", "who"]


def test_a_table_without_rows_shows_what_was_declared() -> None:
    names, kinds, rows = _read(_info(DeclaredColumn("price", "float"), DeclaredColumn("ok", "boolean")), None)
    assert (names, kinds, rows) == (["time", "price", "ok"], ["BIGINT", "DOUBLE", "BOOLEAN"], [])


@pytest.mark.parametrize("kind", ["", "varchar", "array<", "map<string,long>x", "String"])
def test_unknown_types_are_known_as_such(kind: str) -> None:
    assert column_kind(kind) is None
