"""JSON lines to the columns of a schema with the kernel: the memory it fills, and the table made of that."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from addon.warehouse.scan.library import KINDS, SLACK, KernelColumn, KernelScan
from addon.warehouse.schema import ARROW_TYPES
from addon.warehouse.typing_sql import MAX_TIME, MIN_TIME, stored_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import Column
    from addon.warehouse.scan.library import Kernel

Ints = np.ndarray[Any, np.dtype[np.int64]]

_SAMPLE_LINES = 512
"""Lines from which the size of each text column is guessed."""
_SAMPLE_BYTES = 256 << 10
_MARGIN = 1.1
_MOST_BYTES = 1 << 29
"""Bytes of lines in one scan; no text column has more, so 32 bits do for its offsets."""
_EMPTY = b"\0" * 8


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the kernel took: the columns' values in the order of the lines, and which lines those are."""

    values: list[pa.Array]
    rows: Ints


class _Memory:
    """One column's buffers, for at most ``lines`` rows; texts grow while they are filled."""

    def __init__(self, column: Column, lines: int, texts: int) -> None:
        kind = stored_kind(column)
        self.type, self.is_text, self.is_bits = (
            ARROW_TYPES[kind],
            KINDS[kind] >= KINDS["string"],
            kind == "boolean",
        )
        bits = (lines + 7) // 8
        self.key = _quoted(column.original or column.name)
        self.validity = np.full(bits, 0xFF, np.uint8)
        self.offsets = np.zeros(lines + 1, np.int32) if self.is_text else None
        size = texts if self.is_text else bits if self.is_bits else 8 * lines
        self.values = pa.allocate_buffer(size, resizable=True)
        self.kind = KINDS[kind]

    def structure(self) -> KernelColumn:
        """Return this memory as the kernel sees it, until it is resized."""
        return KernelColumn(
            key=ctypes.cast(ctypes.c_char_p(self.key), ctypes.c_void_p).value,
            values=self.values.address,
            validity=self.validity.ctypes.data,
            offsets=self.offsets.ctypes.data if self.offsets is not None else None,
            capacity=self.values.size,
            key_length=len(self.key),
            kind=self.kind,
        )

    def used(self, rows: int) -> int:
        return int(self.offsets[rows]) if self.offsets is not None else 0

    def resize(self, size: int) -> None:
        self.values.resize(size, shrink_to_fit=True)

    def array(self, rows: int, nulls: int) -> pa.Array:
        """Return the first rows as an array over this memory, the rest of it given back."""
        validity = pa.py_buffer(self.validity) if nulls else None
        if self.offsets is not None:
            self.resize(self.used(rows))
            buffers = [validity, pa.py_buffer(self.offsets), self.values]
        else:
            self.resize((rows + 7) // 8 if self.is_bits else 8 * rows)
            buffers = [validity, self.values]
        return pa.Array.from_buffers(self.type, rows, buffers, null_count=nulls)


def _quoted(key: str) -> bytes:
    """Return the key as it stands in a line; nothing for one that needs escapes there."""
    if any(char < " " or char in '"\\' for char in key):
        return b""
    return b'"' + key.encode() + b'"'


def scan_lines(
    kernel: Kernel, lines: pa.StringArray, receipt: pa.Int64Array, columns: Sequence[Column]
) -> Scanned:
    """Take the lines that surely are right; the others are left.

    Args:
        kernel: The loaded library.
        lines: JSON objects, one per element; whatever else there is among them is left, too.
        receipt: The time of lines without one, in Unix seconds; no nulls.
        columns: What to read, ``time`` first.
    """
    scan = _Scan(lines, receipt, columns)
    if scan.total > _MOST_BYTES:
        return Scanned(scan.arrays(), scan.rows[:0])
    kernel.prepare(ctypes.byref(scan.state))
    kernel.scan(ctypes.byref(scan.state), scan.sample)
    while scan.state.next < len(lines):
        scan.make_room()
        kernel.scan(ctypes.byref(scan.state), len(lines))
    return Scanned(scan.arrays(), scan.rows[: scan.state.taken])


class _Scan:
    """The memory of one scan, and its state as the kernel sees it."""

    def __init__(self, lines: pa.StringArray, receipt: pa.Int64Array, columns: Sequence[Column]) -> None:
        count = len(lines)
        self.offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + count + 1]
        self.data = lines.buffers()[2] or pa.py_buffer(_EMPTY)
        self.total = int(self.offsets[-1] - self.offsets[0])
        sample_end = np.searchsorted(self.offsets, self.offsets[0] + _SAMPLE_BYTES)
        self.sample = min(count, _SAMPLE_LINES, max(1, int(sample_end)))
        texts = int(self.offsets[self.sample] - self.offsets[0]) + SLACK
        self.memory = [_Memory(column, count, texts) for column in columns]
        self.structures = (KernelColumn * len(columns))(*(one.structure() for one in self.memory))
        self.receipt = receipt.to_numpy()
        self.slots = np.empty(1 << (2 * len(columns)).bit_length(), np.int32)
        self.follows, self.marks = np.full(len(columns), -1, np.int32), np.full(len(columns), -1, np.int64)
        self.rows = np.empty(count, np.int64)
        self.state = self._state()

    def _state(self) -> KernelScan:
        return KernelScan(
            data=self.data.address,
            offsets=self.offsets.ctypes.data,
            receipts=self.receipt.ctypes.data,
            columns=self.structures,
            slots=self.slots.ctypes.data,
            follows=self.follows.ctypes.data,
            marks=self.marks.ctypes.data,
            taken_rows=self.rows.ctypes.data,
            data_length=min(self.data.size, int(self.offsets[-1])),
            line_count=len(self.rows),
            time_low=MIN_TIME,
            time_high=MAX_TIME,
            column_count=len(self.memory),
            slot_mask=len(self.slots) - 1,
            full=-1,
            first_key=-1,
        )

    def make_room(self) -> None:
        """Give text columns what they will need by what they took so far, the full one enough to go on."""
        taken, full = self.state.taken, self.state.full
        for number, (one, structure) in enumerate(zip(self.memory, self.structures, strict=True)):
            if not one.is_text:
                continue
            used = one.used(taken)
            size = int(used / max(taken, 1) * len(self.rows) * _MARGIN) + SLACK
            if number == full:
                size = max(size, used + 2 * self.state.room, 2 * structure.capacity)
            size = min(size, self.total + SLACK)  # no text is longer than it was in its line
            if size > structure.capacity:
                one.resize(size)
                structure.values, structure.capacity = one.values.address, size

    def arrays(self) -> list[pa.Array]:
        """Return the columns' values, one per taken line."""
        taken = self.state.taken
        return [one.array(taken, seen.nulls) for one, seen in zip(self.memory, self.structures, strict=True)]
