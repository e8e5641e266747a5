"""The ordered funnel over sorted integers, one partition of the entities at a time: a fast way to chains.

A step event becomes one 64-bit key: the entity's number, the time since the first event, and the step so
that ties fall as asked. Sorted keys are every entity's history, one after the other. A chain's latest start
is then found with one pass for each step. The time's bits hold all times and the window together, so no
chain of another entity can lie inside the window.

The number may be the top of a hash. Two entities that share it are told apart by a second hash and taken out.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Integers: TypeAlias = npt.NDArray[np.int64]

_KEY_BITS = 63
#: A partition of more rows would not profit from the processor's caches; the sum of all bounds the memory.
_PARTITION_ROWS = 1 << 19
_CODES = np.int8


@dataclass(frozen=True, slots=True)
class Layout:
    """How a step event becomes an integer.

    Attributes:
        steps: k.
        window: longest time from the first to the last step; at most the span of all times.
        ties: as in the funnel's parameters.
        first_time: what times are counted from.
        time_bits, entity_bits: how many bits they take; entities of all partitions together.
        partition_bits: the lowest bits of an entity's number say which partition it is in.
    """

    steps: int
    window: int
    ties: str
    first_time: int
    time_bits: int
    entity_bits: int
    partition_bits: int

    @property
    def step_bits(self) -> int:
        """The bits of a step."""
        return self.steps.bit_length()


def plan(
    *, steps: int, window: int | None, ties: str, first: int, last: int, rows: int, entity_bits: int | None
) -> Layout:
    """The layout for this many rows of these times.

    Entities are numbered in `entity_bits` bits, or go by as much of a hash as there is room for.
    """
    span = last - first
    window = span if window is None else min(window, span)
    time_bits = (span + window).bit_length()
    spare = _KEY_BITS - time_bits - steps.bit_length()
    partition_bits = (rows // _PARTITION_ROWS).bit_length()
    if entity_bits is None:
        entity_bits = spare + partition_bits
    partition_bits = max(entity_bits - spare, partition_bits)
    return Layout(steps, window, ties, first, time_bits, entity_bits, min(partition_bits, entity_bits))


def reach(batches: Iterable[pa.RecordBatch], layout: Layout) -> pa.Table:
    """Find the chains of step events.

    Args:
        batches: columns id (the entity's number, or its 64-bit hash, of which the top bits count), check
            (another hash of it, where id is one), time, seq (read for ties = seq only) and step (1..k).
        layout: from `plan`.

    Returns:
        id, step, started_at, reached_at: for each entity and step the first chain, with its latest start. An
        id that entities share stands for each of them.
    """
    with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), 4), "funnel") as pool:
        found = pool.map(partial(_reached, layout=layout), _partitions(batches, layout))
        pieces = [piece for pieces in found for piece in pieces]
    columns = ("id", "step", "started_at", "reached_at")
    if not pieces:
        return pa.table({name: pa.array([], pa.int64()) for name in columns})
    parts = [np.concatenate(part) for part in zip(*pieces, strict=True)]
    return pa.table(dict(zip(columns, parts, strict=True)))


@dataclass(frozen=True, slots=True)
class _Partition:
    """The rows of some entities: keys, seqs where ties ask for them, checks where entities are hashes."""

    number: int
    keys: Integers
    seqs: Integers | None
    checks: Integers | None


def _reached(rows: _Partition, layout: Layout) -> Sequence[tuple[Integers, ...]]:
    order = np.argsort(rows.keys) if rows.seqs is None else _order_by_seq(rows.keys, rows.seqs, layout)
    keys = rows.keys[order]
    moments = keys >> layout.step_bits
    codes = (keys & ((1 << layout.step_bits) - 1)).astype(_CODES)
    steps = codes if layout.ties == "step" else layout.steps - codes
    if rows.checks is None:
        return list(_levels(moments, steps, layout, rows.number))
    checks = rows.checks[order]
    shared = _shared(moments >> layout.time_bits, checks)
    if not len(shared):
        return list(_levels(moments, steps, layout, rows.number))
    apart = np.isin(moments >> layout.time_bits, shared)
    found = list(_levels(moments[~apart], steps[~apart], layout, rows.number))
    return found + list(
        _levels(*_told_apart(moments[apart], steps[apart], checks[apart], layout), layout, rows.number)
    )


def _shared(entity: Integers, checks: Integers) -> Integers:
    """Numbers that more than one entity has."""
    both = (checks[1:] != checks[:-1]) & (entity[1:] == entity[:-1])
    return np.unique(entity[1:][both])


def _told_apart(
    moments: Integers, steps: npt.NDArray[np.int8], checks: Integers, layout: Layout
) -> tuple[Integers, npt.NDArray[np.int8]]:
    """The rows of shared numbers with a number for each number and check, those of one together."""
    entity = moments >> layout.time_bits
    order = np.lexsort((checks, entity))  # stable: an entity's rows stay in their order
    entity, checks = entity[order], checks[order]
    another = (np.diff(entity) != 0) | (checks[1:] != checks[:-1])
    number = np.concatenate(([0], np.cumsum(another)))
    times = moments[order] & ((1 << layout.time_bits) - 1)
    return (number << layout.time_bits) | times, steps[order]


def _partitions(batches: Iterable[pa.RecordBatch], layout: Layout) -> Iterator[_Partition]:
    """The rows by partition."""
    count = 1 << layout.partition_bits
    pieces: list[list[list[Integers]]] = [[] for _ in range(count)]
    by_seq, hashed = layout.ties == "seq", False
    for batch in batches:
        part, key = _keys(batch, layout)
        columns = [key]
        hashed = batch.column("id").type == pa.uint64()
        if by_seq:
            columns.append(batch.column("seq").to_numpy())
        if hashed:
            columns.append(batch.column("check").to_numpy().view(np.int64))
        if count > 1:
            order = np.argsort(part, kind="stable")
            columns = [column[order] for column in columns]
        edges = np.concatenate(([0], np.cumsum(np.bincount(part, minlength=count))))
        for index in np.flatnonzero(np.diff(edges)).tolist():
            pieces[index].append([column[edges[index] : edges[index + 1]] for column in columns])
    for index in range(count):
        columns = [_joined(list(parts)) for parts in zip(*pieces[index], strict=True)]
        pieces[index] = []
        if columns:
            seqs, checks = columns[1] if by_seq else None, columns[-1] if hashed else None
            yield _Partition(index, columns[0], seqs, checks)


def _joined(pieces: list[Integers]) -> Integers:
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def _keys(batch: pa.RecordBatch, layout: Layout) -> tuple[npt.NDArray[np.uint16], Integers]:
    """The partition and the key of every row."""
    raw = batch.column("id").to_numpy()
    entity = (raw >> np.uint64(64 - layout.entity_bits)).astype(np.int64) if raw.dtype == np.uint64 else raw
    part = (entity & ((1 << layout.partition_bits) - 1)).astype(np.uint16)
    key = (entity >> layout.partition_bits) << (layout.time_bits + layout.step_bits)
    key |= (batch.column("time").to_numpy() - layout.first_time) << layout.step_bits
    step = batch.column("step").to_numpy().astype(np.int64)
    # Within one event, or second, the higher step comes first, so that it cannot follow the lower one there.
    key |= step if layout.ties == "step" else layout.steps - step
    return part, key


def _order_by_seq(keys: Integers, seqs: Integers, layout: Layout) -> Integers:
    """By moment, then seq, then the highest step; moments of one row, as most are, are sorted once."""
    moments = keys >> layout.step_bits
    order = np.argsort(moments)
    again = np.zeros(len(keys), bool)
    same = np.diff(moments[order]) == 0
    again[1:] |= same
    again[:-1] |= same
    if again.any():
        rows = order[again]
        order[again] = rows[np.lexsort((keys[rows], seqs[rows], moments[rows]))]
    return order


def _levels(
    moments: Integers, steps: npt.NDArray[np.int8], layout: Layout, partition: int
) -> Iterator[tuple[Integers, Integers, Integers, Integers]]:
    """For each step the entities that reach it: id, step, start, when."""
    rows = np.flatnonzero(steps == 1)
    starts = moments[rows]
    for step in range(1, layout.steps + 1):
        if step > 1:
            rows, starts = _next_level(moments, np.flatnonzero(steps == step), rows, starts, layout.window)
        if not len(rows):
            return
        at = moments[rows]
        entity = at >> layout.time_bits
        first = np.concatenate(([True], entity[1:] != entity[:-1]))
        entity, mask = entity[first], (1 << layout.time_bits) - 1
        yield (
            (entity << layout.partition_bits) | partition,
            np.full(len(entity), step, np.int64),
            (starts[first] & mask) + layout.first_time,
            (at[first] & mask) + layout.first_time,
        )


def _next_level(
    moments: Integers, rows: Integers, below: Integers, starts: Integers, window: int
) -> tuple[Integers, Integers]:
    """Rows of a step that follow a chain to the step below inside the window, and their chains' starts.

    The last chain before a row has the latest start of all of them.
    """
    marks = np.zeros(len(moments), np.int32)
    marks[below] = 1
    last = np.cumsum(marks, dtype=np.int32)[rows] - 1
    rows, last = rows[last >= 0], last[last >= 0]
    start = starts[last]
    inside = moments[rows] - start <= window
    return rows[inside], start[inside]
