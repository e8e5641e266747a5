"""One sealed WAL segment to committed rows, in a worker thread; a repeat after a crash changes nothing."""

from __future__ import annotations

import contextlib
import queue
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from addon.ingest.attempts import Attempts, DeadlyBatchError
from addon.ingest.decode import decode_records, origin_of
from addon.ingest.log_tables import LOG_TABLES, SYSLOG_FIELDS
from addon.ingest.probe import deadly_batches
from addon.ingest.quarantine import Quarantine, is_machines_fault
from addon.ingest.record import Record, decode
from addon.ingest.renamed import ROWS_DISCARDED, Addressed, addressed
from addon.ingest.rows import DEAD_LETTER_COLUMNS, Decoded, Origin, TableRows
from addon.ingest.staging import Staged
from addon.models.tables import DEAD_LETTERS, LOGS_DATABASE, TableRef
from platform_core.base import failpoints
from platform_core.base.errors import UserError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from addon.ingest.limits import IngestLimits
    from addon.ingest.segments import Segment
    from addon.ingest.wal import Wal
    from addon.models.ingest import Catalog, UploadLedger
    from addon.warehouse.schema import TableSchema
    from addon.warehouse.store import DeltaWarehouse, Prepared
    from platform_core.base.clock import Clock

_COMPACT_EVERY = 32
"""Commits of a table; the first one of this process counts, too: earlier ones may have left many files."""
_MERGE_LEASE_S = 600.0
RECORD_UNREADABLE = "wal_record_unreadable"
COMPACTION_FAILED = "compaction_failed"
BATCH_QUARANTINED = "batch_quarantined"
ROWS_QUARANTINED = "rows_quarantined"
SEGMENT_GIVEN_UP = "wal_segment_given_up"
_REASON_CHARACTERS = 300

log = get_logger(__name__)

UploadKey = tuple[int, str, str, str]


