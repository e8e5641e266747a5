"""Every customer's purchase periods with the compiled library: rows in as they come, one row each out."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.contracts.errors import EngineError
from jobs.native.batches import THREADS, address, each, text_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What a row takes in the library.
BYTES_OF_ROW = 16
_WELL, _TOO_LARGE = 1, -1
_SCHEMA = pa.schema(
    [
        ("customer_id", pa.large_string()),
        ("purchases", pa.int64()),
        ("first_period", pa.int32()),
        ("last_period", pa.int32()),
        ("repeat_minor", pa.float64()),
    ]
)


def summed_purchases(library: Any, rows: Callable[[], Iterable[pa.RecordBatch]], passes: int) -> pa.Table:
    """Merge the purchases of a customer and period, and count and sum them.

    Args:
        library: from `jobs.native.library.library()`.
        rows: reads the purchases, once for each pass: customer_id (text), period (int32), amount_minor
            (int64), none of them null.
        passes: into how many parts the customers are divided, only one of which is in memory at a time; at
            most as many as the library has partitions.

    Returns:
        customer_id, purchases (periods with one), first_period, last_period and repeat_minor (the amounts
        of all periods but the first, the nearest double to their exact sum), in no order.

    Raises:
        EngineError: the amounts of a customer's period leave 64 bits, or there is not enough memory.
    """
    seed = secrets.randbits(64)
    passes = min(passes, library.sluice_purchases_partitions())
    found = [_one_pass(library, rows(), (passes, turn, seed)) for turn in range(passes)]
    return pa.concat_tables([_SCHEMA.empty_table(), *found])


def _one_pass(library: Any, rows: Iterable[pa.RecordBatch], which: tuple[int, int, int]) -> pa.Table:
    kernel = library.sluice_purchases_new(*which)
    if not kernel:
        raise _no_memory()
    try:
        # Leaving the pool waits for the last call into the library, then its memory may go.
        with ThreadPoolExecutor(THREADS, "purchases") as pool:
            for _ in each(pool, partial(_add, library, kernel), rows):
                pass
            return _computed(library, kernel, pool)
    finally:
        library.sluice_purchases_free(kernel)


def _add(library: Any, kernel: int, rows: pa.RecordBatch) -> None:
    at = [
        *text_addresses(rows.column("customer_id")),
        address(rows.column("period"), pa.int32()),
        address(rows.column("amount_minor"), pa.int64()),
    ]
    if not library.sluice_purchases_add(kernel, rows.num_rows, *at):
        raise _no_memory()


def _computed(library: Any, kernel: int, pool: ThreadPoolExecutor) -> pa.Table:
    parts = library.sluice_purchases_partitions()
    firsts, first_bytes = np.zeros(parts + 1, np.int64), np.zeros(parts + 1, np.int64)
    library.sluice_purchases_counts(kernel, firsts[1:].ctypes.data, first_bytes[1:].ctypes.data)
    np.cumsum(firsts, out=firsts)
    np.cumsum(first_bytes, out=first_bytes)
    customers = int(firsts[-1])
    ends, texts = np.zeros(customers + 1, np.int64), pa.allocate_buffer(max(int(first_bytes[-1]), 1))
    columns = [np.empty(customers, _SCHEMA.field(at).type.to_pandas_dtype()) for at in range(1, 5)]
    at = [one.ctypes.data for one in (firsts, first_bytes, *columns, ends[1:])] + [texts.address]

    def compute(_: int) -> int:
        done: int = library.sluice_purchases_compute(kernel, *at)
        return done

    done = set(pool.map(compute, range(THREADS)))
    if _TOO_LARGE in done:
        raise EngineError("output customer_summary: the amounts of a customer's period add up beyond 64 bits")
    if done != {_WELL}:
        raise _no_memory()
    names = pa.LargeStringArray.from_buffers(customers, pa.py_buffer(ends), texts)
    return pa.table([names, *map(pa.array, columns)], schema=_SCHEMA)


def _no_memory() -> EngineError:
    return EngineError("not enough memory for the customers' purchases; summarise fewer of them at a time")
