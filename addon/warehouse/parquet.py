"""Parquet files: LZ4 when fresh, zstd level 1 when merged; page checksums. The store makes them durable."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

_ROW_GROUP = 122_880
"""DuckDB's vector batch size; small enough for min/max pruning by time to bite."""
_SAMPLE = 4_096
_PAGE = 128 << 10
"""Bytes; a reader holds one page per column, and a merge has many readers."""


def _repetitive(table: pa.Table) -> list[str]:
    """Return the text columns whose values repeat, for which a dictionary pays."""
    names = []
    for item in table.schema:
        if pa.types.is_string(item.type):
            sample = table[item.name].slice(0, _SAMPLE)
            if pc.count_distinct(sample).as_py() * 2 <= len(sample):
                names.append(item.name)
    return names


def encoding(table: pa.Table, *, fresh: bool = False) -> dict[str, Any]:
    """Return how a table is encoded, as ``pyarrow.parquet`` options; ``fresh`` for a flush's small file.

    Fresh files are merged soon, so they take the codec that is quick to write, and no text column has
    min/max: comparing costs a fifth of the writing. In merged files those are without that hardly repeat: a
    row group's range of random texts rules nothing out.
    """
    dictionary = _repetitive(table)
    unordered = {item.name for item in table.schema if pa.types.is_string(item.type)}
    if not fresh:
        unordered -= set(dictionary)
    return {
        "compression": "lz4" if fresh else "zstd",
        "compression_level": None if fresh else 1,
        "use_dictionary": dictionary,
        "write_statistics": [name for name in table.column_names if name not in unordered],
        "row_group_size": _ROW_GROUP,
        "write_page_checksum": True,
        "data_page_size": _PAGE,
    }


def write_parquet(table: pa.Table, path: Path) -> str:
    """Write a flush's ``table`` to the draft ``path``; return the SHA-256 of the file, hexadecimal."""
    pq.write_table(table, path, **encoding(table, fresh=True))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sorted_by_time(table: pa.Table) -> pa.Table:
    """Return the rows in the order of ``time``; equal times keep their order of arrival."""
    times = table["time"].combine_chunks()
    if len(times) <= 1 or pc.all(pc.less_equal(times[:-1], times[1:])).as_py():
        return table
    order = pc.sort_indices(pa.table({"time": times, "row": pa.array(np.arange(len(times)))}), _BY_TIME)
    return table.take(order)


_BY_TIME = [("time", "ascending"), ("row", "ascending")]
