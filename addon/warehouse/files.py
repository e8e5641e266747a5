"""The active files of one table version as columns: no object per file, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from deltalake import DeltaTable
    from numpy.typing import NDArray

    from addon.models.tables import Interval
    from addon.warehouse.schema import TableSchema

FIRST, LAST = -(2**63), 2**63 - 1
"""Bounds of a file whose times are not known."""
RECORD_FIELDS = ("name", "size", "rows", "low", "high", "modified")
Record = tuple[str, int, int, int, int, int]
"""A file as plain values, in the order of ``RECORD_FIELDS``."""


@dataclass(frozen=True)
class FileSet:
    """Files in the order of (first time, name); without statistics a file reaches from the first to the last.

    ``sizes`` are bytes, ``low`` and ``high`` Unix seconds, ``modified`` milliseconds since 1970.
    """

    names: pa.StringArray
    sizes: NDArray[np.int64]
    rows: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    modified: NDArray[np.int64]

    @classmethod
    def of(cls, table: DeltaTable) -> FileSet:
        """Read a handle's version."""
        return cls.from_actions(pa.table(table.get_add_actions(flatten=True)))

    @classmethod
    def from_actions(cls, actions: pa.Table) -> FileSet:
        """Take the log's flattened add actions."""
        low = _filled(actions, "min.time", FIRST)
        return cls._sorted(
            actions["path"],
            _filled(actions, "size_bytes", 0),
            _filled(actions, "num_records", 0),
            low,
            _filled(actions, "max.time", LAST),
            _filled(actions, "modification_time", 0),
        )

    @classmethod
    def from_columns(cls, columns: Sequence[pa.ChunkedArray]) -> FileSet:
        """Take columns in the order of ``RECORD_FIELDS``."""
        names, *numbers = columns
        return cls._sorted(names, *(np.asarray(column.to_numpy(), dtype=np.int64) for column in numbers))

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> FileSet:
        """Take files as plain values."""
        names, *numbers = list(zip(*records, strict=True)) or [() for _ in RECORD_FIELDS]
        return cls._sorted(
            pa.chunked_array([pa.array(names, pa.string())]),
            *(np.array(values, dtype=np.int64) for values in numbers),
        )

    @classmethod
    def _sorted(cls, names: pa.ChunkedArray, *numbers: NDArray[np.int64]) -> FileSet:
        keys = pa.table({"low": numbers[2], "name": names})
        order = pc.sort_indices(keys, [("low", "ascending"), ("name", "ascending")])
        take = order.to_numpy()
        ordered = pa.chunked_array([names.take(order).combine_chunks()], names.type).cast(pa.string())
        return cls(ordered.combine_chunks(), *(values[take] for values in numbers))

    def columns(self) -> list[pa.Array]:
        """Return the columns in the order of ``RECORD_FIELDS``."""
        numbers = (self.sizes, self.rows, self.low, self.high, self.modified)
        return [self.names, *(pa.array(values) for values in numbers)]

    def records(self) -> Iterator[Record]:
        """Yield the files as plain values."""
        yield from zip(*(column.to_pylist() for column in self.columns()), strict=True)

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self.names)

    @cached_property
    def bounds(self) -> tuple[int, int] | None:
        """The first and the last time that is known of; None without rows."""
        known = (self.low != FIRST) & (self.high != LAST)
        return (int(self.low[known].min()), int(self.high[known].max())) if known.any() else None

    def meeting(self, ranges: Sequence[Interval]) -> Sequence[int]:
        """Return the positions of the files that may hold a row within one of ``ranges``."""
        chosen = np.zeros(len(self), dtype=bool)
        for first, last in ranges:
            chosen |= (self.low <= last) & (self.high >= first)
        positions: list[int] = np.flatnonzero(chosen).tolist()
        return positions


@dataclass(frozen=True, slots=True)
class TableState:
    """What one version of a table consists of."""

    version: int
    schema: TableSchema
    files: FileSet


def _filled(actions: pa.Table, name: str, missing: int) -> NDArray[np.int64]:
    if name not in actions.column_names:
        return np.full(actions.num_rows, missing, dtype=np.int64)
    column = actions[name]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms"))
    filled = pc.fill_null(column.cast(pa.int64()), missing)
    return np.asarray(filled.to_numpy(), dtype=np.int64)


class Paths(Sequence["Path"]):
    """The files' local paths, each made when it is asked for."""

    def __init__(self, names: pa.StringArray, place: Callable[[str], Path]) -> None:
        """``place`` turns a name into a path, and may fetch the file."""
        self._names = names
        self._place = place

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        """Return one path, or a list of them."""
        if isinstance(index, slice):
            return [self._place(name) for name in self._names[index].to_pylist()]
        return self._place(self._names[index].as_py())

    def __eq__(self, other: object) -> bool:
        """Compare with any other sequence of paths."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as for every mutable-looking sequence that compares by value
