"""The composition root: makes every room of the add-on and wires the ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from addon.api.app import Application
from addon.api.collectors.peers import networks
from addon.api.internal import InternalRoutes
from addon.api.services import Services
from addon.bulk.assembly import assemble
from addon.fleet.assembly import Fleet
from addon.ingest.service import IngestService
from addon.models.bulk import JOB_TYPE
from addon.models.ingest import Ingestor
from addon.models.schedules import REPORT
from addon.provisioning.credentials import Credentials, ensure_credentials, load_credentials
from addon.provisioning.drops import Drops
from addon.provisioning.manifest import SERVICE, manifest
from addon.provisioning.provider import Provider, Rooms
from addon.provisioning.quotas import Quotas
from addon.provisioning.retention import Retention
from addon.provisioning.sso import SignOn
from addon.provisioning.sweeps import Sweeps
from addon.provisioning.upkeep import KEEP_RESULTS_S, Upkeep
from addon.query.analysis import AnalysisExecution
from addon.query.books import Books
from addon.query.delete_job import Deleter
from addon.query.metering import Metering
from addon.query.report_outputs import ReportOutputs
from addon.query.run_pins import RunPins
from addon.query.runner import Execution, JobRunner, SqlExecution
from addon.query.saved_runs import ANALYSIS, SavedRuns
from addon.query.service import QueryService
from addon.query.workers import WorkerPool
from addon.receivers.service import Receivers
from addon.receivers.service import Rooms as ReceiverRooms
from addon.schedules.reports.assembly import FOLDER, ReportPlaces, assemble_reports
from addon.schedules.scheduler import Scheduler
from addon.schedules.service import Schedules
from addon.settings import Settings
from addon.store.accounts import AccountStore
from addon.store.audit import AuditLog, SsoTokenStore
from addon.store.bulk import BulkStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.dropped import DroppedPlaces
from addon.store.jobs import JobStore
from addon.store.meters import MeterStore
from addon.store.recent import KEEP_S
from addon.store.reports import ReportStore
from addon.store.resources import ResourceStore
from addon.store.schedules import ScheduleStore
from addon.store.table_moves import TableMoves
from addon.store.uploads import SqlUploadLedger
from addon.warehouse.objects.opened import open_objects
from addon.warehouse.retention import Expiry
from addon.warehouse.store import DeltaWarehouse
from platform_core.base.clock import Clock, SystemClock
from platform_core.base.sandbox.client import SpawnerSandbox

_LOCAL_ACCOUNT, _LOCAL_PLAN = "local", "premium"
_JOB_GRACE_S = 2.0
_PUBLIC = "public.json"


def initialise(settings: Settings, public_tls: str | None) -> dict[str, Any]:
    """Make folder, credentials, database and local account where missing; return what others need."""
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    credentials = ensure_credentials(folder / "credentials.json")
    host = public_tls or f"localhost:{settings.tls_port}"
    public = folder / _PUBLIC
    public.touch(0o600)
    public.chmod(0o600)
    public.write_text(json.dumps({"tls": host}))
    database = open_database(settings)
    try:
        account_id, key = _local_account(AccountStore(database, SystemClock()), credentials)
    finally:
        database.close()
    base = f"https://{host}"
    return {
        "manifest": manifest(credentials, f"{base}/heroku/resources", f"{base}/sso/login", settings.docs_url),
        "provider_user": SERVICE,
        "provider_password": credentials.provider_password,
        "sso_salt": credentials.sso_salt,
        "td_api_key": key,
        "forward_key": credentials.forward_key(account_id),
    }


def open_database(settings: Settings) -> Database:
    """Open the metadata database, its schema brought to the newest."""
    database = Database(settings.database_url or f"sqlite:///{settings.folder / 'addon.db'}")
    database.migrate()
    return database


def _local_account(accounts: AccountStore, credentials: Credentials) -> tuple[int, str]:
    account, key = accounts.ensure_local(_LOCAL_ACCOUNT, _LOCAL_PLAN, credentials.local_key_secret)
    return account.id, key


def _fleet(
    settings: Settings, database: Database, credentials: Credentials, clock: Clock, own: Path
) -> Fleet | None:
    """Return the fleet's rooms where the database is a server, which others may use too."""
    if not database.shared:
        return None
    secret = credentials.derived("fleet", "nodes")
    return Fleet(database, clock, own, settings.shared, secret)


def _metered(database: Database, clock: Clock) -> tuple[MeterStore, Metering]:
    meters = MeterStore(database, clock)
    return meters, Metering(meters)


