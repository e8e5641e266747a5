"""The ordered funnel over sorted integers, one partition of the entities at a time: a fast way to chains.

A step event becomes one 64-bit key: the entity's number, the time since the first event, and the step so
that ties fall as asked. Sorted keys are every entity's history, one after the other. A chain's latest start
is then found with one pass for each step. The time's bits hold all times and the window together, so no
chain of another entity can lie inside the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Integers: TypeAlias = npt.NDArray[np.int64]

_KEY_BITS = 63
#: A partition of more rows would not profit from the processor's caches; the sum of all bounds the memory.
_PARTITION_ROWS = 1 << 20
#: More partitions would have too few rows in each batch.
MAX_PARTITION_BITS = 12


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

    @property
    def fits(self) -> bool:
        """Whether there are few enough partitions."""
        return self.partition_bits <= MAX_PARTITION_BITS


def plan(
    *, steps: int, window: int | None, ties: str, first: int, last: int, rows: int, entity_bits: int
) -> Layout:
    """The layout for this many rows of these times, with entities numbered in `entity_bits` bits."""
    span = last - first
    window = span if window is None else min(window, span)
    time_bits = (span + window).bit_length()
    spare = _KEY_BITS - time_bits - steps.bit_length()
    partition_bits = max(entity_bits - spare, (rows // _PARTITION_ROWS).bit_length(), 0)
    return Layout(steps, window, ties, first, time_bits, entity_bits, min(partition_bits, entity_bits))


@dataclass(frozen=True, slots=True)
class Reached:
    """The chains of all entities.

    Attributes:
        table: id, step, started_at, reached_at: for each entity and step the first chain, its latest start.
        entities: how many numbers of entities there were.
    """

    table: pa.Table
    entities: int


def reach(batches: Iterable[pa.RecordBatch], layout: Layout) -> Reached:
    """Find the chains of step events.

    Args:
        batches: columns id (the entity's number, or its 64-bit hash, of which the top bits count), time, seq
            (read for ties = seq only) and step (1..k).
        layout: from `plan`.
    """
    found: list[tuple[Integers, ...]] = []
    entities = 0
    for partition, (keys, seqs) in enumerate(_partitions(batches, layout)):
        if len(keys):
            moments, steps = _sorted(keys, seqs, layout)
            entities += 1 + int(np.count_nonzero(np.diff(moments >> layout.time_bits)))
            found.extend(_levels(moments, steps, layout, partition))
    columns = ("id", "step", "started_at", "reached_at")
    if not found:
        return Reached(pa.table({name: pa.array([], pa.int64()) for name in columns}), entities)
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    return Reached(pa.table(dict(zip(columns, parts, strict=True))), entities)


def _partitions(
    batches: Iterable[pa.RecordBatch], layout: Layout
) -> Iterator[tuple[Integers, Integers | None]]:
    """Keys, and seqs where ties ask for them, by partition."""
    count = 1 << layout.partition_bits
    keys: list[list[Integers]] = [[] for _ in range(count)]
    seqs: list[list[Integers]] = [[] for _ in range(count)]
    by_seq = layout.ties == "seq"
    for batch in batches:
        part, key = _keys(batch, layout)
        seq = batch.column("seq").to_numpy() if by_seq else key
        order = np.argsort(part, kind="stable") if count > 1 else slice(None)
        key, seq = key[order], seq[order] if by_seq else seq
        edges = np.concatenate(([0], np.cumsum(np.bincount(part, minlength=count))))
        for index in np.flatnonzero(np.diff(edges)).tolist():
            keys[index].append(key[edges[index] : edges[index + 1]])
            if by_seq:
                seqs[index].append(seq[edges[index] : edges[index + 1]])
    for index in range(count):
        yield _joined(keys[index]), _joined(seqs[index]) if by_seq else None
        keys[index], seqs[index] = [], []


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


def _sorted(keys: Integers, seqs: Integers | None, layout: Layout) -> tuple[Integers, Integers]:
    """Moments (entity and time) and steps of the keys in order."""
    if seqs is None:
        keys.sort()
    else:
        keys = keys[_order_by_seq(keys, seqs, layout)]
    codes = keys & ((1 << layout.step_bits) - 1)
    return keys >> layout.step_bits, codes if layout.ties == "step" else layout.steps - codes


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
    moments: Integers, steps: Integers, layout: Layout, partition: int
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
