"""The warehouse: Delta tables under ``<root>/<account>/<database>/<table>/``; implements ``Warehouse``.

Writing has two steps: ``prepare`` types a segment's rows for one table, ``commit`` writes the file and the
log entry. Between them the flusher collects what must go to the dead letters. Thread-safe, one lock per
table.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from addon.models.tables import Column, Snapshot, TableRef
from addon.warehouse.compaction import merge_candidates, merged
from addon.warehouse.delta import DataFile, DeltaLog
from addon.warehouse.folders import make_folder, sync_folder
from addon.warehouse.parquet import sorted_by_time, write_parquet
from addon.warehouse.schema import TableSchema, seeded
from addon.warehouse.typed import Rejected, Typer, aligned
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TRASH = ".trash"
KEEP_S = 6.25 * 3600
"""Seconds; the longest query may run for six hours."""


@dataclass(frozen=True, slots=True)
class Lines:
    """JSON objects as text, with the receipt time (Unix seconds) of each."""

    texts: pa.StringArray
    receipt: pa.Int64Array


@dataclass(slots=True)
class Prepared:
    """Typed rows of one table, not committed yet."""

    ref: TableRef
    table: pa.Table
    schema: TableSchema
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit added; ``rows`` is 0 when the segment had been committed before."""

    columns: Sequence[Column]
    rows: int
    last_time: int | None


class _Table:
    def __init__(self, folder: Path) -> None:
        self.lock = threading.RLock()
        self.log = DeltaLog(folder)


