"""A version's files as columns: which of them a range of time meets, and their form on disk."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.warehouse.files import FIRST, LAST, FileSet, Paths, TableState
from addon.warehouse.history import packed, unpacked
from addon.warehouse.schema import TableSchema

_spans = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.booleans()), max_size=12)
_ranges = st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60)), max_size=4)


def _file_set(drawn: list[tuple[int, int, bool]]) -> FileSet:
    """Files as the log gives them; the third of each tells whether it has statistics."""
    count = len(drawn)
    columns: dict[str, Any] = {
        "path": pa.array([f"f{n}" for n in range(count)], pa.string()),
        "size_bytes": pa.array([n + 1 for n in range(count)], pa.int64()),
        "num_records": pa.array([1] * count, pa.int64()),
        "min.time": pa.array([low if known else None for low, _, known in drawn], pa.int64()),
        "max.time": pa.array([low + span if known else None for low, span, known in drawn], pa.int64()),
        "modification_time": pa.array(list(range(count)), pa.timestamp("ms")),
    }
    return FileSet.from_actions(pa.table(columns))


@settings(deadline=None)
@given(_spans, _ranges)
def test_a_file_is_met_by_every_range_that_it_may_have_rows_in(
    drawn: list[tuple[int, int, bool]], ranges: list[tuple[int, int]]
) -> None:
    files = _file_set(drawn)
    met = {files.names[position].as_py() for position in files.meeting(ranges)}
    expected = {
        f"f{n}"
        for n, (low, span, known) in enumerate(drawn)
        for first, last in ranges
        if not known or (low <= last and low + span >= first)
    }
    assert met == expected
    known = [(low, low + span) for low, span, has in drawn if has]
    assert files.bounds == ((min(low for low, _ in known), max(high for _, high in known)) if known else None)


@settings(deadline=None)
@given(_spans)
def test_what_is_written_is_read_back(drawn: list[tuple[int, int, bool]]) -> None:
    files = _file_set(drawn)
    schema = TableSchema().with_columns([("a b", "double"), ("c", "json")])
    from deltalake import Schema  # noqa: PLC0415  (heavy)

    data = packed(TableState(7, schema, files), Schema(schema.delta_fields()).to_json())
    again = unpacked(data)
    assert (again.version, again.schema) == (7, schema)
    assert list(again.files.records()) == list(files.records())
    assert list(FileSet.from_records(files.records()).records()) == list(files.records())
    assert [record[3] for record in files.records()] == sorted(record[3] for record in files.records())


def test_without_statistics_a_file_reaches_over_all_time() -> None:
    files = _file_set([(5, 5, False), (1, 1, True)])
    assert [(record[0], record[3], record[4]) for record in files.records()] == [
        ("f0", FIRST, LAST),
        ("f1", 1, 2),
    ]


def test_paths_are_made_when_they_are_asked_for() -> None:
    made: list[str] = []

    def place(name: str) -> Any:
        made.append(name)
        return PurePosixPath("/t") / name

    paths = Paths(pa.array(["a", "b", "c"]), place)
    assert len(paths) == 3
    assert made == []
    assert paths[1] == PurePosixPath("/t/b")
    assert paths[1:] == [PurePosixPath("/t/b"), PurePosixPath("/t/c")]
    assert paths == [PurePosixPath(f"/t/{name}") for name in "abc"]
