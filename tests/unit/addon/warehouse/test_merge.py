"""Merging files: all rows, in the order of (time, arrival), in little memory, and no damage copied."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.models.tables import Column
from addon.warehouse import merge as merge_module
from addon.warehouse.compaction import carry_out
from addon.warehouse.merge import Damaged, affordable, merged, survey
from addon.warehouse.merge_plan import WINDOW_S, Candidate, Merge
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.parquet import write_parquet
from addon.warehouse.schema import TIME, TableSchema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = TableSchema(
    (TIME, Column("n", "long", stored=(("n", "long"),)), Column("s", "string", stored=(("s", "string"),)))
)
PREFIX = "7/shop/events"


def rows_of(times: Sequence[int], start: int) -> pa.Table:
    """Rows numbered from ``start``, in the order given."""
    numbers = range(start, start + len(times))
    return pa.table(
        {
            "time": pa.array(times, pa.int64()),
            "n": pa.array(numbers, pa.int64()),
            "s": pa.array([f"row {number}" for number in numbers]),
        }
    )


def stored(objects: LocalObjects, table: pa.Table, arrival: int) -> Candidate:
    """Store a table as the flush would."""
    draft = objects.scratch / f"{uuid.uuid4().hex}.tmp"
    digest = write_parquet(table, draft)
    name = f"w-{arrival:020d}-{digest[:16]}.parquet"
    size = objects.put_file(f"{PREFIX}/{name}", draft)
    times = table["time"].to_pylist() or [0]
    return Candidate(name, size, table.num_rows, min(times), max(times), 0, arrival)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=12), min_size=1, max_size=6), st.booleans())
def test_rows_come_in_the_order_of_time_and_arrival(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], ordered: bool
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    expected, surveyed, number = [], [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge_module, "_MOST_ROWS", 2)
        patch.setattr(merge_module, "_LEAST_ROWS", 1)
        for place, drawn in enumerate(files):
            times = sorted(drawn) if ordered else drawn
            path = folder / f"{place}.parquet"
            write_parquet(rows_of(times, number), path)
            expected += [(time, number + index) for index, time in enumerate(times)]
            number += len(times)
            surveyed.append(survey(path, WINDOW_S))
        pieces = list(merged(surveyed, SCHEMA))
    found = [
        pair
        for piece in pieces
        for pair in zip(piece["time"].to_pylist(), piece["n"].to_pylist(), strict=True)
    ]
    assert found == sorted(expected)
    assert sum(file.rows for file in surveyed) == number


def test_rows_of_one_second_are_not_gathered_in_memory(tmp_path: Path) -> None:
    surveyed = []
    for place in range(3):
        write_parquet(rows_of([5] * 50_000, place * 50_000), tmp_path / f"{place}.parquet")
        surveyed.append(survey(tmp_path / f"{place}.parquet", WINDOW_S))
    pieces = list(merged(surveyed, SCHEMA))
    assert max(piece.num_rows for piece in pieces) <= 16_384
    assert pa.concat_tables(pieces)["n"].to_pylist() == list(range(150_000))


def test_files_that_do_not_overlap_are_not_open_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed = []
    for place in range(8):
        write_parquet(rows_of(range(place * 100, place * 100 + 90), 0), tmp_path / f"{place}.parquet")
        surveyed.append(survey(tmp_path / f"{place}.parquet", WINDOW_S))
    held, most = 0, 0
    opened = merge_module.open_file

    class Counting:
        def __init__(self, path: Path) -> None:
            self.inner = opened(path)

        def __enter__(self) -> pq.ParquetFile:
            nonlocal held, most
            held += 1
            most = max(most, held)
            return self.inner

        def __exit__(self, *_: object) -> None:
            nonlocal held
            held -= 1
            self.inner.close()

    monkeypatch.setattr(merge_module, "open_file", Counting)
    assert sum(piece.num_rows for piece in merged(surveyed, SCHEMA)) == 720
    assert (most, held) == (1, 0)


def test_only_as_many_overlapping_files_as_memory_allows_are_merged_at_once(tmp_path: Path) -> None:
    write_parquet(rows_of(range(1000), 0), tmp_path / "a.parquet")
    one = survey(tmp_path / "a.parquet", WINDOW_S)
    same = [dataclasses.replace(one, open_bytes=10) for _ in range(9)]
    apart = [dataclasses.replace(one, low=n, high=n, open_bytes=10) for n in range(9)]
    assert affordable(same, 45) == 4
    assert affordable(apart, 45) == 9
    assert affordable(same, 1) == 2


def test_a_result_is_cut_at_its_full_size_and_sorted_over_all_files(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    plan = Merge(tuple(stored(objects, rows_of(range(n, 400_000, 4), n * 100_000), n) for n in range(4)))
    done = carry_out(objects, PREFIX, plan, SCHEMA, full_bytes=300_000)
    assert len(done.new) > 2
    assert all(
        before.max_time <= after.min_time for before, after in zip(done.new, done.new[1:], strict=False)
    )
    whole = pa.concat_tables(pq.read_table(objects.path(f"{PREFIX}/{file.name}")) for file in done.new)
    assert whole["time"].to_pylist() == list(range(400_000))
    assert whole.schema.names == ["time", "n", "s", "_overflow"]
    assert [file.rows for file in done.new] == [
        pq.read_metadata(objects.path(f"{PREFIX}/{file.name}")).num_rows for file in done.new
    ]
    assert not list(objects.scratch.iterdir())


def test_late_rows_get_a_file_of_their_own(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    today = 400 * WINDOW_S
    late = [day * WINDOW_S for day in range(300)]
    fresh = [today + second for second in range(40_000)]
    plan = Merge((stored(objects, rows_of(late + fresh, 0), 1), stored(objects, rows_of(fresh, 50_000), 2)))
    done = carry_out(objects, PREFIX, plan, SCHEMA)
    assert [(file.min_time // WINDOW_S, file.max_time // WINDOW_S, file.rows) for file in done.new] == [
        (0, 299, 300),
        (400, 400, 80_000),
    ]


def _flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("place", [4, 200, -200, -20])
def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path, place: int) -> None:
    objects = LocalObjects(tmp_path)
    files = tuple(stored(objects, rows_of(range(5_000), n * 5_000), n) for n in range(3))
    _flipped(objects.path(f"{PREFIX}/{files[1].name}"), place)
    with pytest.raises(Damaged) as found:
        carry_out(objects, PREFIX, Merge(files), SCHEMA)
    assert found.value.name == files[1].name
    assert not list(objects.scratch.iterdir())


def test_page_checksums_are_verified_where_the_name_tells_no_digest(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    files = [stored(objects, rows_of(range(5_000), n * 5_000), n) for n in range(2)]
    path = objects.path(f"{PREFIX}/{files[0].name}")
    plain = path.with_name("foreign.parquet")
    path.rename(plain)
    files[0] = dataclasses.replace(files[0], name="foreign.parquet")
    column = pq.read_metadata(plain).row_group(0).column(2)
    _flipped(plain, column.data_page_offset + column.total_compressed_size // 2)
    with pytest.raises(Damaged):
        carry_out(objects, PREFIX, Merge(tuple(files)), SCHEMA)
    assert not list(objects.scratch.iterdir())


def test_a_file_with_other_rows_than_the_log_says_is_damaged(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    files = [stored(objects, rows_of(range(10), n * 10), n) for n in range(2)]
    files[1] = dataclasses.replace(files[1], rows=11)
    with pytest.raises(Damaged, match="10 rows, not 11"):
        carry_out(objects, PREFIX, Merge(tuple(files)), SCHEMA)
