"""Whether the integers of a stream repeat, by one bit for each that there may be."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

#: So many batches may wait to be looked at.
_WAITING = 8


def all_differ(library: Any, batches: Iterable[pa.RecordBatch], low: int, high: int) -> bool:
    """Whether no value of the batches' first column, int64 without nulls, occurs twice.

    All lie in low..high, for each of which one bit of memory is taken.
    """
    bits = np.zeros((high - low >> 6) + 1, np.uint64)

    def add(batch: pa.RecordBatch) -> bool:
        values = batch.column(0).cast(pa.int64()).to_numpy()
        at = values.ctypes.data
        return bool(library.sluice_bitmap_add(bits.ctypes.data, low, high, at, len(values)) == len(values))

    # One thread, so that no two set bits of one word; the engine computes the next batches beside it.
    with ThreadPoolExecutor(1, "bitmap") as pool:
        running: deque[Future[bool]] = deque()
        for batch in batches:
            running.append(pool.submit(add, batch))
            if len(running) > _WAITING and not running.popleft().result():
                return False
        return all(one.result() for one in running)