class Addon:
    """The running add-on: ``start``, then serve ``application``, then ``close``."""

    def __init__(self, settings: Settings, *, aside: Path | None = None) -> None:
        """Make every room.

        ``aside`` is a folder for the log and the identity of a second process on the same home.

        Raises:
            InvalidInput: `initialise` was not called, or the roles are not valid.
        """
        self._roles = settings.roles()
        folder = settings.folder
        credentials = load_credentials(folder / "credentials.json")
        self._database = open_database(settings)
        clock = SystemClock()
        results, scratch, reports = (settings.shared / name for name in ("results", "scratch", FOLDER))
        for place in (results, scratch, reports):
            place.mkdir(exist_ok=True, mode=0o700)
        own = aside or folder
        fleet = self._fleet = _fleet(settings, self._database, credentials, clock, own)
        accounts, resources = AccountStore(self._database, clock), ResourceStore(self._database, clock)
        # Another node may rename, drop and make again at any time: what is remembered would be wrong.
        catalog = SqlCatalog(self._database, clock, KEEP_S if fleet is None and aside is None else 0.0)
        jobs = JobStore(self._database, clock)
        audit = AuditLog(self._database, clock)
        objects = open_objects(settings.store(), folder)
        keep_s = settings.history_hours * 3600
        self._warehouse = DeltaWarehouse(objects, places=catalog.place, keep_s=keep_s, clock=clock)
        uploads = SqlUploadLedger(self._database)
        self._ingest = IngestService(
            own / "wal",
            self._warehouse,
            catalog,
            uploads,
            clock=clock,
            claims=None if fleet is None else fleet.claims,
            turn=None if fleet is None else fleet.leases.take,
        )
        ingestor: Ingestor = self._ingest
        purging: Ingestor = self._ingest
        if fleet is not None:
            own_log = self._ingest if "ingest" in self._roles else None
            ingestor, purging = fleet.join(
                own_log, settings.own_url, self._roles, refuse=settings.refuse_stale
            )
        self._sandbox = SpawnerSandbox(settings.sandbox_driver)
        self._pool = WorkerPool(
            self._sandbox,
            self._warehouse.root,
            folder / "spill",
            clock,
            threads=settings.query_threads,
            runs=scratch,
            reports=reports,
        )
        saved = SavedRuns(jobs, scratch, ReportOutputs(ReportStore(self._database, clock), reports))
        meters, self._metering = _metered(self._database, clock)
        query = QueryService(
            catalog, self._warehouse, ingestor, self._pool, clock, saved=saved, metering=self._metering
        )
        books = Books(meters, self._metering, catalog, self._warehouse)
        run_pins = RunPins(self._warehouse.versions, jobs, KEEP_RESULTS_S)
        self._bulk, perform = assemble(BulkStore(self._database, clock), catalog, self._warehouse, clock)
        executions: dict[str, Execution] = {
            "": SqlExecution(
                query, results, Deleter(query, self._warehouse.rewriter, catalog, audit, scratch)
            ),
            ANALYSIS: AnalysisExecution(query, self._sandbox, scratch, results, run_pins, jobs, books),
            JOB_TYPE: perform,
        }
        public_url = (settings.public_url or f"http://127.0.0.1:{settings.http_port}").rstrip("/")
        quotas = Quotas(catalog, self._warehouse, clock)
        self._reports = assemble_reports(
            self._database,
            clock,
            accounts,
            catalog,
            ingestor,
            self._warehouse,
            query,
            self._sandbox,
            books,
            jobs,
            quotas.check,
            ReportPlaces(
                settings.shared,
                scratch,
                public_url,
                credentials.derived("reports", "deliveries"),
                settings.smtp(),
                settings.smtp_ca_file,
                settings.smtp_domains,
                settings.egress_allow,
            ),
        )
        executions[REPORT] = self._reports.execution
        self._runner = JobRunner(
            jobs, accounts, executions, slots=settings.job_slots, watch=fleet is not None
        )
        schedules = ScheduleStore(self._database, clock)
        self._scheduler = Scheduler(schedules, jobs, accounts, clock, self._runner.wake)
        rooms = Rooms(
            resources,
            accounts,
            catalog,
            jobs,
            audit,
            self._warehouse,
            purging,
            self._pool,
            (results, scratch, *self._reports.folders_of_accounts),
            (
                self._ingest.erase,
                self._bulk.erase,
                schedules.forget_account,
                self._reports.store.forget_account,
            ),
            None if fleet is None else fleet.forget,
        )
        provider = Provider(rooms, credentials, public_url, _public_tls(settings))
        retention = Retention(accounts, catalog, Expiry(self._warehouse), clock)
        drops = Drops(DroppedPlaces(self._database), self._warehouse, clock)
        self._upkeep = Upkeep(
            provider,
            jobs,
            audit,
            (results, scratch),
            clock,
            (
                self._bulk.expire,
                schedules.expire_old,
                drops.finish_all,
                retention.round,
                Sweeps(catalog, self._warehouse).round,
                books.round,
                run_pins.expire,
            ),
            None if fleet is None else fleet.upkeep_lease,
        )
        self.receivers = Receivers(
            ReceiverRooms(accounts, resources, self._ingest, quotas, clock, credentials.forward_key)
        )
        services = Services(
            accounts=accounts,
            resources=resources,
            catalog=catalog,
            moves=TableMoves(self._database, catalog, clock),
            drops=drops,
            jobs=jobs,
            audit=audit,
            runner=self._runner,
            bulk=self._bulk,
            schedules=Schedules(schedules, clock, self._reports.reports.get, catalog),
            scheduler=self._scheduler,
            reports=self._reports,
            query=query,
            saved=saved,
            ingestor=ingestor,
            uploads=uploads,
            warehouse=self._warehouse,
            versions=self._warehouse.versions,
            quotas=quotas,
            provider=provider,
            sign_on=SignOn(resources, SsoTokenStore(self._database, clock), audit, credentials, clock),
            results=results,
            scratch=scratch,
            clock=clock,
            public_url=public_url,
            receivers=self.receivers.stats,
            forward_key=credentials.forward_key,
        )
        self._accounts = accounts
        self._credentials = credentials
        self.application = Application(
            services,
            ingest="ingest" in self._roles,
            api="api" in self._roles,
            trusted=networks(settings.trusted_proxies),
            internal=None
            if fleet is None
            else InternalRoutes(fleet.secret, self._flush_own, self._forget, clock),
        )

    async def _flush_own(self, account_id: int) -> None:
        if "ingest" in self._roles:
            await self._ingest.flush(account_id)

    async def _forget(self, account_id: int) -> None:
        """Drop what this process keeps of an account that another one deprovisioned."""
        self._accounts.forget_cached()
        await self._pool.close_account(account_id)
        if "ingest" in self._roles:
            await self._ingest.flush(account_id)
            await asyncio.to_thread(self._ingest.erase, account_id)

    async def start(self) -> None:
        """Recover what an earlier run left, and start the background work.

        Raises:
            Unavailable: another process uses the folder, or the sandbox does not start.
        """
        if "ingest" in self._roles:
            await self._ingest.start()
        if self._fleet is not None:
            await self._fleet.start()
        await self._sandbox.start()
        await self._pool.start()
        await self._metering.start()
        if "worker" in self._roles:
            await self._upkeep.start()
            # With the log's lock and a database of its own, it is the only one; others wait for the leases.
            await self._runner.start(alone=self._fleet is None and "ingest" in self._roles)
            await self._scheduler.start()
            await self._reports.outbox.start()
            await self._bulk.start()
            account_id, _ = _local_account(self._accounts, self._credentials)
            self._pool.prewarm(self._accounts.get(account_id))

    @asynccontextmanager
    async def ingesting(self) -> AsyncIterator[tuple[IngestService, DeltaWarehouse]]:
        """Run the durable path alone, with nothing served, as restore and replay need it."""
        try:
            await self._ingest.start()
            yield self._ingest, self._warehouse
        finally:
            await self._ingest.close()
            self._warehouse.close()
            self._database.close()

    @property
    def local_account(self) -> int:
        """The number of the local development account."""
        return _local_account(self._accounts, self._credentials)[0]

    async def close(self) -> None:
        """Give running jobs a moment, make everything acked queryable, and stop."""
        await self.receivers.close()
        await self._upkeep.close()
        await self._bulk.close()
        await self._scheduler.close()
        await self._reports.outbox.close()
        await self._runner.close(_JOB_GRACE_S)
        await self._ingest.close()
        if self._fleet is not None:
            await self._fleet.close()
        await self._pool.close()
        await self._metering.close()
        await self._sandbox.close()
        self._warehouse.close()
        self._database.close()


def _public_tls(settings: Settings) -> str:
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads((settings.folder / _PUBLIC).read_text())["tls"])
    return f"localhost:{settings.tls_port}"
