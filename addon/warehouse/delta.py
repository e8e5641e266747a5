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
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from addon.warehouse.attempt import Attempt
from addon.warehouse.files import FileSet, TableState
from addon.warehouse.history import History
from addon.warehouse.log_begin import has_begin, last_checkpoint, take_back
from addon.warehouse.schema import TableSchema, from_delta
from addon.warehouse.shortening import shorten
from addon.warehouse.sweeping import Sweeping
from addon.warehouse.transactions import Transactions
from addon.warehouse.vanishing import lost_race, rereading, until_gone
from platform_core.base import failpoints
from platform_core.base.errors import NotFound, SluiceError, Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.objects import ObjectStore

CHECKPOINT_EVERY = 50
_SETTINGS = {
    "delta.logRetentionDuration": "interval 15 minutes",
    "delta.enableExpiredLogCleanup": "true",
    # A checkpoint names what was removed for so long: a week of merged files would make it slow to write.
    "delta.deletedFileRetentionDuration": "interval 1 hours",
}
_ATTEMPTS = 10
_DROPPED = "sluice.dropped"
"""A table property: the table is being deleted, and is none any more."""
_REWRITES = "sluice.rewrites"
"""The transaction identifier of the commits that remove files."""
_DELETING_S = 600.0
"""After this long a deletion that is not finished was given up."""

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

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        """Take the table's folder in the store; nothing is read before the first call."""
        self.prefix = prefix
        self._objects = objects
        self._place = objects.location(prefix)
        self._log_prefix = f"{prefix}/_delta_log"
        self._table: DeltaTable | None = None
        self._stamp: str | None = None
        self._checkpoint = 0
        self._state: tuple[str, int, TableState] | None = None
        self.transactions = Transactions(self.entry)
        self.history = History(objects, prefix, self.entry)
        self.sweeping = Sweeping(objects, prefix, self.history)

    # The handle
    # ----------------------------------------------------------------------------------------------------

    @rereading
    def _handle(self, *, newest: bool = True) -> DeltaTable | None:
        """Return a handle on the table, None while there is none; the newest version's unless told otherwise.

        The newest entry that is known must be the one that was read: after a drop, and after a clean-up
        that went past it, the log is read anew.
        """
        known = self._table
        if known is not None and self._stamp is not None and self._stamp_of(known) == self._stamp:
            if newest:
                self._refresh(known)
            return None if _DROPPED in known.metadata().configuration else known
        self._table = self._open()
        return self._table

    def failure(self, error: Exception) -> Exception:
        """Return what delta-rs raised as the store's error, where it is one."""
        return self._objects.translated(error)

    def _stamp_of(self, table: DeltaTable) -> str | None:
        return self._objects.stamp(f"{self._log_prefix}/{_entry(table.version())}")

    def _refresh(self, table: DeltaTable) -> None:
        """Read on where there is a next entry; asking for that one is cheaper than having delta-rs look."""
        before = table.version()
        if self._objects.stamp(f"{self._log_prefix}/{_entry(before + 1)}") is None:
            return
        table.update_incremental()
        if table.version() != before:
            self._stamp = self._stamp_of(table)

    def _open(self) -> DeltaTable | None:
        self._objects.mend_log(self.prefix)
        # A checkpoint without an entry was being written while the table was dropped; delta-rs would open it.
        if not any(info.key.endswith(".json") for info in self._objects.list(self._log_prefix)):
            return None
        try:
            table = self._load()
        except DeltaError:
            if has_begin(self._objects, self._log_prefix):
                raise
            return None
        if _DROPPED in table.metadata().configuration:
            return None
        self.transactions.forget()
        self.history.forget_live()
        self._checkpoint = last_checkpoint(self._objects, self._log_prefix)
        self._stamp = self._stamp_of(table)
        return table

    def _load(self, version: int | None = None) -> DeltaTable:
        return DeltaTable(self._place.uri, version=version, storage_options=dict(self._place.options))

    def forget(self) -> None:
        """Let the handle go; the next call reads the log anew."""
        self._table = self._state = None

    # Reading
    # ----------------------------------------------------------------------------------------------------

    def schema(self) -> TableSchema | None:
        """Return the newest schema, None while there is no table."""
        table = self._handle()
        return None if table is None else from_delta(table.schema())

    @rereading
    def committed(self, writer: str, segment: int, *, newest: bool = True) -> bool:
        """Tell whether the writer's segment (or a later one) is in the table, or in the version held."""
        table = self._handle(newest=newest)
        return table is not None and self._has(table, writer, segment)

    def _has(self, table: DeltaTable, writer: str, segment: int) -> bool:
        last = self.transactions.last(table, writer)
        return last is not None and last >= segment

    def identity(self) -> str | None:
        """Return the id of the table that is there now, None without one; another one after a drop."""
        table = self._handle()
        return None if table is None else str(table.metadata().id)

    @rereading
    def state(self, version: int | None = None) -> TableState | None:
        """Return a version's schema and files in the order of time; None while there is no table.

        The newest version's are kept from one call to the next.

        Raises:
            NotFound: there is no such version (any more).
        """
        table = self._handle()
        if table is None:
            return None
        if version is not None and version != table.version():
            return self._older(table, version)
        identity = str(table.metadata().id)
        if self._state is None or self._state[:2] != (identity, table.version()):
            self._state = identity, table.version(), _state_of(table)
        return self._state[2]

    def _older(self, table: DeltaTable, version: int) -> TableState:
        kept = self.history.state(version) if 0 <= version < table.version() else None
        if kept is None:
            raise NotFound(f"The table has no version {version}, or not any more.")
        return kept

    def version_at(self, at: int) -> int | None:
        """Return the version that was the newest at a time (ms); None when that is not known (any more)."""
        table = self._handle()
        return None if table is None else self.history.version_at(at, table.version())

    def pin(self, name: str, version: int | None) -> TableState | None:
        """Keep a version, the newest by default, until ``history.unpin``; None when the name is taken.

        Raises:
            NotFound: there is no such version (any more).
        """
        state = self.state(version)
        if state is None:
            raise NotFound("The table is empty: it has no version to pin.")
        schema = DeltaSchema(state.schema.delta_fields()).to_json()
        return state if self.history.pin(name, state, schema) else None

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
        for number in range(_ATTEMPTS):
            # At first a handle that is not the newest will do: what it does not know of our own writer is a
            # conflict, the rest is none.
            with until_gone(self):
                table = self._handle(newest=number > 0)
                if table is not None and attempt.landed(table):
                    return True
                if table is not None and self._has(table, writer, segment):
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
        self.sweeping.note_replaced()
        for _ in range(_ATTEMPTS):
            with until_gone(self):
                table = self._handle()
                if table is None:
                    return False
                if attempt.landed(table):
                    return True
                if not set(FileSet.of(table).names.to_pylist()).issuperset(old):
                    return False
                now = int(time.time() * 1000)
                gone = [RemoveAction(name, data_change=new_data, deletion_timestamp=now) for name in old]
                actions: list[AddAction | RemoveAction] = [file.action(new_data=new_data) for file in new]
                # delta-rs lets two commits remove one file; a number that all raise makes them conflict.
                turn = Transaction(_REWRITES, (self.transactions.last(table, _REWRITES) or 0) + 1)
                if attempt.commit(table, None, [*actions, *gone], [turn]):
                    return True
        raise self._busy()

    def _busy(self) -> Unavailable:
        return Unavailable(
            f"The table {self.prefix} is being changed by others.", hint="Retry after 1 second."
        )

    def create(self, schema: TableSchema) -> DeltaTable:
        """Make the table; CommitFailedError when another writer has just made it, or is deleting it."""
        self._objects.make_table(self.prefix)
        try:
            table = DeltaTable.create(
                self._place.uri,
                DeltaSchema(schema.delta_fields()),
                configuration=_SETTINGS,
                storage_options=dict(self._place.options),
            )
        except DeltaError as error:
            if "already exists" not in str(error):
                raise
            self._finish_deletion()
            raise CommitFailedError(str(error)) from error
        self.transactions.forget()
        self.history.forget_live()
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
        self._objects.sync(self._log_prefix, map(_entry, versions))

    def _checkpoint_if_due(self, table: DeltaTable) -> None:
        """Write a checkpoint every 50 versions and take a fresh handle: commit latency grows otherwise."""
        if table.version() - self._checkpoint < CHECKPOINT_EVERY:
            return
        try:
            with self._objects.checkpoint(self.prefix, table.version()):
                table.create_checkpoint()
            if self._stamp_of(table) != self._stamp:
                take_back(self._objects, self._log_prefix, table.version())
                raise NotFound("The table was dropped while its checkpoint was being written.")
            self.history.archive(_state_of(table), table.schema().to_json())
            table.cleanup_metadata()
            shorten(self._objects, self._log_prefix, table.version())
        except (DeltaError, OSError, SluiceError) as error:
            # The commit stands without it; the next commit tries again.
            log.warning("delta_checkpoint_failed", table=self.prefix, error=str(error))
        self._table = None

    # Deleting
    # ----------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Delete the table: log, files, everything.

        Where that cannot be one step, a last commit first says that the table is dropped. Every commit that
        others are about to make conflicts with it, and none lands in the log while it is being deleted.
        """
        if not self._objects.deletes_in_one_step:
            self.bury()
        self._objects.delete_all(self.prefix)
        self.forget()

    def bury(self) -> None:
        """Make that last commit."""
        for _ in range(_ATTEMPTS):
            table = self._handle()
            if table is None:
                return
            try:
                table.alter.set_table_properties({_DROPPED: "true"}, raise_if_not_exists=False)
            except (DeltaError, OSError) as error:
                failure = self.failure(error)
                self.forget()
                if failure is error and not lost_race(error):
                    raise
            else:
                return
        raise self._busy()

    def _finish_deletion(self) -> None:
        """Delete what is left of a dropped table's log when whoever was deleting it has given up."""
        left = list(self._objects.list(self._log_prefix))
        newest = max((info.modified for info in left), default=0.0)
        if left and time.time() - newest > _DELETING_S and self._open() is None:
            self._objects.delete_all(self._log_prefix)

    # Upkeep
    # ----------------------------------------------------------------------------------------------------

    @rereading
    def sweep(self, keep_s: float, now: float) -> int:
        """Delete what no version needs any more (``Sweeping.sweep``); return how many files that were."""
        table = self._handle()
        return self.sweeping.sweep(None if table is None else _state_of(table), keep_s, now)


def _state_of(table: DeltaTable) -> TableState:
    return TableState(table.version(), from_delta(table.schema()), FileSet.of(table))


def _entry(version: int) -> str:
    return f"{version:020d}.json"
