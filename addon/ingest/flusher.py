"""One sealed WAL segment to committed rows, in a worker thread; a repeat after a crash changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from addon.ingest.decode import decode_records
from addon.ingest.log_tables import LOG_TABLES
from addon.ingest.record import Record, decode
from addon.ingest.rows import DEAD_LETTER_COLUMNS, Decoded, TableRows
from addon.models.tables import DEAD_LETTERS, LOGS_DATABASE, TableRef
from addon.warehouse.typed import aligned
from platform_core.base import failpoints
from platform_core.base.errors import UserError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from addon.ingest.limits import IngestLimits
    from addon.ingest.segments import Segment
    from addon.ingest.wal import Wal
    from addon.models.ingest import Catalog, UploadLedger
    from addon.warehouse.store import DeltaWarehouse, Prepared
    from platform_core.base.clock import Clock

_COMPACT_EVERY = 32
RECORD_UNREADABLE = "wal_record_unreadable"
ROWS_DISCARDED = "rows_of_missing_table_discarded"
COMPACTION_FAILED = "compaction_failed"

log = get_logger(__name__)

UploadKey = tuple[int, str, str, str]


def upload_key(record: Record) -> UploadKey | None:
    """Return what makes the record's batch unique, None when it has no upload id."""
    batch = record.batch
    if batch.upload_id is None:
        return None
    return (batch.account_id, batch.database, batch.table, batch.upload_id)


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one segment held and became."""

    records: Sequence[Record]
    rows: int
    dead_letters: int
    discarded: int
    corrupt_ranges: int


class Flusher:
    """Decodes, types, commits, then deletes a segment; one call at a time."""

    def __init__(
        self,
        wal: Wal,
        warehouse: DeltaWarehouse,
        catalog: Catalog,
        ledger: UploadLedger,
        *,
        clock: Clock,
        limits: IngestLimits,
    ) -> None:
        """Take the collaborators; nothing happens before ``flush``."""
        self._wal = wal
        self._warehouse = warehouse
        self._catalog = catalog
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._commits: Counter[TableRef] = Counter()

    def read(self, segment: Segment) -> tuple[list[Record], int]:
        """Return a segment's records and how many corrupt ranges it had."""
        data, found = self._wal.folder.read(segment)
        records = []
        for frame in found.frames:
            try:
                records.append(decode(data[frame.start : frame.end]))
            except ValueError:
                log.exception(RECORD_UNREADABLE, segment=segment.number, sequence=frame.sequence)
        return records, len(found.corrupt)

    def flush(self, segment: Segment, *, skip: Callable[[Record, int], bool]) -> Flushed:
        """Commit a segment's rows and delete it. ``skip`` tells which records are copies of others.

        Raises:
            OSError, SluiceError: nothing is lost; call again later.
        """
        records, corrupt = self.read(segment)
        fresh = [record for record in records if not skip(record, segment.number)]
        decoded = decode_records(fresh, segment.number, self._limits)
        prepared, discarded = self._prepare(decoded)
        rows = sum(self._commit(item, segment.number) for item in prepared)
        self._record_uploads(records)
        self._wal.discard(segment)
        self._compact([item.ref for item in prepared])
        return Flushed(records, rows, decoded.dead_total, discarded, corrupt)

    def _prepare(self, decoded: Decoded) -> tuple[list[Prepared], int]:
        prepared: dict[TableRef, Prepared] = {}
        discarded = 0
        for ref, rows in decoded.tables.items():
            if not self._present(ref, rows):
                discarded += 1
                continue
            prepared[ref] = self._typed(ref, rows, decoded)
        for ref, table in decoded.dead_tables():
            if not self._ensure(ref):
                discarded += 1
                continue
            own = self._warehouse.prepare(ref, None, table, DEAD_LETTER_COLUMNS)
            before = prepared.get(ref)
            if before is not None:
                before.table = pa.concat_tables([before.table, aligned(own.table, before.schema)])
            else:
                prepared[ref] = own
        return list(prepared.values()), discarded

    def _typed(self, ref: TableRef, rows: TableRows, decoded: Decoded) -> Prepared:
        seed = LOG_TABLES.get(ref.table, ()) if ref.database == LOGS_DATABASE else ()
        if ref.database == LOGS_DATABASE and ref.table == DEAD_LETTERS:
            seed = DEAD_LETTER_COLUMNS
        ready = pa.concat_tables(rows.tables, promote_options="default") if rows.tables else None
        item = self._warehouse.prepare(ref, rows.lines(), ready, seed)
        for bad in item.rejected:
            origin, text = rows.origin_of(bad.row)
            body = text.rstrip("\n").encode()
            decoded.add_dead(ref.account_id, origin, bad.reason, body, ref=ref)
        return item

    def _present(self, ref: TableRef, rows: TableRows) -> bool:
        if rows.create:
            return self._ensure(ref)
        if self._catalog.table_exists(ref):
            return True
        log.warning(ROWS_DISCARDED, account=ref.account_id, database=ref.database, table=ref.table)
        return False

    def _ensure(self, ref: TableRef) -> bool:
        try:
            self._catalog.ensure_table(ref)
        except UserError as error:
            # A deprovisioned account, mostly: there is nobody left whose rows these could be.
            log.warning(
                ROWS_DISCARDED,
                account=ref.account_id,
                database=ref.database,
                table=ref.table,
                reason=error.message,
            )
            return False
        return True

    def _commit(self, item: Prepared, segment: int) -> int:
        done = self._warehouse.commit(item, self._wal.folder.writer.name, segment)
        if done.rows:
            self._catalog.record_flush(item.ref, done.columns, done.rows, done.last_time)
        return done.rows

    def _record_uploads(self, records: Sequence[Record]) -> None:
        entries = [(*key, record.digest) for record in records if (key := upload_key(record)) is not None]
        failpoints.hit("ledger.write")
        if entries:
            self._ledger.record(entries, self._clock.now())

    def _compact(self, refs: Sequence[TableRef]) -> None:
        """Merge the small files of tables that had many commits; a failure costs nothing but speed."""
        for ref in refs:
            self._commits[ref] += 1
            if self._commits[ref] % _COMPACT_EVERY == 0:
                try:
                    self._warehouse.compact(ref)
                except Exception as error:  # noqa: BLE001 - the rows are committed; the next round tries again
                    log.warning(COMPACTION_FAILED, database=ref.database, table=ref.table, error=str(error))
