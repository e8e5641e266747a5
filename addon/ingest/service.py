"""The way in, in one object: implements ``Ingestor``.

``append`` looks at a body, settles its upload id, and returns when the log has it on disk. A background
task turns sealed segments into rows: it sleeps until there is something, waits a moment for company, and is
hurried by ``flush``, the barrier that queries pass. All bookkeeping is done in the event loop's thread, all
work in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

from addon.ingest.background import Background
from addon.ingest.disk import Disk, LocalDisk
from addon.ingest.door import Admission, admit, check_size
from addon.ingest.flusher import Flusher, UploadKey, upload_key
from addon.ingest.limits import IngestLimits
from addon.ingest.pending import Pending, Upload
from addon.ingest.record import Record, encode, new_batch_id
from addon.ingest.segments import Segment, SegmentFolder
from addon.ingest.stats import IngestStats
from addon.ingest.stubborn import StubbornSegments
from addon.ingest.uploads import FleetUploadIds, LedgerUploadIds, SettledLedger, UploadIds
from addon.ingest.wal import Wal, WalLimits
from addon.models.ingest import Ack, Batch, Catalog, UploadClaims, UploadLedger
from platform_core.base.clock import Clock, SystemClock
from platform_core.base.errors import Conflict, SluiceError, Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from addon.warehouse.store import DeltaWarehouse

FLUSH_FAILED = "flush_failed"
UPKEEP_FAILED = "warehouse_upkeep_failed"
RECOVERED = "wal_recovered"
_SMALL_BODY, _SMALL_CLEAN_BODY = 16 << 10, 128 << 10
"""Bodies up to this many bytes are looked at on the event loop: a thread hop costs more."""
_RETRY_S = 1.0
_UPKEEP_S = 300.0
_LEFTOVER_S = 60.0
"""A claim of ours that is older and not pending is a leftover; a write takes far less."""

log = get_logger(__name__)


class IngestService:
    """``start`` first, ``close`` last; the rest from the same event loop."""

    def __init__(
        self,
        wal_folder: Path,
        warehouse: DeltaWarehouse,
        catalog: Catalog,
        ledger: UploadLedger,
        *,
        clock: Clock | None = None,
        disk: Disk | None = None,
        limits: IngestLimits | None = None,
        wal_limits: WalLimits | None = None,
        linger_s: float = 0.15,
        claims: UploadClaims | None = None,
        turn: Callable[[str, float], bool] | None = None,
    ) -> None:
        """Take the log's folder (one process at a time) and the collaborators.

        ``linger_s`` is how long the first unflushed batch waits for company before its rows are committed.
        ``claims`` are the upload ids of a fleet; without them, this process is the only one. ``turn`` takes
        a lease by name for seconds, so that one process at a time merges a table's files.
        """
        self.stats = IngestStats()
        self.limits = limits or IngestLimits()
        self._clock = clock or SystemClock()
        disk = disk or LocalDisk()
        self._wal = Wal(SegmentFolder(wal_folder, disk), disk, wal_limits)
        kept = ledger if claims is None else SettledLedger()
        self._flusher = Flusher(
            self._wal, warehouse, catalog, kept, clock=self._clock, limits=self.limits, turn=turn
        )
        self._warehouse = warehouse
        self._ledger = ledger
        self._claims = claims
        self._uploads: UploadIds = LedgerUploadIds(ledger) if claims is None else FleetUploadIds(claims)
        self._linger_s = linger_s
        self._pending = Pending()
        self._left: dict[str, int] = {}
        self._left_until = -1
        self._task: asyncio.Task[None] | None = None
        self._upkeep: asyncio.Task[None] | None = None
        self._segments = StubbornSegments(self._flusher, self._wal.folder, self._choose)
        self._merge = asyncio.Event()
        self._background = Background("ingest-upkeep")
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        self._appending: set[asyncio.Task[Ack]] = set()
        self._closing = False

    # Life
    # -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the log, take up what an earlier run left in it, and begin to flush.

        Raises:
            Unavailable: another process holds the log, or its identity file is damaged.
        """
        left = self._wal.open(asyncio.get_running_loop())
        await asyncio.to_thread(self._warehouse.warm_up)
        for segment in left:
            records, _ = await asyncio.to_thread(self._flusher.read, segment)
            self._take_up(records, segment, await asyncio.to_thread(self._owned, records))
        await self.release_leftovers(0.0)
        if left:
            self._left_until = left[-1].number
            self._flusher.attempts.load(self._left_until)
            log.info(RECOVERED, segments=len(left), batches=self.stats.recovered_batches)
            self._wake.set()
        self._task = asyncio.create_task(self._flush_loop(), name="ingest-flush")
        self._upkeep = asyncio.create_task(self._upkeep_loop(), name="ingest-upkeep")

    def gauges(self) -> dict[str, int]:
        """Return what is acknowledged (or about to be) and not flushed, and the log that holds it."""
        segments, size = self._wal.extent()
        return {
            "unflushed_batches": self._pending.accounts.total(),
            "unflushed_bytes": self._pending.weight,
            "wal_segments": segments,
            "wal_bytes": size,
        }

    def _take_up(self, records: list[Record], segment: Segment, owned: frozenset[str]) -> None:
        for record in records:
            self._pending.add(record)
            self.stats.recovered_batches += 1
            self._left.setdefault(record.batch_id, segment.number)
            key = upload_key(record)
            if key is not None and key not in self._pending.uploads and record.batch_id in owned:
                stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
                stored.set_result(True)
                self._pending.uploads[key] = Upload(record.batch_id, record.digest, stored)

    async def close(self) -> None:
        """Refuse new batches, make the accepted ones queryable, close the log; the rest waits for a start."""
        self._closing = True
        if self._appending:
            await asyncio.wait(self._appending)
        if self._task is not None:
            with contextlib.suppress(SluiceError):
                await self._barrier()
        for task in (self._task, self._upkeep):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = self._upkeep = None
        self._flusher.stopping = True
        await self._background.close()
        await self._wal.close()

    # The way in
    # -------------------------------------------------------------------------------------------------

    async def append(self, batch: Batch) -> Ack:
        """Make a batch durable.

        Raises:
            InvalidInput, TooLarge: the body is broken as a whole or over a limit.
            Conflict: the upload id was used with another body.
            Unavailable: back-pressure or a failing disk; ``Retry-After`` seconds are in the hint.
            OutOfSpace: the disk is full; nothing was acknowledged.
        """
        check_size(batch, self.limits)
        self._check_room(len(batch.body))
        if len(batch.body) <= (_SMALL_CLEAN_BODY if batch.clean else _SMALL_BODY):
            admission, digest = self._look(batch)
        else:
            admission, digest = await asyncio.to_thread(self._look, batch)
        self._check_room(admission.weight)
        record = Record(batch, new_batch_id(), digest, admission.weight, admission.clean)
        # A task of its own: a caller that goes away must not leave a write without its bookkeeping.
        self._pending.expect(record)
        task = asyncio.create_task(self._append(record))
        self._appending.add(task)
        task.add_done_callback(self._appended)
        task.add_done_callback(lambda _: self._pending.expect_no_more(record))
        return await asyncio.shield(task)

    def _appended(self, task: asyncio.Task[Ack]) -> None:
        self._appending.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, in case that its caller is gone

    def _look(self, batch: Batch) -> tuple[Admission, str]:
        digest = hashlib.sha256(batch.body).hexdigest() if batch.upload_id is not None else ""
        return admit(batch, self.limits), digest

    def _check_room(self, weight: int) -> None:
        if self._closing:
            raise Unavailable("The service is stopping.", hint="Retry after 5 seconds.")
        waiting = self._pending.weight + self._pending.expected
        if waiting and waiting + weight > self.limits.unflushed_bytes:
            self._hurry.set()
            raise Unavailable(
                "More data is waiting than can be stored at once.", hint="Retry after 1 second."
            )

    async def _append(self, record: Record) -> Ack:
        """Write a batch unless its upload id is known; a twin in flight decides for both."""
        key = upload_key(record)
        if key is None:
            await self._write(record)
            return Ack(duplicate=False)
        while (twin := self._pending.uploads.get(key)) is not None:
            _same_body(twin.digest, record)
            if await twin.stored:
                return self._duplicate()
        upload = Upload(record.batch_id, record.digest, asyncio.get_running_loop().create_future())
        self._pending.uploads[key] = upload
        try:
            known = await self._uploads.reserve(record)
            if known is None:
                await self._write_reserved(record)
                upload.stored.set_result(True)
                return Ack(duplicate=False)
        except BaseException:
            self._free(key, upload)
            raise
        self._free(key, upload)
        _same_body(known, record)
        return self._duplicate()

    async def _write_reserved(self, record: Record) -> None:
        try:
            await self._write(record)
        except BaseException:
            await self._uploads.give_up(record)
            raise
        await self._uploads.confirm(record)

    async def release_leftovers(self, age_s: float = _LEFTOVER_S) -> None:
        """Give up claims of this node that nothing stands behind: a crash, or a database that was away.

        Raises:
            Unavailable: the database is away; call again.
        """
        if self._claims is not None:
            kept = [upload.batch_id for upload in self._pending.uploads.values()]
            before = self._clock.now() - age_s
            await asyncio.to_thread(self._claims.release_others, kept, before)

    def unflushed(self) -> dict[int, int]:
        """Return the batches that are not queryable yet by account."""
        return dict(self._pending.accounts)

    def _duplicate(self) -> Ack:
        self.stats.duplicates += 1
        return Ack(duplicate=True)

    def _free(self, key: UploadKey, upload: Upload) -> None:
        """Forget an upload id that was not stored now; waiting twins look again."""
        if self._pending.uploads.get(key) is upload:
            del self._pending.uploads[key]
        upload.stored.set_result(False)

    async def _write(self, record: Record) -> None:
        self._pending.add(record)
        try:
            await self._wal.append(encode(record), record.weight)
        except BaseException:
            self._pending.remove(record)
            raise
        self.stats.batches += 1
        self.stats.bytes += len(record.batch.body)
        self._wake.set()

    # The way on
    # -------------------------------------------------------------------------------------------------

    async def flush(self, account_id: int) -> Sequence[str]:
        """Return when every batch of the account acked before the call is queryable; without warnings.

        Raises:
            Unavailable: the flush fails at the moment; nothing is lost.
        """
        if self._pending.accounts.get(account_id):
            await self._barrier()
        return ()

    def erase(self, account_id: int) -> None:
        """Delete what is kept of a gone account beside its tables; flush first.

        Raises:
            OSError: the disk fails; call again.
        """
        self._flusher.erase(account_id)

    async def _barrier(self) -> None:
        """Wait for a flush round that begins after this call."""
        if self._task is None or self._task.done():
            raise Unavailable("The flush is not running.", hint="Retry after 2 seconds.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(done)
        self._hurry.set()
        self._wake.set()
        await done

    async def _flush_loop(self) -> None:
        """Flush whenever there is something; unhurried, at most a tenth of the time while traffic is light.

        Who passes the barrier waits for the round that runs: the fewer of those nobody asked for, the better.
        """
        linger = self._linger_s
        while True:
            await self._wake.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger):
                    await self._hurry.wait()
            self._wake.clear()
            self._hurry.clear()
            waiters, self._waiters = self._waiters, []
            began = time.monotonic()
            try:
                await self._flush_round()
            except Exception as error:
                self.stats.flush_failures += 1
                log.exception(FLUSH_FAILED)
                _answer(waiters, error)
                await asyncio.sleep(_RETRY_S)  # new batches must not make it spin
                self._wake.set()
            else:
                _answer(waiters, None)
            if self._flusher.merges_due:
                self._merge.set()
            linger = min(1.0, max(self._linger_s, 9 * (time.monotonic() - began)))

    async def _flush_round(self) -> None:
        for segment in await self._wal.seal():
            done = await asyncio.to_thread(self._segments.flush, segment)
            self._pending.flushed(done.records)
            self.stats.count(done)

    async def _upkeep_loop(self) -> None:
        """Merge small files when there are many, beside the flush; delete what nobody reads any more."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_UPKEEP_S):
                    await self._merge.wait()
            self._merge.clear()
            try:
                await self._background.run(self._flusher.upkeep)
            except Exception:
                log.exception(UPKEEP_FAILED)

    def _choose(self, records: Sequence[Record], segment: int) -> Sequence[Record]:
        """Leave out copies, and what another node took over."""
        if self._claims is None:
            return [record for record in records if not self._is_copy(record, segment)]
        once = [record for record in records if self._left.get(record.batch_id, segment) == segment]
        owned = self._owned(once)
        return [record for record in once if record.batch.upload_id is None or record.batch_id in owned]

    def _owned(self, records: Sequence[Record]) -> frozenset[str]:
        return self._uploads.owned([record for record in records if record.batch.upload_id is not None])

    def _is_copy(self, record: Record, segment: int) -> bool:
        """Tell whether a record is a second copy: rewritten after a disk error, or of an upload id."""
        if self._left.get(record.batch_id, segment) != segment:
            return True
        key = upload_key(record)
        if key is None:
            return False
        owner = self._pending.owner(key)
        if owner is not None and owner != record.batch_id:
            return True
        return segment <= self._left_until and self._ledger.seen(*key) is not None


def _same_body(digest: str, record: Record) -> None:
    if digest != record.digest:
        raise Conflict(
            "This upload id was used with another body.",
            hint="Send new data under a new id; repeats must be equal.",
        )


def _answer(waiters: list[asyncio.Future[None]], error: Exception | None) -> None:
    for waiter in (one for one in waiters if not one.done()):
        if error is None:
            waiter.set_result(None)
        else:
            failure = Unavailable("Fresh data cannot be stored at the moment.", hint="Retry after 2 seconds.")
            failure.__cause__ = error
            waiter.set_exception(failure)