class DeltaWarehouse:
    """All tables of all accounts below ``root``."""

    def __init__(
        self, root: Path, *, threads: int = 1, typing_memory: str = "1GB", keep_s: float = KEEP_S
    ) -> None:
        """Take the root folder (created on the first write), and DuckDB's threads and memory for typing.

        ``keep_s`` is how long a file that was replaced stays for the queries that may still read it.
        """
        self.root = root
        self._keep_s = keep_s
        self._threads, self._memory = threads, typing_memory
        self._typer: Typer | None = None
        self._guard = threading.Lock()
        self._tables: dict[TableRef, _Table] = {}

    def folder(self, ref: TableRef) -> Path:
        """Return the table's folder, there or not."""
        return self.root / str(ref.account_id) / ref.database / ref.table

    def _of(self, ref: TableRef) -> _Table:
        with self._guard:
            known = self._tables.get(ref)
            if known is None:
                known = self._tables[ref] = _Table(self.folder(ref))
            return known

    def _typing(self) -> Typer:
        with self._guard:
            if self._typer is None:
                self._typer = Typer(self._threads, self._memory)
            return self._typer

    def warm_up(self) -> None:
        """Type one row, so that what the engine imports on its first use does not stall the event loop later.

        Loading a C extension holds the interpreter lock: half a second and more on a busy machine.
        """
        self._typing().type_lines(pa.array(['{"a":1}']), pa.array([0], pa.int64()), TableSchema())

    # Writing
    # ----------------------------------------------------------------------------------------------------

    def prepare(
        self,
        ref: TableRef,
        lines: Lines | None,
        rows: pa.Table | None = None,
        seed: Sequence[tuple[str, str]] = (),
        *,
        base: TableSchema | None = None,
    ) -> Prepared:
        """Type ``lines`` onto the table's schema; join ``rows``, whose columns are among those of ``seed``.

        ``seed`` gives a table that does not exist yet its first (name, type) columns. ``base`` is the schema
        to grow from, where rows prepared before have grown the table's own already.
        """
        schema = base
        if schema is None:
            own = self._of(ref)
            with own.lock:
                schema = own.log.schema() or seeded(seed)
        if seed:
            schema = schema.with_columns(seed)
        if lines is None:
            return Prepared(
                ref, aligned(rows, schema) if rows is not None else schema.arrow().empty_table(), schema
            )
        typed = self._typing().type_lines(lines.texts, lines.receipt, schema)
        table = typed.table
        if rows is not None:
            table = pa.concat_tables([table, aligned(rows, typed.schema)])
        return Prepared(ref, table, typed.schema, typed.rejected)

    def committed(self, ref: TableRef, writer: str, segment: int) -> bool:
        """Tell whether the writer's segment is in the table already."""
        own = self._of(ref)
        with own.lock:
            return own.log.committed(writer, segment)

    def commit(self, prepared: Prepared, writer: str, segment: int) -> Committed:
        """Make prepared rows part of the table, durably and once; a repeated segment adds nothing."""
        own = self._of(prepared.ref)
        with own.lock:
            columns = prepared.schema.columns
            if own.log.committed(writer, segment) or not prepared.table.num_rows:
                return Committed(columns, 0, None)
            name = f"{writer}-{segment:020d}.parquet"
            make_folder(own.log.folder)
            file = self._write(own.log.folder / name, prepared.table)
            added = own.log.append(file, prepared.schema, writer, segment)
            return Committed(columns, file.rows if added else 0, file.max_time if added else None)

    def _write(self, path: Path, table: pa.Table) -> DataFile:
        ordered = sorted_by_time(table)
        size = write_parquet(ordered, path)
        bounds = pc.min_max(ordered["time"]).as_py()
        return DataFile(path.name, size, ordered.num_rows, bounds["min"], bounds["max"])

    def compact(self, ref: TableRef) -> int:
        """Merge the table's small files into one sorted file; return how many were merged.

        Commits and snapshots go on meanwhile; only one thread may compact. The old files stay for running
        queries until ``sweep``.
        """
        own = self._of(ref)
        with own.lock:
            state = own.log.files()
            identity = own.log.identity()
        if state is None:
            return 0
        _, schema, files = state
        small = merge_candidates(files)
        if not small:
            return 0
        table = merged([own.log.folder / file.name for file in small], schema)
        file = self._write(own.log.folder / f"merged-{uuid.uuid4().hex}.parquet", table)
        with own.lock:
            if own.log.identity() != identity:  # dropped meanwhile, and perhaps made again
                (own.log.folder / file.name).unlink(missing_ok=True)
                return 0
            own.log.replace([file.name for file in small], file)
        return len(small)

    def sweep(self) -> int:
        """Delete the files that no version has named for ``keep_s``; return how many were deleted.

        They are what merging replaced and what an interrupted flush left. Each table that this process knows
        is looked at.
        """
        with self._guard:
            tables = list(self._tables.values())
        deleted = 0
        for own in tables:
            with own.lock:
                deleted += own.log.sweep(self._keep_s)
        return deleted

    # Reading
    # ----------------------------------------------------------------------------------------------------

    def snapshot(self, ref: TableRef, version: int | None = None) -> Snapshot | None:
        """Pin the newest (or a named) version; None while nothing was ever committed.

        Raises:
            NotFound: there is no such version.
        """
        own = self._of(ref)
        with own.lock:
            try:
                state = own.log.files(version)
            except Exception as error:
                if version is None:
                    raise
                raise NotFound(f"{ref.database}.{ref.table} has no version {version}.") from error
            if version is not None and state is not None and not own.log.has_files(state[2]):
                raise NotFound(
                    f"The files of version {version} of {ref.database}.{ref.table} were merged and deleted.",
                    hint="Pin a newer version.",
                )
        if state is None:
            return None
        number, schema, files = state
        return Snapshot(
            ref=ref,
            version=number,
            files=[own.log.folder / file.name for file in files],
            columns=schema.columns,
            rows=sum(file.rows for file in files),
            bytes=sum(file.size for file in files),
            min_time=min((file.min_time for file in files), default=None),
            max_time=max((file.max_time for file in files), default=None),
        )

    # Deleting
    # ---------------------------------------------------------------------------------------------------

    def drop(self, ref: TableRef) -> None:
        """Delete a table's files; nothing of it is left on disk."""
        own = self._of(ref)
        with own.lock:
            self._remove(self.folder(ref))

    def drop_account(self, account_id: int) -> None:
        """Delete all of an account's files."""
        with self._guard:
            mine = [table for ref, table in self._tables.items() if ref.account_id == account_id]
        for table in mine:
            table.lock.acquire()
        try:
            self._remove(self.root / str(account_id))
        finally:
            for table in mine:
                table.lock.release()

    def _remove(self, folder: Path) -> None:
        """Move a folder out of sight in one step, then delete it; also what an interrupted call left over."""
        trash = self.root / _TRASH
        if folder.exists():
            trash.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.rename(trash / uuid.uuid4().hex)
            sync_folder(folder.parent)
        if trash.exists():
            shutil.rmtree(trash, ignore_errors=False)

    def close(self) -> None:
        """Free the typing engine; committed tables need no closing."""
        with self._guard:
            if self._typer is not None:
                self._typer.close()
                self._typer = None
