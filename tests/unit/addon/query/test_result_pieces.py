"""A large result leaves in large pieces, whatever its form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgpack
import pyarrow as pa
import pytest
from isal import igzip

from addon.query.result_arrow import arrow_stream
from addon.query.results import rendered

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000


@pytest.mark.parametrize("form", ["json", "csv", "tsv", "msgpack"])
def test_a_large_result_is_not_sent_row_by_row(form: str) -> None:
    packed = b"".join(msgpack.packb([n, f"name {n}"]) for n in range(ROWS))
    pieces = list(rendered(igzip.compress(packed), form, ["n", "name"], header=False))
    assert len(pieces) < ROWS / 100
    if form == "json":
        assert [json.loads(line)[0] for line in b"".join(pieces).splitlines()] == list(range(ROWS))


def test_an_empty_result_is_an_empty_body() -> None:
    assert b"".join(rendered(igzip.compress(b""), "json", ["n"], header=False)) == b""


def test_an_arrow_stream_has_the_columns_types_and_nulls(tmp_path: Path) -> None:
    schema = [("n", "bigint"), ("x", "double"), ("ok", "boolean"), ("n", "decimal(4,2)"), ("day", "date")]
    rows = [[1, 0.5, True, "1.50", "2026-01-01"], [None, None, None, None, None]]
    file = tmp_path / "result"
    for packed, expected in ((rows, [*zip(*rows, strict=True)]), ([], [()] * 5)):
        file.write_bytes(igzip.compress(b"".join(map(msgpack.packb, packed))))
        table = pa.ipc.open_stream(b"".join(arrow_stream(file, schema))).read_all()
        assert table.column_names == ["n", "x", "ok", "n", "day"]
        assert [str(kind) for kind in table.schema.types] == ["int64", "double", "bool", "string", "string"]
        assert [tuple(column.to_pylist()) for column in table.columns] == expected
