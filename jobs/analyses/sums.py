"""Sums by integer keys, exact, of rows that come in any number of pieces."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Integers: TypeAlias = npt.NDArray[np.int64]

#: So many rows are gathered before those of one key are added up, and twice as many as there are keys.
_GATHERED = 1 << 21
_BITS = 63


class Sums:
    """Rows of keys and numbers; the numbers of rows with equal keys add up. Threads may add together."""

    def __init__(self, keys: int, numbers: int) -> None:
        """Begin with nothing.

        Args:
            keys: how many columns make the key; their values are not negative.
            numbers: how many columns add up.
        """
        self._keys, self._width = keys, keys + numbers
        self._pieces: list[list[Integers]] = []
        self._rows, self._limit = 0, _GATHERED
        self._lock = Lock()

    def add(self, *columns: Integers) -> None:
        """Take rows, column by column."""
        self._take(added_up(columns, self._keys))

    def count(self, *keys: Integers) -> None:
        """Take rows that count 1, by their keys."""
        self._take(tallied(keys))

    def _take(self, piece: list[Integers]) -> None:
        with self._lock:
            self._pieces.append(piece)
            self._rows += len(piece[0])
            if self._rows > self._limit:
                self.columns()
                self._limit = max(2 * self._rows, _GATHERED)

    def columns(self) -> list[Integers]:
        """One row for each key, ordered by it."""
        if not self._pieces:
            return [np.zeros(0, np.int64) for _ in range(self._width)]
        if len(self._pieces) > 1:
            whole = [np.concatenate(pieces) for pieces in zip(*self._pieces, strict=True)]
            self._pieces = [added_up(whole, self._keys)]
            self._rows = len(self._pieces[0][0])
        return self._pieces[0]


def added_up(columns: Sequence[Integers], keys: int) -> list[Integers]:
    """One row for each key, ordered by it. Raises OverflowError where a sum leaves 64 bits."""
    if not len(columns[0]):
        return list(columns)
    order = order_of(columns[:keys])
    ordered = [column[order] for column in columns]
    begins = changes(ordered[:keys])
    return [column[begins] for column in ordered[:keys]] + [
        summed(column, begins) for column in ordered[keys:]
    ]


def summed(values: Integers, begins: Integers) -> Integers:
    """The sums from each of these rows to the next one. Raises OverflowError where they leave 64 bits."""
    found: Integers = np.add.reduceat(values, begins)
    largest = int(np.abs(values).max(initial=0)) * int(np.diff(np.append(begins, len(values))).max(initial=0))
    if largest > np.iinfo(np.int64).max:
        near = np.add.reduceat(values.astype(np.float64), begins)
        if np.abs(near).max() > np.iinfo(np.int64).max * (1 - 1e-9):
            raise OverflowError("a sum of values does not fit into 64 bits")
    return found


def tallied(keys: Sequence[Integers]) -> list[Integers]:
    """Each key once, in order, and how many rows have it."""
    packed = packed_keys(keys)
    if packed is None:
        return added_up([*keys, np.ones(len(keys[0]), np.int64)], len(keys))
    packed.sort()  # a number that holds all columns need not take them along
    begins = changes([packed])
    return [*_unpacked(packed[begins], keys), np.diff(np.append(begins, len(packed)))]


def _unpacked(packed: Integers, keys: Sequence[Integers]) -> list[Integers]:
    """The columns that `packed_keys` has made one."""
    found = []
    for width in reversed(_widths(keys)):
        found.append(packed & ((1 << width) - 1))
        packed = packed >> width
    return found[::-1]


def order_of(keys: Sequence[Integers]) -> Integers:
    """The rows in the order of some columns of numbers that are not negative.

    Where all fit into one number, that is sorted: far faster than column by column.
    """
    packed = packed_keys(keys)
    return np.argsort(packed) if packed is not None else np.lexsort(list(reversed(keys)))


def packed_keys(keys: Sequence[Integers]) -> Integers | None:
    """The columns as one number, in the same order; None where they do not fit."""
    widths = _widths(keys)
    if sum(widths) > _BITS:
        return None
    packed = keys[0].astype(np.int64)
    for key, width in zip(keys[1:], widths[1:], strict=True):
        packed = (packed << width) | key
    return packed


def _widths(keys: Sequence[Integers]) -> list[int]:
    return [int(key.max(initial=0)).bit_length() for key in keys]


def changes(keys: Sequence[Integers]) -> Integers:
    """The rows, in key order, where another key begins."""
    differs = np.zeros(len(keys[0]), bool)
    differs[:1] = True
    for key in keys:
        differs[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(differs)


def percentile(
    groups: Integers, values: Integers, counts: Integers, fraction: float
) -> npt.NDArray[np.float64]:
    """The interpolated percentile of each group, as SQL's percentile_cont has it.

    Args:
        groups: rows where a group begins; the rows of a group are ordered by value.
        values: a value of the group.
        counts: how often it occurs, at least once.
        fraction: 0..1.
    """
    ends = np.cumsum(counts)
    before = ends[groups] - counts[groups]
    after = np.append(before[1:], ends[-1:])
    place = (after - before - 1) * fraction
    low = np.floor(place)
    below = values[np.searchsorted(ends, before + low.astype(np.int64), side="right")]
    above = values[np.searchsorted(ends, before + np.ceil(place).astype(np.int64), side="right")]
    found: npt.NDArray[np.float64] = below + (above - below) * (place - low)
    return found
