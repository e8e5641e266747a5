"""The rooms of reports with all real around them but HTTP: log, tables, sandboxed workers, jobs, mail."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from addon.ingest.service import IngestService
from addon.models.ingest import TABLE_ID, Batch, BodyKind
from addon.models.jobs import JobRequest
from addon.models.schedules import REPORT
from addon.models.tables import TableRef
from addon.query.report_outputs import ReportOutputs
from addon.query.results import rows
from addon.query.saved_runs import SavedRuns
from addon.query.service import Query, QueryService
from addon.query.workers import WorkerPool
from addon.schedules.deliveries.mail import SmtpServer
from addon.schedules.reports.assembly import ReportPlaces, assemble_reports
from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.jobs import JobStore
from addon.store.reports import ReportStore
from addon.store.uploads import SqlUploadLedger
from addon.warehouse.store import DeltaWarehouse
from platform_core.base.clock import FixedClock, SystemClock
from platform_core.base.sandbox.client import SpawnerSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.jobs import Job, JobOutcome

DAY = 86_400
MONDAY = 1_800_230_400
"""2027-01-18, 00:00 UTC."""
NOW = MONDAY + 2 * DAY + 6 * 3_600


class ReportRig:
    """One account with a table ``shop.orders``; ``run`` does what the queue would."""

    def __init__(
        self, home: Path, smtp_port: int, pool: WorkerPool, database: Database, sandbox: SpawnerSandbox
    ) -> None:
        self.home = home
        self.clock = FixedClock(NOW)
        self.accounts = AccountStore(database, self.clock)
        self.account, _ = self.accounts.ensure_local("local", "premium", "secret")
        self.catalog = SqlCatalog(database, self.clock, keep_s=0.0)
        self.warehouse = DeltaWarehouse(home / "warehouse", places=self.catalog.place)
        self.ingest = IngestService(
            home / "wal", self.warehouse, self.catalog, SqlUploadLedger(database), linger_s=0.02
        )
        self.jobs = JobStore(database, self.clock)
        kept = ReportOutputs(ReportStore(database, self.clock), home / "shared" / "reports")
        saved = SavedRuns(self.jobs, home / "scratch", kept)
        self.query = QueryService(self.catalog, self.warehouse, self.ingest, pool, self.clock, saved=saved)
        smtp = SmtpServer("127.0.0.1", smtp_port, "none", sender="reports@sluice.example")
        for folder in ("scratch", "shared"):
            (home / folder).mkdir(exist_ok=True)
        places = ReportPlaces(
            home / "shared", home / "scratch", "http://sluice.example", "5e" * 32, smtp, None, "", ""
        )
        self.rooms = assemble_reports(
            database, self.clock, self.accounts, self.catalog, self.ingest, self.warehouse, self.query,
            sandbox, None, self.jobs, self.check_quota, places,
        )  # fmt: skip

    async def check_quota(self, account: Account) -> None:
        """Let everybody store."""
        assert account.id == self.account.id

    def define(self, name: str = "daily", **body: Any) -> None:
        """Put a report."""
        self.rooms.reports.put(self.account, name, body)

    async def send(self, found: list[dict[str, Any]], broken: str = "", received: float = NOW) -> None:
        """Append rows to ``orders`` by the write-ahead log, and make them queryable."""
        ref = TableRef(self.account.id, "shop", "orders")
        located = self.catalog.ensure_table(ref)
        body = "\n".join([*map(json.dumps, found), broken]).encode()
        meta = {TABLE_ID: str(located.id)}
        await self.ingest.append(
            Batch(BodyKind.NDJSON, ref.account_id, ref.database, ref.table, body, received, None, meta)
        )
        await self.ingest.flush(ref.account_id)

    def issue(self, slot: int, name: str = "daily") -> Job:
        """Queue a job and claim it, as the runner would."""
        self.jobs.issue(JobRequest(self.account.id, REPORT, "", name, max_running=9, scheduled_time=slot))
        claimed = self.jobs.claim("worker")
        assert claimed is not None
        return claimed

    def again(self, job: Job) -> Job:
        """Return the job as another worker gets it after the first one's death."""
        return replace(job, epoch=job.epoch + 1)

    async def run(self, job: Job) -> JobOutcome:
        """Execute a job."""
        outcome = await self.rooms.execution.run(self.account, job, asyncio.Event())
        self.jobs.finish(job, outcome)
        return outcome

    async def ask(self, sql: str) -> list[list[Any]]:
        """Return a query's rows."""
        with (self.home / "answer").open("w+b") as file:
            await self.query.execute(
                self.account, Query(sql, "trino", "shop"), file.fileno(), asyncio.Event()
            )
        return list(rows(self.home / "answer"))


@asynccontextmanager
async def report_rig(home: Path, smtp_port: int) -> AsyncIterator[ReportRig]:
    """Yield a rig."""
    home.mkdir(exist_ok=True)  # noqa: ASYNC240  (a test's own folder)
    database = Database(f"sqlite:///{home}/addon.db")
    database.migrate()
    sandbox = SpawnerSandbox()
    await sandbox.start()
    (home / "warehouse").mkdir()
    kept = home / "shared" / "reports"
    pool = WorkerPool(sandbox, home / "warehouse", home / "spill", SystemClock(), threads=1, reports=kept)
    await pool.start()
    rig = ReportRig(home, smtp_port, pool, database, sandbox)
    await rig.ingest.start()
    try:
        yield rig
    finally:
        await rig.ingest.close()
        await pool.close()
        await sandbox.close()
        rig.warehouse.close()
        database.close()
