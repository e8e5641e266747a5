"""Which small files to merge, and the merged rows: sorted by time, every column of the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from addon.warehouse.typed import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from addon.warehouse.delta import DataFile
    from addon.warehouse.schema import TableSchema

MIN_FILES = 32
SMALL_BYTES = 4 << 20
MAX_BYTES = 16 << 20
"""Compressed bytes read into memory for one merge: text takes ten times as much there, twice when sorted."""


def merge_candidates(files: Sequence[DataFile]) -> list[DataFile]:
    """Return the small files of one merge, none while there are too few to pay."""
    chosen: list[DataFile] = []
    size = 0
    for file in sorted((file for file in files if file.size < SMALL_BYTES), key=lambda file: file.size):
        if size + file.size > MAX_BYTES:
            break
        chosen.append(file)
        size += file.size
    return chosen if len(chosen) >= MIN_FILES else []


def merged(paths: Sequence[Path], schema: TableSchema) -> pa.Table:
    """Return the rows of the files as one table with every column; page checksums are verified on the way."""
    return pa.concat_tables(
        [aligned(pq.ParquetFile(path, page_checksum_verification=True).read(), schema) for path in paths]
    )
