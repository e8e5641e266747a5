"""The warehouse: Delta tables in the folders ``<account>/<database>/<table>`` of an object store.

Implements ``Warehouse``. Writing has two steps: ``prepare`` types a segment's rows for one table, ``commit``
writes the file and the log entry. Between them the flusher collects what must go to the dead letters. A bulk
import takes three: ``prepare`` and ``write`` for each part, then ``commit_files`` for all of them at once.
Thread-safe, one lock per table.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from addon.models.moves import default_place
from addon.models.tables import Column, Snapshot, TableRef
from addon.warehouse.delta import DataFile, DeltaLog
from addon.warehouse.files import Paths
from addon.warehouse.handles import Handles
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.parquet import sorted_by_time, write_parquet
from addon.warehouse.rewriting import OpenTable, Rewriter
from addon.warehouse.schema import TableSchema, seeded
from addon.warehouse.typed import Rejected, Typer, aligned
from addon.warehouse.versions import Versions
from platform_core.base import failpoints
from platform_core.base.clock import SystemClock
from platform_core.base.errors import NotFound
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from addon.models.objects import Lease, ObjectStore
    from platform_core.base.clock import Clock

log = get_logger(__name__)

_NAME_DIGITS = 16
"""Hexadecimal digits of a file's SHA-256 in its name: equal names mean equal bytes."""
KEEP_S = 6.25 * 3600
"""Seconds; the longest query may run for six hours: no shorter history is safe."""
HISTORY_S = 24 * 3600.0


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
    prefix: str = ""
    """The table's folder when it was prepared, where the rows go even if it has another name by then."""

    @property
    def place(self) -> str | None:
        """The folder within the account's, None when it is not known."""
        return self.prefix.partition("/")[2] or None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit added; ``rows`` is 0 when the segment had been committed before."""

    columns: Sequence[Column]
    rows: int
    last_time: int | None


class DeltaWarehouse:
    """All tables of all accounts in one object store."""

    def __init__(
        self,
        objects: ObjectStore | Path,
        *,
        threads: int = 1,
        typing_memory: str = "1GB",
        keep_s: float = HISTORY_S,
        clock: Clock | None = None,
        places: Callable[[TableRef], str] = default_place,
    ) -> None:
        """Take the store (a folder stands for a local one), and DuckDB's threads and memory for typing.

        ``keep_s`` is how long a version can be read after another one has taken its place.
        ``places`` tells where a table's files lie within its account's folder: its name may have changed.
        """
        self.objects = LocalObjects(objects) if isinstance(objects, Path) else objects
        self._keep_s = keep_s
        self._clock = clock or SystemClock()
        self._threads, self._memory = threads, typing_memory
        self._typer: Typer | None = None
        self._guard = threading.Lock()
        self._places = places
        self._tables: dict[str, OpenTable] = {}
        self._handles = Handles()
        self.rewriter = Rewriter(self.objects, self._of)
        self.versions = Versions(self)

    @property
    def root(self) -> Path:
        """The local folder with the files: the store itself, or what was fetched from it."""
        return self.objects.root

    def folder(self, ref: TableRef) -> Path:
        """Return the table's local folder, there or not."""
        return self.objects.path(self._prefix(ref))

    def _prefix(self, ref: TableRef, place: str | None = None) -> str:
        """Return the table's folder in the object store."""
        return f"{ref.account_id}/{place or self._places(ref)}"

    def _of(self, ref: TableRef) -> OpenTable:
        return self._at(self._prefix(ref))

    def _at(self, prefix: str) -> OpenTable:
        with self._guard:
            known = self._tables.get(prefix)
            if known is None:
                known = self._tables[prefix] = OpenTable(self.objects, prefix)
        self._handles.use(prefix, known)
        return known

    @contextmanager
    def locked(self, ref: TableRef) -> Iterator[DeltaLog]:
        """Lend the table's log; no other thread of this process commits to it meanwhile."""
        own = self._of(ref)
        with own.lock:
            yield own.log

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
        place: str | None = None,
    ) -> Prepared:
        """Type ``lines`` onto the table's schema; join ``rows``, whose columns are among those of ``seed``.

        ``seed`` gives a table that does not exist yet its first (name, type) columns. ``base`` is the schema
        to grow from, where rows prepared before have grown the table's own already. ``place`` is where the
        table lies, when that is known already.
        """
        schema, own = base, self._at(self._prefix(ref, place))
        prefix = own.log.prefix
        if schema is None:
            with own.lock:
                schema = own.log.schema() or seeded(seed)
        if seed:
            schema = schema.with_columns(seed)
        if lines is None:
            ready = aligned(rows, schema) if rows is not None else schema.arrow().empty_table()
            return Prepared(ref, ready, schema, prefix=prefix)
        typed = self._typing().type_lines(lines.texts, lines.receipt, schema)
        table = typed.table
        if rows is not None:
            table = pa.concat_tables([table, aligned(rows, typed.schema)])
        return Prepared(ref, table, typed.schema, typed.rejected, prefix)

    def misfits(self, prepared: Prepared) -> dict[str, int]:
        """Return how many values of prepared rows did not fit, by column (``Typer.misfits``)."""
        return self._typing().misfits(prepared.table, prepared.schema)

    def committed(self, ref: TableRef, writer: str, segment: int) -> bool:
        """Tell whether the writer's segment is in the table already."""
        own = self._of(ref)
        with own.lock:
            return own.log.committed(writer, segment)

    def commit(self, prepared: Prepared, writer: str, segment: int) -> Committed:
        """Make prepared rows part of the table, durably and once; a repeated segment adds nothing."""
        own = self._at(prepared.prefix or self._prefix(prepared.ref))
        with own.lock:
            columns = prepared.schema.columns
            known = own.log.committed(writer, segment, newest=False)
            if known or not prepared.table.num_rows:
                return Committed(columns, 0, None)
            file = self.write(prepared, f"{writer}-{segment:020d}")
            return self._commit_files(own, [file], prepared.schema, (writer, segment))

    def write(self, prepared: Prepared, name: str) -> DataFile:
        """Store prepared rows (at least one) as a file that no version names yet, durably.

        ``name`` begins the file's name. What is not committed within hours is swept away.
        """
        return self._write(prepared.prefix or self._prefix(prepared.ref), name, prepared.table)

    def commit_files(
        self,
        ref: TableRef,
        files: Sequence[DataFile],
        schema: TableSchema,
        writer: str,
        sequence: int,
        *,
        prefix: str = "",
    ) -> Committed:
        """Make written files part of the table in one commit, once for each (writer, sequence).

        The numbers of a writer must rise: one that is not above the last one adds nothing. ``schema`` is the
        last prepared part's, grown from those of the parts before it. ``prefix`` is theirs, where the table
        may have another name by now.

        Raises:
            Unavailable: others have changed the table so that the files do not fit; prepare them anew.
        """
        own = self._at(prefix or self._prefix(ref))
        return self._commit_files(own, files, schema, (writer, sequence))

    @staticmethod
    def _commit_files(
        own: OpenTable, files: Sequence[DataFile], schema: TableSchema, once: tuple[str, int]
    ) -> Committed:
        with own.lock:
            added = own.log.append(files, schema, *once)
        if not added:
            return Committed(schema.columns, 0, None)
        newest = max((file.max_time for file in files), default=None)
        return Committed(schema.columns, sum(file.rows for file in files), newest)

    def _write(self, prefix: str, name: str, table: pa.Table) -> DataFile:
        ordered = sorted_by_time(table)
        draft = self.objects.scratch / f"{uuid.uuid4().hex}.tmp"
        try:
            digest = write_parquet(ordered, draft)
            full = f"{name}-{digest[:_NAME_DIGITS]}.parquet"
            failpoints.hit("parquet.pre_fsync")
            size = self.objects.put_file(f"{prefix}/{full}", draft)
        finally:
            draft.unlink(missing_ok=True)
        failpoints.hit("parquet.post_fsync")
        bounds = pc.min_max(ordered["time"]).as_py()
        return DataFile(full, size, ordered.num_rows, bounds["min"], bounds["max"])

    def compact(self, ref: TableRef) -> int:
        """Do the merge that pays most now; return how many files it merged (``Rewriter.compact``)."""
        return self.rewriter.compact(ref)

    def merge_pays(self, ref: TableRef) -> bool:
        """Tell whether ``compact`` would merge files; reads nothing but the table's log."""
        return self.rewriter.pays(ref)

    def sweep(self) -> int:
        """Delete the files that no version has named for ``keep_s``; return how many were deleted.

        They are what merging replaced and what an interrupted flush left. Of the tables that this process
        knows, those are looked at that it has not looked at yet, or where something was replaced since.
        """
        with self._guard:
            tables = list(self._tables.values())
        deleted = sum(self._sweep(own) for own in tables)
        self.objects.tidy()
        return deleted

    def sweep_table(self, ref: TableRef, place: str) -> int:
        """Sweep one table, which this process need not have opened and does not keep open for it."""
        prefix = self._prefix(ref, place)
        with self._guard:
            own = self._tables.get(prefix)
        return self._sweep(own or OpenTable(self.objects, prefix))

    def _sweep(self, own: OpenTable) -> int:
        now = self._clock.now()
        if not own.log.sweeping.is_due(self._keep_s, now):
            return 0
        with own.lock:
            return own.log.sweep(self._keep_s, now)

    # Reading
    # ----------------------------------------------------------------------------------------------------

    def reading(self) -> Lease:
        """Return an empty lease: what it fetches of a snapshot's files is there until it is closed."""
        return self.objects.lease()

    def links(self, files: Sequence[Path], seconds: float) -> Sequence[str]:
        """Return addresses by which others can read files of a snapshot for some time."""
        return self.objects.links(files, seconds)

    def snapshot(self, ref: TableRef, version: int | None = None) -> Snapshot | None:
        """Pin the newest (or a named) version; None while nothing was ever committed.

        Raises:
            NotFound: there is no such version.
        """
        own = self._of(ref)
        with own.lock:
            try:
                state = own.log.state(version)
            except Exception as error:
                if not isinstance(error, NotFound):
                    raise
                raise NotFound(
                    f"{ref.database}.{ref.table} has no version {version}, or not any more.",
                    hint="Name a newer version; pin a version that shall stay.",
                ) from error
            if version is not None and state is not None and not own.log.has_files(state.files.names):
                raise NotFound(
                    f"The files of version {version} of {ref.database}.{ref.table} were merged and deleted.",
                    hint="Name a newer version; pin a version that shall stay.",
                )
        if state is None:
            return None
        files, prefix = state.files, own.log.prefix
        first, last = files.bounds or (None, None)
        return Snapshot(
            ref=ref,
            version=state.version,
            files=Paths(files.names, lambda name: self.objects.path(f"{prefix}/{name}")),
            columns=state.schema.columns,
            rows=int(files.rows.sum()),
            bytes=int(files.sizes.sum()),
            min_time=first,
            max_time=last,
            spans=files,
            sizes=files.sizes.tolist(),
        )

    def version_at(self, ref: TableRef, seconds: float) -> int:
        """Return the version that was the newest at a moment (``Versions.at``)."""
        return self.versions.at(ref, seconds)

    # Deleting
    # ---------------------------------------------------------------------------------------------------

    def drop(self, ref: TableRef, place: str | None = None) -> None:
        """Delete a table's files; nothing of it is left on disk."""
        own = self._at(self._prefix(ref, place))
        with own.lock:
            own.log.drop()

    def drop_account(self, account_id: int) -> None:
        """Delete all of an account's files."""
        with self._guard:
            mine = [own for prefix, own in self._tables.items() if prefix.startswith(f"{account_id}/")]
        for table in mine:
            table.lock.acquire()
        try:
            if not self.objects.deletes_in_one_step:
                for prefix in self._table_prefixes(str(account_id)):
                    DeltaLog(self.objects, prefix).bury()
            self.objects.delete_all(str(account_id))
        finally:
            for table in mine:
                table.log.forget()
                table.lock.release()

    def _table_prefixes(self, folder: str) -> list[str]:
        """Return the tables below a folder, in the order of their names."""
        parts = (info.key.partition("/_delta_log/") for info in self.objects.list(folder))
        return list(dict.fromkeys(prefix for prefix, log_, _ in parts if log_))

    def close(self) -> None:
        """Free the typing engine; committed tables need no closing."""
        with self._guard:
            if self._typer is not None:
                self._typer.close()
                self._typer = None
