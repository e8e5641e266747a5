"""All inputs of a run, and each repetition, read one version of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from addon.models.tables import TableRef
from addon.query.analysis_request import check_request, named_pins
from addon.query.pins import Pins
from addon.warehouse.store import DeltaWarehouse, Lines
from jobs.registry import find
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

REF = TableRef(1, "shop", "events")


@pytest.fixture
def warehouse(tmp_path: Path) -> DeltaWarehouse:
    return DeltaWarehouse(tmp_path / "warehouse", keep_s=0)


def put(warehouse: DeltaWarehouse, segment: int) -> None:
    lines = Lines(pa.array([f'{{"a":{segment}}}']), pa.array([9], pa.int64()))
    warehouse.commit(warehouse.prepare(REF, lines), "w", segment)


def rows(pins: Pins, warehouse: DeltaWarehouse) -> int | None:
    snapshot = pins.snapshot(warehouse, REF)
    return None if snapshot is None else snapshot.rows


def test_rows_that_come_between_two_inputs_are_in_neither(warehouse: DeltaWarehouse) -> None:
    put(warehouse, 1)
    pins = Pins()
    assert rows(pins, warehouse) == 1
    put(warehouse, 2)
    assert rows(pins, warehouse) == 1
    assert rows(Pins(), warehouse) == 2
    assert rows(Pins({REF: pins.of(REF)}), warehouse) == 1


def test_a_table_that_was_empty_is_empty_again(warehouse: DeltaWarehouse) -> None:
    pins = Pins()
    assert rows(pins, warehouse) is None
    put(warehouse, 1)
    assert rows(Pins({REF: pins.of(REF)}), warehouse) is None


def test_a_version_whose_files_are_gone_or_another_tables_is_not_read(warehouse: DeltaWarehouse) -> None:
    for segment in range(1, 40):
        put(warehouse, segment)
    pins = Pins()
    pins.snapshot(warehouse, REF)
    assert warehouse.compact(REF) > 1
    assert rows(Pins({REF: pins.of(REF)}), warehouse) == 39  # the old files are there yet
    warehouse.sweep()
    warehouse.sweep()
    with pytest.raises(NotFound, match="merged and deleted"):
        Pins({REF: pins.of(REF)}).snapshot(warehouse, REF)
    newest = Pins()
    newest.snapshot(warehouse, REF)
    warehouse.drop(REF)
    for segment in range(50, 95):
        put(warehouse, segment)
    with pytest.raises(NotFound, match="deleted since"):
        Pins({REF: newest.of(REF)}).snapshot(warehouse, REF)


def test_a_manifest_that_names_one_table_in_two_versions_is_refused() -> None:
    def entry(version: int) -> dict[str, object]:
        table = {"database": "shop", "table": "events", "version": version, "files_sha256": "x"}
        return {"sql": "select 1", "dialect": "trino", "database": "shop", "tables": [table]}

    manifest = {
        "format": 2, "analysis": "paths", "version": find("paths").version, "params": {},
        "engine": "duckdb", "queried_at": 5,
        "result_hash": "h", "inputs": {"touches": entry(3), "conversions": entry(3)},
    }  # fmt: skip
    request = check_request("paths", {"from_manifest": manifest})
    (pin,) = named_pins(1, request).values()
    assert (pin.version, pin.files, request["again"]["at"]) == (3, "x", 5)
    manifest["inputs"] = {"touches": entry(3), "conversions": entry(4)}
    with pytest.raises(InvalidInput, match="not a manifest"):
        check_request("paths", {"from_manifest": manifest})
