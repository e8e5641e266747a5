"""The bulk import room on real files and a real database, driven call by call; restarts keep the folder."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import duckdb
import msgpack

from addon.bulk.assembly import assemble
from addon.models.accounts import AccountState
from addon.models.bulk import JOB_TYPE, BulkSession
from addon.models.jobs import JobOutcome, JobState
from addon.models.tables import TableRef
from addon.query.worker import QueryFailed
from addon.store.accounts import AccountStore
from addon.store.bulk import BulkStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.jobs import LEASE_S, JobStore
from addon.warehouse.store import DeltaWarehouse, Lines
from addon.warehouse.view import view_sql
from platform_core.base.clock import FixedClock
from platform_core.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pyarrow as pa

    from addon.models.accounts import Account
    from addon.models.bulk import BulkPart

NOW = 1_764_000_000
Row = dict[str, Any]


def packed(rows: Iterable[Mapping[Any, Any]]) -> bytes:
    """Return records as a part's body; the same records give the same bytes."""
    return gzip.compress(b"".join(map(msgpack.packb, rows)), 1, mtime=0)


class BulkRig:
    """One account, one table ``shop.events``, and the room around them."""

    def __init__(self, home: Path, *, now: float = 1_800_000_000.0, url: str | None = None) -> None:
        home.mkdir(exist_ok=True, parents=True)
        self.clock = FixedClock(now)
        self.database = Database(url or f"sqlite:///{home}/addon.db")
        self.database.migrate()
        accounts = AccountStore(self.database, self.clock)
        self.account: Account = accounts.ensure_local("local", "premium", "0" * 32)[0]
        assert self.account.state is AccountState.PROVISIONED
        self.catalog = SqlCatalog(self.database, self.clock)
        self.jobs = JobStore(self.database, self.clock)
        self.store = BulkStore(self.database, self.clock)
        self.warehouse = DeltaWarehouse(home / "warehouse", places=self.catalog.place)
        self.ref = TableRef(self.account.id, "shop", "events")
        self.catalog.ensure_table(self.ref)
        self.bulk, self.execution = assemble(self.store, self.catalog, self.warehouse, self.clock)

    def close(self) -> None:
        self.warehouse.close()
        self.database.close()

    # The calls, as a client makes them

    def create(self, name: str = "s") -> BulkSession:
        return self.bulk.create(self.ref, name)

    def session(self, name: str = "s") -> BulkSession:
        return self.store.get(self.account.id, name)

    def upload(self, part: str, rows: Iterable[Mapping[Any, Any]] | bytes, name: str = "s") -> BulkPart:
        session = self.bulk.may_upload(self.account.id, name, part)
        draft = self.bulk.files.draft()
        draft.write_bytes(rows if isinstance(rows, bytes) else packed(rows))
        try:
            return self.bulk.keep_part(session, part, draft)
        finally:
            draft.unlink(missing_ok=True)

    def freeze(self, name: str = "s") -> BulkSession:
        return self.store.freeze(self.account.id, name)

    def begin_perform(self, name: str = "s") -> int:
        return self.bulk.begin_perform(self.account, name, 0).id

    def run_jobs(self, *, kill: bool = False) -> list[JobOutcome]:
        """Do what the job runner does with what is queued, or was left by a crash."""
        outcomes = []
        self.jobs.requeue_lost()
        while (job := self.jobs.claim("rig")) is not None:
            assert job.request.type == JOB_TYPE
            asked = asyncio.Event()
            if kill:
                asked.set()
            try:
                outcome = asyncio.run(self.execution.run(self.account, job, asked))
            except QueryFailed as error:
                outcome = JobOutcome(JobState.KILLED, stderr=str(error))
            except UserError as error:
                outcome = JobOutcome(JobState.ERROR, stderr=str(error))
            assert self.jobs.finish(job, outcome)
            outcomes.append(outcome)
        return outcomes

    def perform(self, name: str = "s") -> JobOutcome:
        self.begin_perform(name)
        (outcome,) = self.run_jobs()
        return outcome

    def commit(self, name: str = "s") -> BulkSession:
        async def commit() -> BulkSession:
            return await self.bulk.commit(self.account.id, name, 60)

        return asyncio.run(commit())

    def recover(self) -> None:
        """Do what a start does: jobs whose lease ran out are run, commits are finished."""
        self.clock.advance(LEASE_S + 1)

        async def resume() -> None:
            await self.bulk.start()
            tasks = list(self.bulk._commits.values())  # what start began
            await asyncio.gather(*tasks)

        asyncio.run(resume())
        self.run_jobs()

    # What is there

    def import_lines(self, texts: pa.StringArray, times: pa.Int64Array, segment: int) -> None:
        """Commit rows the way the flush of a streaming import does."""
        prepared = self.warehouse.prepare(self.ref, Lines(texts, times))
        done = self.warehouse.commit(prepared, "w", segment)
        self.catalog.record_flush(self.ref, done.columns, done.rows, done.last_time)

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        snapshot = self.warehouse.snapshot(self.ref)
        if snapshot is None:
            return []
        view = view_sql(snapshot, [str(path) for path in snapshot.files])
        return duckdb.sql(f"select {columns} from ({view}) order by all").fetchall()  # noqa: S608 - test

    def error_records(self, name: str = "s") -> list[Row]:
        session = self.session(name)
        assert session.performed is not None
        file = session.performed.errors_file
        if file is None:
            return []
        with self.bulk.files.reading(session, [file]) as (path,):
            return list(msgpack.Unpacker(gzip.open(path), raw=False))

    def kept_files(self) -> list[str]:
        """Return every file that sessions keep."""
        return [info.key for info in self.warehouse.objects.list("bulk")]
