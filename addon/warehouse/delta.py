"""One Delta table's log: durable commits that name the WAL segment they come from, checkpoints, snapshots.

delta-rs never fsyncs, so this does: data file and folder first (``parquet``), then the log entry and its
folder. A commit goes through the very handle whose transaction version was looked at, which makes the pair
an exact compare-and-set: a second instance of a writer is refused, a repeated segment changes nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from addon.warehouse.folders import make_folder, sync_file, sync_folder
from addon.warehouse.schema import TableSchema, from_delta
from platform_core.base import failpoints
from platform_core.base.errors import Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHECKPOINT_EVERY = 50
DELTA_TAIL_TORN = "delta_tail_torn"
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_SETTINGS = {"delta.logRetentionDuration": "interval 15 minutes", "delta.enableExpiredLogCleanup": "true"}
_ATTEMPTS = 5

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of the table: its name in the table's folder, size, rows and time range."""

    name: str
    size: int
    rows: int
    min_time: int
    max_time: int

    def action(self, *, new_data: bool = True) -> AddAction:
        """Return the log's entry for the file; ``new_data`` is false for a rewrite of old rows."""
        stats = {
            "numRecords": self.rows,
            "minValues": {"time": self.min_time},
            "maxValues": {"time": self.max_time},
            "nullCount": {"time": 0},
        }
        return AddAction(self.name, self.size, {}, int(time.time() * 1000), new_data, json.dumps(stats))


