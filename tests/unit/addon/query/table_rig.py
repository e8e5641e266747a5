"""A table, a real sandboxed worker and a queue's execution, for tests of what SQL does to tables."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from addon.models.accounts import PLANS, Account, AccountState
from addon.models.jobs import Job, JobRequest, JobState
from addon.models.tables import TableRef
from addon.query.delete_job import Deleter
from addon.query.results import rows
from addon.query.runner import SqlExecution
from addon.query.saved_runs import SavedRuns
from addon.query.service import Query, QueryService
from addon.query.workers import WorkerPool
from addon.store.accounts import AccountStore
from addon.store.audit import AuditLog
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.jobs import JobStore
from addon.warehouse.store import DeltaWarehouse, Lines
from platform_core.base.clock import FixedClock, SystemClock
from platform_core.base.sandbox.client import SpawnerSandbox

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000


class NothingUnflushed:
    """An ingestor whose write-ahead log is empty."""

    async def flush(self, account_id: int) -> list[str]:
        """Everything is in the tables."""
        del account_id
        return []


class Rig:
    """One account's tables in ``shop``, and queries on them."""

    def __init__(
        self,
        home: Path,
        pool: WorkerPool,
        database: Database,
        clock: FixedClock,
        sandbox: SpawnerSandbox | None = None,
    ) -> None:
        self.clock = clock
        self.sandbox = sandbox
        self.queue = JobStore(database, clock)
        self.saved = SavedRuns(self.queue, home / "scratch")
        self.home = home
        account, _ = AccountStore(database, clock).ensure_local("local", "premium", "secret")
        self.account = Account(account.id, None, "one", PLANS["premium"], AccountState.PROVISIONED, 0.0)
        self.catalog = SqlCatalog(database, clock, keep_s=0.0)
        self.audit = AuditLog(database, clock)
        self.warehouse = DeltaWarehouse(home / "warehouse", clock=clock)
        self.service = QueryService(
            self.catalog,
            self.warehouse,
            NothingUnflushed(),  # type: ignore[arg-type]  # what is asked of it
            pool,
            clock,
            saved=self.saved,
        )
        deleter = Deleter(self.service, self.warehouse.rewriter, self.catalog, self.audit, home)
        self.execution = SqlExecution(self.service, home / "results", deleter)
        self.segment = self.jobs = 0

    def ref(self, table: str = "events") -> TableRef:
        return TableRef(self.account.id, "shop", table)

    def put(self, *texts: str, table: str = "events") -> None:
        """Commit JSON rows as one file."""
        self.segment += 1
        self.catalog.ensure_table(self.ref(table))
        lines = Lines(pa.array(texts), pa.array([NOW] * len(texts), pa.int64()))
        prepared = self.warehouse.prepare(self.ref(table), lines)
        done = self.warehouse.commit(prepared, "w", self.segment)
        self.catalog.record_flush(self.ref(table), done.columns, done.rows, done.last_time)

    async def ask(self, sql: str, dialect: str = "trino", account: Account | None = None) -> list[list[Any]]:
        """Return a query's rows."""
        file = io.FileIO(self.home / "answer", "w+")
        with file:
            await self.service.execute(
                account or self.account, Query(sql, dialect, "shop"), file.fileno(), asyncio.Event()
            )
        return list(rows(self.home / "answer"))

    async def job(self, sql: str, kind: str = "trino", kill: asyncio.Event | None = None) -> list[list[Any]]:
        """Run a job and return its result's rows."""
        self.jobs += 1
        request = JobRequest(self.account.id, kind, "shop", sql, 1)
        job = Job(
            self.jobs,
            request,
            JobState.RUNNING,
            1,
            False,
            0.0,
            0.0,
            None,
            None,
            None,
            (),
            None,
            "",
            "",
        )
        outcome = await self.execution.run(self.account, job, kill or asyncio.Event())
        assert outcome.state is JobState.SUCCESS
        assert outcome.result_path is not None
        return list(rows(self.home / "results" / outcome.result_path))


@asynccontextmanager
async def table_rig(home: Path) -> AsyncIterator[Rig]:
    """Yield a rig with a worker in the real sandbox."""
    database = Database(f"sqlite:///{home}/addon.db")
    database.migrate()
    sandbox = SpawnerSandbox()
    await sandbox.start()
    (home / "warehouse").mkdir()
    (home / "scratch").mkdir()
    pool = WorkerPool(
        sandbox, home / "warehouse", home / "spill", SystemClock(), threads=2, runs=home / "scratch"
    )
    await pool.start()
    try:
        yield Rig(home, pool, database, FixedClock(NOW), sandbox)
    finally:
        await pool.close()
        await sandbox.close()
        database.close()
