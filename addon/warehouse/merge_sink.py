"""Takes a merge's sorted rows and writes them to drafts: one per stretch of windows, none over full size."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from addon.warehouse.parquet import encoding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_GROUP_BYTES = 16 << 20
"""A row group of wide rows is cut here, in memory before encoding."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A written file that has no place in the table yet; ``digest`` is its SHA-256, hexadecimal."""

    path: Path
    rows: int
    low: int
    high: int
    digest: str


class MergeSink:
    """Writes drafts into a folder; ``abandon`` or take over ``drafts`` after ``close``."""

    def __init__(self, folder: Path, begins: Sequence[int], full_bytes: int) -> None:
        """``begins`` are the times (Unix seconds, ascending) at which a new file begins."""
        self.drafts: list[Draft] = []
        self._folder = folder
        self._begins = list(begins)
        self._full = full_bytes
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = 0
        self._file: _Open | None = None

    def add(self, rows: pa.Table) -> None:
        """Take the next rows, sorted, none earlier than those before."""
        while rows.num_rows:
            count = rows.num_rows
            if self._begins:
                times = rows["time"].to_numpy()
                count = int(np.searchsorted(times, self._begins[0], side="left"))
            if count:
                self._keep(rows.slice(0, count))
                rows = rows.slice(count)
            if rows.num_rows:
                self._begins.pop(0)
                self._end_file()

    def close(self) -> list[Draft]:
        """Write what is pending and return the drafts."""
        self._end_file()
        return self.drafts

    def abandon(self) -> None:
        """Delete every draft."""
        if self._file is not None:
            self._file.writer.close()
            self._file.path.unlink(missing_ok=True)
            self._file = None
        for draft in self.drafts:
            draft.path.unlink(missing_ok=True)

    def _keep(self, rows: pa.Table) -> None:
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        self._pending_bytes += rows.nbytes
        group = encoding(rows.slice(0, 0))["row_group_size"]
        if self._pending_rows >= group or self._pending_bytes >= _GROUP_BYTES:
            self._write_group()
            if self._file is not None and self._file.path.stat().st_size >= self._full:
                self._end_file()

    def _write_group(self) -> None:
        if not self._pending_rows:
            return
        table = pa.concat_tables(self._pending)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if self._file is None:
            self._file = _Open(self._folder / f"{uuid.uuid4().hex}.tmp", table)
        self._file.write(table)

    def _end_file(self) -> None:
        self._write_group()
        if self._file is not None:
            self.drafts.append(self._file.finish())
            self._file = None


class _Open:
    """A draft that is being written."""

    def __init__(self, path: Path, first: pa.Table) -> None:
        self.path = path
        options = encoding(first)
        self._group = options.pop("row_group_size")
        self.writer = pq.ParquetWriter(path, first.schema, **options)
        self._rows = 0
        self._low: int = first["time"][0].as_py()
        self._high = self._low

    def write(self, table: pa.Table) -> None:
        """Append a row group."""
        self.writer.write_table(table, row_group_size=2 * self._group)
        self._rows += table.num_rows
        self._high = table["time"][-1].as_py()

    def finish(self) -> Draft:
        """End the file."""
        self.writer.close()
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Draft(self.path, self._rows, self._low, self._high, digest)
