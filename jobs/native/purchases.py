"""Every customer's purchase periods with the compiled library: rows in as they come, one row each out."""

from __future__ import annotations

import os
import secrets
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.contracts.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What a row takes in the library.
BYTES_OF_ROW = 16
#: So many batches may wait for each thread.
_WAITING = 4
_NO_BYTES = pa.py_buffer(b"\0" * 8)
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
    threads = min(len(os.sched_getaffinity(0)), 4)
    found = [_one_pass(library, rows(), (passes, turn, seed), threads) for turn in range(passes)]
    return pa.concat_tables([_SCHEMA.empty_table(), *found])


def _one_pass(
    library: Any, rows: Iterable[pa.RecordBatch], which: tuple[int, int, int], threads: int
) -> pa.Table:
    kernel = library.sluice_purchases_new(*which)
    if not kernel:
        raise _no_memory()
    try:
        # Leaving the pool waits for the last call into the library, then its memory may go.
        with ThreadPoolExecutor(threads, "purchases") as pool:
            running: deque[Future[None]] = deque()
            for batch in rows:
                running.append(pool.submit(_add, library, kernel, batch))
                if len(running) > _WAITING * threads:  # no more of them are in memory
                    running.popleft().result()
            for one in running:
                one.result()
            return _computed(library, kernel, pool, threads)
    finally:
        library.sluice_purchases_free(kernel)


def _add(library: Any, kernel: int, rows: pa.RecordBatch) -> None:
    names = rows.column("customer_id").cast(pa.string())
    _, offsets, texts = names.buffers()
    at = [
        offsets.address + names.offset * 4,
        (texts or _NO_BYTES).address,
        _address(rows.column("period").cast(pa.int32()), 4),
        _address(rows.column("amount_minor").cast(pa.int64()), 8),
    ]
    if not library.sluice_purchases_add(kernel, rows.num_rows, *at):
        raise _no_memory()


def _computed(library: Any, kernel: int, pool: ThreadPoolExecutor, threads: int) -> pa.Table:
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

    done = set(pool.map(compute, range(threads)))
    if _TOO_LARGE in done:
        raise EngineError("output customer_summary: the amounts of a customer's period add up beyond 64 bits")
    if done != {_WELL}:
        raise _no_memory()
    names = pa.LargeStringArray.from_buffers(customers, pa.py_buffer(ends), texts)
    return pa.table([names, *map(pa.array, columns)], schema=_SCHEMA)


def _address(values: pa.Array, width: int) -> int:
    """Where an array's first value is."""
    start: int = values.buffers()[1].address
    return start + int(values.offset) * width


def _no_memory() -> EngineError:
    return EngineError("not enough memory for the customers' purchases; summarise fewer of them at a time")
