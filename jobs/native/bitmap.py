"""Whether the integers of a stream repeat, by one bit for each that there may be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.native.batches import address, each

if TYPE_CHECKING:
    from collections.abc import Iterable


def all_differ(library: Any, batches: Iterable[pa.RecordBatch], low: int, high: int) -> bool:
    """Whether no value of the batches' first column, int64 without nulls, occurs twice.

    Args:
        library: from `jobs.native.library.library()`.
        batches: are not read on once a value has come again.
        low: the least value there may be.
        high: the greatest; each integer from one to the other takes a bit of memory.
    """
    bits = np.zeros((high - low >> 6) + 1, np.uint64)

    def add(batch: pa.RecordBatch) -> bool:
        at = address(batch.column(0), pa.int64())
        fresh: int = library.sluice_bitmap_add(bits.ctypes.data, low, high, at, batch.num_rows)
        return fresh == int(batch.num_rows)

    # One thread, so that no two set bits of one word; the engine computes the next batches beside it.
    with ThreadPoolExecutor(1, "bitmap") as pool:
        return all(each(pool, add, batches))