def _reason(error: Exception) -> str:
    return f"quarantined: {type(error).__name__}: {error}"[:_REASON_CHARACTERS]


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
    dead_letters: Mapping[str, int]
    """By kind of reason."""
    discarded: int
    corrupt_ranges: int
    quarantined: int = 0
    """Batches, or the rows of one table, that could not be flushed and were put aside."""
    misfits: int = 0
    """Values that did not fit their column and stay in the rows' overflow."""


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
        turn: Callable[[str, float], bool] | None = None,
    ) -> None:
        """Take the collaborators; nothing happens before ``flush``."""
        self._wal = wal
        self._warehouse = warehouse
        self._catalog = catalog
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._turn = turn
        self._quarantine = Quarantine(wal.folder.folder / "quarantine", wal.disk)
        self.attempts = Attempts(wal.folder.folder, wal.disk)
        self._commits: Counter[TableRef] = Counter()
        self._misfits = 0
        self._to = Addressed()
        self._due: queue.SimpleQueue[TableRef] = queue.SimpleQueue()
        self.stopping = False
        """Set, it ends the upkeep after the merge that runs."""

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

    def flush(
        self,
        segment: Segment,
        *,
        choose: Callable[[Sequence[Record], int], Sequence[Record]],
        isolate: bool = False,
        deadly: Collection[str] = (),
    ) -> Flushed:
        """Commit a segment's rows and delete it. ``choose`` leaves out the records that are copies of others.

        With ``isolate``, records are decoded one by one and tables committed one by one; what fails goes to
        the quarantine, with a dead letter that says so, and the rest goes on. ``deadly`` are the ids of
        batches that are not even tried.

        Raises:
            OSError, SluiceError: nothing is lost; call again later.
        """
        self._misfits = 0
        records, corrupt = self.read(segment)
        to = self._to = addressed(choose(records, segment.number), self._catalog)
        if isolate:
            staged, bad = self._stage_singly(to.records, segment.number, deadly)
        else:
            staged, bad = self._stage(decode_records(to.records, segment.number, self._limits), Staged()), 0
        staged.discarded += len(to.gone)
        prepared = staged.prepared()
        if isolate:
            rows, lost = self._commit_singly(prepared, segment.number)
            bad += lost
        else:
            rows = sum(self._commit(item, segment.number) for item in prepared)
        self._record_uploads(records)
        self._wal.discard(segment)
        self._count_commits([item.ref for item in prepared])
        return Flushed(records, rows, staged.dead_letters, staged.discarded, corrupt, bad, self._misfits)

    def give_up(self, segment: Segment) -> Flushed:
        """Move a segment that fails even piece by piece to the quarantine, as it is."""
        records, corrupt = self.read(segment)
        self._record_uploads(records)
        kept = self._quarantine.keep_segment(segment)
        self._wal.discard(segment)
        log.error(SEGMENT_GIVEN_UP, segment=segment.number, batches=len(records), kept_as=kept.name)
        return Flushed(records, 0, {}, 0, corrupt, len(records))

    def erase(self, account_id: int) -> None:
        """Delete what was put aside of an account that is gone."""
        self._quarantine.erase(account_id, self._wal.folder.writer.key)

    def _stage(self, decoded: Decoded, before: Staged) -> Staged:
        """Type decoded rows, tables growing from the schemas of ``before``; nothing is committed."""
        staged = Staged(dict(before.schemas), {ref: [] for ref in before.schemas})
        for ref, rows in decoded.tables.items():
            place = self._place(ref, rows)
            if place is not None:
                staged.add(self._typed(ref, place, rows, decoded, staged.schemas.get(ref)))
            else:
                staged.discarded += 1
        for ref, table in decoded.dead_tables():
            place = self._ensure(ref)
            if place is not None:
                base = staged.schemas.get(ref)
                letters = self._warehouse.prepare(
                    ref, None, table, DEAD_LETTER_COLUMNS, base=base, place=place
                )
                staged.add(letters)
            else:
                staged.discarded += 1
        staged.dead_letters = decoded.dead_kinds
        return staged

    def deadly(self, segment: Segment) -> frozenset[str]:
        """Return the batches that kill a process which decodes them, where the program died before."""
        if not self.attempts.suspect(segment.number):
            return frozenset()
        return deadly_batches(segment.path, self._wal.folder.writer.key)

    def _stage_singly(
        self, records: Sequence[Record], segment: int, deadly: Collection[str]
    ) -> tuple[Staged, int]:
        """Decode and type the records one by one; return also how many went to the quarantine."""
        staged, bad, first = Staged(), 0, 0
        for record in records:
            try:
                if record.batch_id in deadly:
                    raise DeadlyBatchError("its decoding kills the process")  # noqa: TRY301 - as any other fault
                decoded = decode_records([record], segment, self._limits, first=first)
                staged.update(self._stage(decoded, staged))
            except Exception as error:
                if is_machines_fault(error):
                    raise
                bad += 1
                kept = self._quarantine.keep_batch(record, segment)
                log.exception(BATCH_QUARANTINED, segment=segment, batch=record.batch_id, kept_as=kept.name)
                letters, batch = self._letters(), record.batch
                ref = TableRef(batch.account_id, batch.database, batch.table)
                letters.add_dead(batch.account_id, origin_of(record), _reason(error), batch.body, ref=ref)
                staged.update(self._stage(letters, staged))
            first += len(record.batch.body) // 2 + 1  # more than it can have frames
        return staged, bad

    def _letters(self) -> Decoded:
        return Decoded(self._limits.dead_letter_bytes, self._limits.dead_letters_per_batch)

    def _commit_singly(self, prepared: Sequence[Prepared], segment: int) -> tuple[int, int]:
        """Commit each table by itself; return the rows, and how many tables went to the quarantine."""
        rows, letters, staged = 0, self._letters(), Staged()
        for item in prepared:
            if item.ref.table == DEAD_LETTERS:
                staged.add(item)
            else:
                rows += self._commit_or_keep(item, segment, letters)
        bad = letters.dead_total
        staged.update(self._stage(letters, staged))
        for item in staged.prepared():
            rows += self._commit_or_keep(item, segment, letters)
        return rows, max(bad, letters.dead_total)

    def _commit_or_keep(self, item: Prepared, segment: int, letters: Decoded) -> int:
        """Commit a table's rows; when that cannot work, quarantine them and add a letter about it."""
        try:
            return self._commit(item, segment)
        except Exception as error:
            if is_machines_fault(error):
                raise
            kept = self._quarantine.keep_rows(item.ref, item.table, segment)
            log.exception(ROWS_QUARANTINED, segment=segment, table=item.ref.table, kept_as=kept.name)
            origin = Origin("flush", f"{segment}", int(self._clock.now()))
            body = f"{item.table.num_rows} rows, kept as {kept.name}".encode()
            letters.add_dead(item.ref.account_id, origin, _reason(error), body, ref=item.ref)
            return 0

    def _typed(
        self, ref: TableRef, place: str, rows: TableRows, decoded: Decoded, base: TableSchema | None
    ) -> Prepared:
        seed = LOG_TABLES.get(ref.table, ()) if ref.database == LOGS_DATABASE else ()
        if ref.database == LOGS_DATABASE and ref.table == DEAD_LETTERS:
            seed = DEAD_LETTER_COLUMNS
        ready = pa.concat_tables(rows.tables, promote_options="default") if rows.tables else None
        if ready is not None and seed:
            known = {name for name, _ in seed}
            there = set(ready.column_names) - known
            seed = (*seed, *(field for field in SYSLOG_FIELDS if field[0] in there))
        item = self._warehouse.prepare(ref, rows.lines(), ready, seed, base=base, place=place)
        for bad in item.rejected:
            origin, text = rows.origin_of(bad.row)
            body = text.rstrip("\n").encode()
            decoded.add_dead(ref.account_id, origin, bad.reason, body, ref=ref)
        return item

    def _place(self, ref: TableRef, rows: TableRows) -> str | None:
        """Return where rows go: looked up once, and held to until they are counted; None for nowhere."""
        if ref in self._to.places:
            return self._to.places[ref]
        if rows.create:
            return self._ensure(ref)
        table = self._catalog.locate(ref)
        if table is not None:
            return table.place
        log.warning(ROWS_DISCARDED, account=ref.account_id, database=ref.database, table=ref.table)
        return None

    def _ensure(self, ref: TableRef) -> str | None:
        try:
            return self._catalog.ensure_table(ref).place
        except UserError as error:
            # A deprovisioned account, mostly: there is nobody left whose rows these could be.
            log.warning(
                ROWS_DISCARDED,
                account=ref.account_id,
                database=ref.database,
                table=ref.table,
                reason=error.message,
            )
            return None

    def _commit(self, item: Prepared, segment: int) -> int:
        writer = self._wal.folder.writer.name
        done = self._warehouse.commit(item, writer, segment)
        misfits = self._warehouse.misfits(item)
        self._misfits += sum(misfits.values())
        failpoints.hit("catalog.write")
        if item.table.num_rows:
            # Also when the rows were committed before a crash: the mark tells whether they were counted.
            newest = pc.max(item.table["time"]).as_py()
            rows = item.table.num_rows
            mark = writer, segment
            size = item.table.nbytes
            self._catalog.record_flush(item.ref, done.columns, rows, newest, mark, misfits, item.place, size)
        return done.rows

    def _record_uploads(self, records: Sequence[Record]) -> None:
        entries = [(*key, record.digest) for record in records if (key := upload_key(record)) is not None]
        failpoints.hit("ledger.write")
        if entries:
            self._ledger.record(entries, self._clock.now())

    # Upkeep
    # ----------------------------------------------------------------------------------------------------

    def _count_commits(self, refs: Sequence[TableRef]) -> None:
        for ref in refs:
            if self._commits[ref] % _COMPACT_EVERY == 0:
                self._due.put(ref)
            self._commits[ref] += 1

    @property
    def merges_due(self) -> bool:
        """Whether a table had enough commits for a merge of its small files."""
        return not self._due.empty()

    def upkeep(self) -> None:
        """Merge small files where due, and delete files that no query reads; may run beside ``flush``.

        A failure costs nothing but speed and room.
        """
        with contextlib.suppress(queue.Empty):
            while not self.stopping:
                self._merge(self._due.get_nowait())
        if not self.stopping:
            self._warehouse.sweep()

    def _merge(self, ref: TableRef) -> None:
        try:
            name = f"merge:{ref.account_id}/{ref.database}/{ref.table}"
            pays = self._warehouse.merge_pays(ref)
            ours = pays and (self._turn is None or self._turn(name, _MERGE_LEASE_S))
            if ours and self._warehouse.compact(ref):
                self._due.put(ref)  # maybe there is more to merge, when the others have had their turn
        except Exception as error:  # noqa: BLE001 - the rows are committed; the next round tries again
            log.warning(COMPACTION_FAILED, database=ref.database, table=ref.table, error=str(error))