class DeltaLog:
    """A held handle on one table. Not thread-safe: the store locks per table."""

    def __init__(self, folder: Path) -> None:
        """Take the table's folder; nothing is read before the first call."""
        self.folder = folder
        self._table: DeltaTable | None = None
        self._inode = 0
        self._checkpoint = 0
        self._idle: dict[str, float] = {}

    @property
    def _log_folder(self) -> Path:
        return self.folder / "_delta_log"

    def _handle(self) -> DeltaTable | None:
        """Return the newest version's handle, None while there is no table."""
        try:
            inode = self._log_folder.stat().st_ino
        except FileNotFoundError:
            self._table = None
            return None
        if self._table is None or inode != self._inode:
            self._inode = inode
            self._table = self._open()
        else:
            self._table.update_incremental()
        return self._table

    def _open(self) -> DeltaTable | None:
        self._set_torn_aside()
        if not DeltaTable.is_deltatable(str(self.folder)):
            return None
        table = DeltaTable(self.folder)
        self._checkpoint = self._last_checkpoint()
        return table

    def _set_torn_aside(self) -> None:
        """Rename a newest log entry that a power cut left half-written: nothing can have relied on it."""
        entries = sorted(self._log_folder.glob("*.json"))
        if not entries:
            return
        try:
            lines = entries[-1].read_bytes().splitlines()
            complete = bool(lines) and all(json.loads(line) for line in lines)
        except ValueError:
            complete = False
        if not complete:
            log.error(DELTA_TAIL_TORN, folder=self.folder.name, entry=entries[-1].name)
            entries[-1].replace(entries[-1].with_suffix(".torn"))
            sync_folder(self._log_folder)

    def _last_checkpoint(self) -> int:
        try:
            return int(json.loads((self._log_folder / "_last_checkpoint").read_bytes())["version"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0

    def schema(self) -> TableSchema | None:
        """Return the newest schema, None while there is no table."""
        table = self._handle()
        return None if table is None else from_delta(table.schema())

    def committed(self, writer: str, segment: int) -> bool:
        """Tell whether the writer's segment (or a later one) is in the table."""
        table = self._handle()
        version = None if table is None else table.transaction_version(writer)
        return version is not None and version >= segment

    def append(self, file: DataFile, schema: TableSchema, writer: str, segment: int) -> bool:
        """Commit a durable file as the rows of a segment; False when the segment was committed before.

        Raises:
            Unavailable: other writers kept winning the race for the next version.
        """
        for _ in range(_ATTEMPTS):
            table = self._handle() or self._create(schema)
            before = table.version()
            version = table.transaction_version(writer)
            if version is not None and version >= segment:
                return False
            try:
                self._grow(table, schema)
                failpoints.hit("commit.pre")
                self._write(table, [file.action()], [Transaction(writer, segment)])
            except CommitFailedError:
                self._table = None
                continue
            failpoints.hit("commit.unsynced")
            self._sync_log(before + 1, table.version())
            failpoints.hit("commit.post")
            self._checkpoint_if_due(table)
            return True
        raise Unavailable(
            f"The table {self.folder.name} is being changed by others.", hint="Retry after 1 second."
        )

    def replace(self, old: Sequence[str], new: DataFile) -> None:
        """Swap files for one with the same rows, in one commit (compaction)."""
        table = self._handle()
        if table is None:
            return
        before = table.version()
        now = int(time.time() * 1000)
        gone = [RemoveAction(name, data_change=False, deletion_timestamp=now) for name in old]
        self._write(table, [new.action(new_data=False), *gone], [])
        self._sync_log(before + 1, table.version())
        self._checkpoint_if_due(table)

    def identity(self) -> str | None:
        """Return the id of the table that is there now, None without one; another one after a drop."""
        table = self._handle()
        return None if table is None else str(table.metadata().id)

    def has_files(self, files: Sequence[DataFile]) -> bool:
        """Tell whether all of a version's files are still there."""
        return all((self.folder / file.name).exists() for file in files)

    def sweep(self, keep_s: float) -> int:
        """Delete data files that the newest version has not named for ``keep_s``; return how many.

        How long is known from earlier calls, so a restart begins anew: no file goes early.
        """
        table = self._handle()
        if table is None:
            return 0
        active = {file.name for file in data_files(table)}
        now = time.monotonic()
        found = (path.name for path in self.folder.iterdir() if path.suffix in {".parquet", ".tmp"})
        self._idle = {name: self._idle.get(name, now) for name in found if name not in active}
        old = [name for name, since in self._idle.items() if now - since >= keep_s]
        for name in old:
            (self.folder / name).unlink(missing_ok=True)
            del self._idle[name]
        return len(old)

    def _create(self, schema: TableSchema) -> DeltaTable:
        make_folder(self.folder)
        self._table = DeltaTable.create(
            self.folder, DeltaSchema(schema.delta_fields()), configuration=_SETTINGS
        )
        self._inode = self._log_folder.stat().st_ino
        self._checkpoint = 0
        self._sync_log(0, 0)
        sync_folder(self.folder)
        return self._table

    def _grow(self, table: DeltaTable, schema: TableSchema) -> None:
        fields = schema.delta_fields(known=[field.name for field in table.schema().fields])
        if fields:
            table.alter.add_columns(fields, post_commithook_properties=_NO_HOOKS)

    def _write(
        self, table: DeltaTable, actions: list[AddAction | RemoveAction], transactions: list[Transaction]
    ) -> None:
        table.create_write_transaction(
            actions,
            "append",
            table.schema(),
            commit_properties=CommitProperties(app_transactions=transactions),
            post_commithook_properties=_NO_HOOKS,
        )
        table.update_incremental()

    def _sync_log(self, first: int, last: int) -> None:
        for version in range(first, last + 1):
            sync_file(self._log_folder / f"{version:020d}.json")
        sync_folder(self._log_folder)

    def _checkpoint_if_due(self, table: DeltaTable) -> None:
        """Write a checkpoint every 50 versions and take a fresh handle: commit latency grows otherwise."""
        if table.version() - self._checkpoint < CHECKPOINT_EVERY:
            return
        try:
            table.create_checkpoint()
            for path in self._log_folder.glob(f"{table.version():020d}.checkpoint*"):
                sync_file(path)
            sync_file(self._log_folder / "_last_checkpoint")
            sync_folder(self._log_folder)
            table.cleanup_metadata()
        except (DeltaError, OSError) as error:
            # The commit stands without it; the next commit tries again.
            log.warning("delta_checkpoint_failed", folder=self.folder.name, error=str(error))
        self._table = None

    def files(self, version: int | None = None) -> tuple[int, TableSchema, list[DataFile]] | None:
        """Return a version's number, schema and files in the order of time; None while there is no table.

        Raises:
            DeltaError: there is no such version (any more).
        """
        table = self._handle()
        if table is None:
            return None
        if version is not None and version != table.version():
            table = DeltaTable(self.folder, version=version)
        return table.version(), from_delta(table.schema()), data_files(table)


def data_files(table: DeltaTable) -> list[DataFile]:
    """Return the active files of a handle's version, oldest rows first."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    nothing = pa.nulls(actions.num_rows, pa.int64())
    columns = [
        actions[name] if name in actions.column_names else nothing for name in ("min.time", "max.time")
    ]
    low, high = (pc.fill_null(column, 0).to_pylist() for column in columns)
    rows = zip(
        actions["path"].to_pylist(),
        actions["size_bytes"].to_pylist(),
        actions["num_records"].to_pylist(),
        low,
        high,
        strict=True,
    )
    return sorted((DataFile(*row) for row in rows), key=lambda file: (file.min_time, file.name))
