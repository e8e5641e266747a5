"""One Delta table's log: durable commits that name the WAL segment they come from, checkpoints, snapshots.

The log lies in an object store. A local one is not synced by delta-rs, so this has it done: data files first,
then the log entry and its folder. A commit goes through the very handle whose transaction version was looked
at, which makes the pair an exact compare-and-set: a second instance of a writer is refused, a repeated
segment changes nothing. Each commit carries a mark of its own, by which one whose answer was lost is known.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from addon.warehouse.attempt import Attempt
from addon.warehouse.files import FileSet
from addon.warehouse.schema import TableSchema, from_delta
from platform_core.base import failpoints
from platform_core.base.errors import NotFound, Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.objects import ObjectStore

CHECKPOINT_EVERY = 50
_SETTINGS = {"delta.logRetentionDuration": "interval 15 minutes", "delta.enableExpiredLogCleanup": "true"}
_ATTEMPTS = 10

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


@dataclass(frozen=True, slots=True)
class TableState:
    """What one version of a table consists of."""

    version: int
    schema: TableSchema
    files: FileSet

    @classmethod
    def of(cls, table: DeltaTable) -> TableState:
        """Read a handle's version."""
        return cls(table.version(), from_delta(table.schema()), FileSet.of(table))


class DeltaLog:
    """A held handle on one table. Not thread-safe: the store locks per table."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        """Take the table's folder in the store; nothing is read before the first call."""
        self.prefix = prefix
        self._objects = objects
        self._place = objects.location(prefix)
        self._log_prefix = f"{prefix}/_delta_log"
        self._table: DeltaTable | None = None
        self._stamp: str | None = None
        self._checkpoint = 0
        self._idle: dict[str, float] = {}
        self._state: tuple[str, int, TableState] | None = None

    # The handle
    # ----------------------------------------------------------------------------------------------------

    def _handle(self) -> DeltaTable | None:
        """Return the newest version's handle, None while there is no table.

        The newest entry that is known must be the one that was read: after a drop, and after a clean-up
        that went past it, the log is read anew.
        """
        try:
            if self._table is not None:
                if self._stamp is not None and self._stamp_of(self._table) == self._stamp:
                    self._refresh(self._table)
                    return self._table
                self._table = None
            self._table = self._open()
        except (DeltaError, OSError) as error:
            self._table = None
            raise self.failure(error) from error
        return self._table

    def failure(self, error: Exception) -> Exception:
        """Return what delta-rs raised as the store's error, where it is one."""
        return self._objects.translated(error)

    def _stamp_of(self, table: DeltaTable) -> str | None:
        return self._objects.stamp(f"{self._log_prefix}/{_entry(table.version())}")

    def _refresh(self, table: DeltaTable) -> None:
        before = table.version()
        table.update_incremental()
        if table.version() != before:
            self._stamp = self._stamp_of(table)

    def _open(self) -> DeltaTable | None:
        self._objects.mend_log(self.prefix)
        if not DeltaTable.is_deltatable(self._place.uri, dict(self._place.options)):
            return None
        table = self._load()
        self._checkpoint = self._last_checkpoint()
        self._stamp = self._stamp_of(table)
        return table

    def _load(self, version: int | None = None) -> DeltaTable:
        return DeltaTable(self._place.uri, version=version, storage_options=dict(self._place.options))

    def _last_checkpoint(self) -> int:
        try:
            return int(json.loads(self._objects.get(f"{self._log_prefix}/_last_checkpoint"))["version"])
        except (NotFound, ValueError, KeyError):
            return 0

    def forget(self) -> None:
        """Let the handle go; the next call reads the log anew."""
        self._table = None

    # Reading
    # ----------------------------------------------------------------------------------------------------

    def schema(self) -> TableSchema | None:
        """Return the newest schema, None while there is no table."""
        table = self._handle()
        return None if table is None else from_delta(table.schema())

    def committed(self, writer: str, segment: int) -> bool:
        """Tell whether the writer's segment (or a later one) is in the table."""
        table = self._handle()
        return table is not None and _has(table, writer, segment)

    def identity(self) -> str | None:
        """Return the id of the table that is there now, None without one; another one after a drop."""
        table = self._handle()
        return None if table is None else str(table.metadata().id)

    def state(self, version: int | None = None) -> TableState | None:
        """Return a version's schema and files in the order of time; None while there is no table.

        The newest version's are kept from one call to the next.

        Raises:
            DeltaError: there is no such version (any more).
        """
        table = self._handle()
        if table is None:
            return None
        if version is not None and version != table.version():
            return TableState.of(self._load(version))
        identity = str(table.metadata().id)
        if self._state is None or self._state[:2] != (identity, table.version()):
            self._state = identity, table.version(), TableState.of(table)
        return self._state[2]

    def has_files(self, names: pa.StringArray) -> bool:
        """Tell whether all of a version's files are still there."""
        found = {info.key for info in self._objects.list(self.prefix)}
        return all(f"{self.prefix}/{name}" in found for name in names.to_pylist())

    # Writing
    # ----------------------------------------------------------------------------------------------------

    def append(self, files: Sequence[DataFile], schema: TableSchema, writer: str, segment: int) -> bool:
        """Commit durable files as the rows of a segment; False when the segment was committed before.

        Raises:
            Unavailable: other writers kept winning the race for the next version, or have changed the schema
                so that the files do not fit it.
        """
        actions: list[AddAction | RemoveAction] = [file.action() for file in files]
        attempt = Attempt(self)
        for _ in range(_ATTEMPTS):
            table = self._handle()
            if table is not None and attempt.landed(table):
                return True
            if table is not None and _has(table, writer, segment):
                return False
            if attempt.commit(table, schema, actions, [Transaction(writer, segment)]):
                return True
        raise self._busy()

    def replace(self, old: Sequence[str], new: Sequence[DataFile], *, new_data: bool = False) -> bool:
        """Swap files for others in one commit; False when one of ``old`` is not in the table any more.

        ``new_data`` is false where the rows are the same ones (compaction). After False the caller may
        delete what it wrote; after an error it must not, for the commit may have been made.
        """
        attempt = Attempt(self)
        for _ in range(_ATTEMPTS):
            table = self._handle()
            if table is None:
                return False
            if attempt.landed(table):
                return True
            if not set(FileSet.of(table).names.to_pylist()).issuperset(old):
                return False
            now = int(time.time() * 1000)
            gone = [RemoveAction(name, data_change=new_data, deletion_timestamp=now) for name in old]
            if attempt.commit(table, None, [*(file.action(new_data=new_data) for file in new), *gone], []):
                return True
        raise self._busy()

    def _busy(self) -> Unavailable:
        return Unavailable(
            f"The table {self.prefix} is being changed by others.", hint="Retry after 1 second."
        )

    def create(self, schema: TableSchema) -> DeltaTable:
        """Make the table; DeltaError when another writer has just made it."""
        self._objects.make_table(self.prefix)
        table = DeltaTable.create(
            self._place.uri,
            DeltaSchema(schema.delta_fields()),
            configuration=_SETTINGS,
            storage_options=dict(self._place.options),
        )
        self._checkpoint = 0
        self._sync_log([0])
        self._objects.sync(self.prefix, [])
        self._table, self._stamp = table, self._stamp_of(table)
        return table

    def settle(self, table: DeltaTable, before: int) -> None:
        """Make the entries after version ``before`` durable, and write a checkpoint where one is due."""
        self._sync_log(range(before + 1, table.version() + 1))
        self._stamp = self._stamp_of(table)
        failpoints.hit("commit.post")
        self._checkpoint_if_due(table)

    def entry(self, version: int) -> bytes:
        """Return the text of a log entry; empty when it was cleaned up."""
        try:
            return self._objects.get(f"{self._log_prefix}/{_entry(version)}")
        except NotFound:
            return b""

    def _sync_log(self, versions: Sequence[int]) -> None:
        self._objects.sync(self._log_prefix, [_entry(version) for version in versions])

    def _checkpoint_if_due(self, table: DeltaTable) -> None:
        """Write a checkpoint every 50 versions and take a fresh handle: commit latency grows otherwise."""
        if table.version() - self._checkpoint < CHECKPOINT_EVERY:
            return
        try:
            with self._objects.checkpoint(self.prefix, table.version()):
                table.create_checkpoint()
            table.cleanup_metadata()
        except (DeltaError, OSError) as error:
            # The commit stands without it; the next commit tries again.
            log.warning("delta_checkpoint_failed", table=self.prefix, error=str(error))
        self._table = None

    # Upkeep
    # ----------------------------------------------------------------------------------------------------

    def sweep(self, keep_s: float) -> int:
        """Delete data files that the newest version has not named for ``keep_s``; return how many.

        How long is known from earlier calls, so a restart begins anew: no file goes early.
        """
        table = self._handle()
        if table is None:
            return 0
        found = [
            info.key.removeprefix(f"{self.prefix}/")
            for info in self._objects.list(self.prefix)
            if info.key.endswith(".parquet") and not info.key.startswith(self._log_prefix)
        ]
        active = set(FileSet.of(table).names.to_pylist())
        now = time.monotonic()
        self._idle = {name: self._idle.get(name, now) for name in found if name not in active}
        old = [name for name, since in self._idle.items() if now - since >= keep_s]
        self._objects.delete(f"{self.prefix}/{name}" for name in old)
        for name in old:
            del self._idle[name]
        return len(old)


def _has(table: DeltaTable, writer: str, segment: int) -> bool:
    version = table.transaction_version(writer)
    return version is not None and version >= segment


def _entry(version: int) -> str:
    return f"{version:020d}.json"
