"""Chains of step events with the compiled library: rows in as they come, every entity's chains out."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.contracts.errors import EngineError
from jobs.native.batches import THREADS, address, each, text_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

Integers: TypeAlias = npt.NDArray[np.int64]

TIES = ("seq", "step", "increase")


class FunnelKernel:
    """One funnel's rows and chains, in memory that is freed at the end of the `with` block.

    Args:
        library: from `jobs.native.library.library()`.
        steps: k, at most 32.
        window: longest time from the first to the last step; None for any.
        ties: as in the funnel's parameters.
    """

    def __init__(self, library: Any, *, steps: int, window: int | None, ties: str) -> None:
        """Make an empty one."""
        self._library, self._steps, self._by_seq = library, steps, ties == "seq"
        self._firsts: Integers = np.zeros(library.sluice_funnel_partitions() + 1, np.int64)
        """The ids of the partitions' first entities, and how many there are, once they are known."""
        self._rows = 0
        longest = np.iinfo(np.int64).max if window is None else window
        self._funnel = library.sluice_funnel_new(steps, longest, TIES.index(ties), secrets.randbits(64))
        if not self._funnel:
            raise _no_memory()
        self._pool = ThreadPoolExecutor(THREADS, "funnel")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_of: object) -> None:
        """Free the memory, after the last call into the library came back."""
        self._pool.shutdown(cancel_futures=True)
        self._library.sluice_funnel_free(self._funnel)

    def add(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take step events.

        Args:
            batches: columns entity_id (text), time (int64), seq (int64, read where ties = seq) and steps
                (uint32, bit i for step i + 1), none of them null.

        Raises:
            EngineError: there is not enough memory.
        """
        for _ in each(self._pool, self._add, batches):
            pass

    def _add(self, rows: pa.RecordBatch) -> None:
        at = [
            *text_addresses(rows.column("entity_id")),
            address(rows.column("time"), pa.int64()),
            address(rows.column("seq"), pa.int64()) if self._by_seq else None,
            address(rows.column("steps"), pa.uint32()),
        ]
        if not self._library.sluice_funnel_add(self._funnel, rows.num_rows, *at):
            raise _no_memory()

    def compute(self) -> list[Integers]:
        """Find each entity's first chain to each step, from its latest start, once, after the last row.

        Returns:
            By step how many seconds those chains took, in no order.

        Raises:
            EngineError: there is not enough memory.
        """
        compute = self._library.sluice_funnel_compute
        done = [self._pool.submit(compute, self._funnel) for _ in range(THREADS)]
        if not all(one.result() for one in done):
            raise _no_memory()
        reached = np.zeros(self._steps, np.int64)
        self._library.sluice_funnel_counts(self._funnel, self._firsts[1:].ctypes.data, reached.ctypes.data)
        np.cumsum(self._firsts, out=self._firsts)
        seconds = [np.empty(count, np.int64) for count in reached]
        at = np.array([one.ctypes.data for one in seconds], np.uint64)
        self._library.sluice_funnel_seconds(self._funnel, at.ctypes.data)
        self._rows = int(reached.sum())
        return seconds

    def chains(self) -> pa.Table:
        """The chains that were computed.

        Returns:
            entity_id, step (1..k), started_at, reached_at; the chains of an entity in the order of steps.
        """
        columns = [np.empty(self._rows, np.int64) for _ in range(4)]
        at = [column.ctypes.data for column in columns]
        self._library.sluice_funnel_chains(self._funnel, self._firsts.ctypes.data, *at)
        ids, step, started, reached = columns
        names = self._names().take(pa.array(ids))
        return pa.table({"entity_id": names, "step": step, "started_at": started, "reached_at": reached})

    def _names(self) -> pa.LargeStringArray:
        """Every entity's name by its id."""
        ends = np.zeros(self._firsts[-1] + 1, np.int64)
        at = [self._funnel, self._firsts.ctypes.data, ends[1:].ctypes.data, ends.ctypes.data]
        self._library.sluice_funnel_names(*at, None)
        np.cumsum(ends, out=ends)
        texts = pa.allocate_buffer(max(int(ends[-1]), 1))
        self._library.sluice_funnel_names(*at, texts.address)
        return pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), texts)


def _no_memory() -> EngineError:
    return EngineError("not enough memory for the funnel's events; count over a shorter time")
