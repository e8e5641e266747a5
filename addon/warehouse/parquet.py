"""Parquet files, durable: zstd level 1, page checksums, fsync of the file and of its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from addon.warehouse.folders import open_for_reading, sync_file, sync_folder
from platform_core.base import failpoints

if TYPE_CHECKING:
    from pathlib import Path

_ROW_GROUP = 122_880
"""DuckDB's vector batch size; small enough for min/max pruning by time to bite."""
_SAMPLE = 4_096


def _repetitive(table: pa.Table) -> list[str]:
    """Return the text columns whose values repeat, for which a dictionary pays."""
    names = []
    for item in table.schema:
        if pa.types.is_string(item.type):
            sample = table[item.name].slice(0, _SAMPLE)
            if pc.count_distinct(sample).as_py() * 2 <= len(sample):
                names.append(item.name)
    return names


def write_parquet(table: pa.Table, path: Path) -> int:
    """Write ``table`` to ``path`` in one step that a crash cannot halve; return the file's size in bytes.

    A file of that name that an interrupted attempt left is replaced.
    """
    draft = path.with_suffix(".tmp")
    pq.write_table(
        table,
        draft,
        compression="zstd",
        compression_level=1,
        use_dictionary=_repetitive(table),
        row_group_size=_ROW_GROUP,
        write_page_checksum=True,
    )
    failpoints.hit("parquet.pre_fsync")
    open_for_reading(draft)
    sync_file(draft)
    draft.replace(path)
    sync_folder(path.parent)
    failpoints.hit("parquet.post_fsync")
    return path.stat().st_size


def sorted_by_time(table: pa.Table) -> pa.Table:
    """Return the rows in the order of ``time``; equal times keep their order of arrival."""
    times = table["time"].combine_chunks()
    if len(times) <= 1 or pc.all(pc.less_equal(times[:-1], times[1:])).as_py():
        return table
    order = pc.sort_indices(pa.table({"time": times, "row": pa.array(np.arange(len(times)))}), _BY_TIME)
    return table.take(order)


_BY_TIME = [("time", "ascending"), ("row", "ascending")]
