"""Arrow batches for the library: where their columns lie in memory, and what keeps threads busy with them."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")
#: More threads would wait for the engine, which computes the batches.
THREADS = min(len(os.sched_getaffinity(0)), 4)
#: So many batches may wait; no more of them are in memory.
_WAITING = 4 * THREADS
_NO_BYTES = pa.py_buffer(b"\0" * 8)


def each(
    pool: ThreadPoolExecutor, work: Callable[[pa.RecordBatch], T], batches: Iterable[pa.RecordBatch]
) -> Iterator[T]:
    """What `work` makes of every batch, in order, by the threads of a pool; few batches are taken ahead."""
    running: deque[Future[T]] = deque()
    for batch in batches:
        running.append(pool.submit(work, batch))
        if len(running) > _WAITING:
            yield running.popleft().result()
    for one in running:
        yield one.result()


def address(values: pa.Array, kind: pa.DataType) -> int:
    """Where the first value of an array of numbers without nulls is; it must be of this kind."""
    if values.type != kind:
        raise TypeError(f"a column is {values.type}, not {kind}")
    start: int = values.buffers()[1].address
    return start + int(values.offset) * int(kind.bit_width) // 8


def text_addresses(values: pa.StringArray) -> tuple[int, int]:
    """Where the first 32-bit offset of texts without nulls is, and the bytes that offsets count into."""
    if values.type != pa.string():
        raise TypeError(f"a column is {values.type}, not {pa.string()}")
    _, offsets, texts = values.buffers()
    start: int = offsets.address
    return start + int(values.offset) * 4, (texts or _NO_BYTES).address
