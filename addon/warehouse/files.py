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
    from collections.abc import Callable
    from pathlib import Path

    from deltalake import DeltaTable
    from numpy.typing import NDArray

    from addon.models.tables import Interval

_FIRST, _LAST = -(2**63), 2**63 - 1


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
        low = _filled(actions, "min.time", _FIRST)
        keys = pa.table({"low": low, "path": actions["path"]})
        order = pc.sort_indices(keys, [("low", "ascending"), ("path", "ascending")])
        take = order.to_numpy()
        return cls(
            actions["path"].take(order).combine_chunks().cast(pa.string()),
            _filled(actions, "size_bytes", 0)[take],
            _filled(actions, "num_records", 0)[take],
            low[take],
            _filled(actions, "max.time", _LAST)[take],
            _filled(actions, "modification_time", 0)[take],
        )

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self.names)

    @cached_property
    def bounds(self) -> tuple[int, int] | None:
        """The first and the last time that is known of; None without rows."""
        known = (self.low != _FIRST) & (self.high != _LAST)
        return (int(self.low[known].min()), int(self.high[known].max())) if known.any() else None

    def meeting(self, ranges: Sequence[Interval]) -> Sequence[int]:
        """Return the positions of the files that may hold a row within one of ``ranges``."""
        chosen = np.zeros(len(self), dtype=bool)
        for first, last in ranges:
            chosen |= (self.low <= last) & (self.high >= first)
        positions: list[int] = np.flatnonzero(chosen).tolist()
        return positions


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
