"""Rewrites table files without the rows that shall go, one file at a time, in bounded memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from addon.warehouse.compaction import checked, stored
from addon.warehouse.merge import batches, open_file
from addon.warehouse.merge_plan import Merge
from addon.warehouse.merge_sink import MergeSink
from addon.warehouse.typed import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from addon.models.objects import ObjectStore
    from addon.warehouse.delta import DataFile
    from addon.warehouse.merge_plan import Candidate
    from addon.warehouse.schema import TableSchema

_ROWS = 16_384


def without_rows(
    objects: ObjectStore, prefix: str, file: Candidate, doomed: NDArray[np.int64], schema: TableSchema
) -> DataFile | None:
    """Store a file's rows without those of the numbers ``doomed``; None when none is left.

    Raises:
        Damaged: the file does not hold what the log says.
    """
    if len(doomed) == file.rows:
        return None
    path = objects.path(f"{prefix}/{file.name}")
    with objects.lease() as lease:
        lease.fetch([path])
        is_sorted = checked(file, path).is_sorted
        kept = np.ones(file.rows, dtype=bool)
        kept[doomed] = False
        sink = MergeSink(objects.scratch, [], sys.maxsize)
        try:
            rows = _kept_rows(path, kept, schema)
            for piece in rows if is_sorted else [_sorted(rows, schema)]:
                sink.add(piece)
            (draft,) = sink.close()
        except BaseException:
            sink.abandon()
            raise
    return stored(objects, prefix, Merge((file,)), draft, generation=file.generation)


def _kept_rows(path: Path, kept: NDArray[np.bool_], schema: TableSchema) -> Iterator[pa.Table]:
    begin = 0
    with open_file(path) as opened:
        for batch in batches(opened, path, None, _ROWS):
            mask = pa.array(kept[begin : begin + batch.num_rows])
            begin += batch.num_rows
            yield aligned(pa.Table.from_batches([batch.filter(mask)]), schema)


def _sorted(pieces: Iterator[pa.Table], schema: TableSchema) -> pa.Table:
    whole = pa.concat_tables([schema.arrow().empty_table(), *pieces])
    return whole.take(pa.array(np.argsort(whole["time"].to_numpy(), kind="stable")))
