"""Runs one query: gate, flush barrier, pinned snapshots, worker; for jobs and for synchronous routes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from addon.query.compiler import Compiler
from addon.query.deletes import FILE, ROW, places_query
from addon.query.dialects import CompiledQuery, result_type
from addon.query.later_inputs import begun
from addon.query.pins import Pins
from addon.query.pruning import LAST
from addon.query.shown import expired_before, table_view
from addon.query.td_functions import Times
from addon.query.worker import QueueFull, Reply, Request, Worker
from addon.warehouse.names import literal
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.accounts import Account, Identity
    from addon.models.catalog import TableInfo
    from addon.models.ingest import Ingestor, Warehouse
    from addon.models.jobs import JobRequest
    from addon.models.objects import Lease
    from addon.models.tables import Snapshot, TableRef
    from addon.query.as_of import AsOf
    from addon.query.metering import Metering
    from addon.query.pruning import Ranges
    from addon.query.saved_runs import RunRef, SavedRuns
    from addon.query.workers import WorkerPool
    from addon.store.catalog import SqlCatalog
    from platform_core.base.clock import Clock

MAX_RESULT_BYTES = 8 << 30
_MAX_SYNCHRONOUS_BYTES = 256 << 20
_SMALL_RESULT_BYTES = 1 << 20
"""Copied out of memory on the event loop: a thread hop costs more."""
_MAX_WAITING = 50
"""Queries of one account that may wait for a worker while their clients wait for them."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A result in memory; ``columns`` are (name, type in the dialect's words)."""

    body: bytes
    """msgpack.gz rows (form ``td``) or an Arrow IPC stream (form ``arrow``)."""
    rows: int
    columns: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """One query to run. ``scheduled`` is Unix seconds, None for now."""

    sql: str
    dialect: str
    database: str
    form: str = "td"
    scheduled: int | None = None
    max_bytes: int = MAX_RESULT_BYTES
    at: int | None = None
    """The Unix second that it takes for now; None for the clock's."""
    deleting: bool = False
    """It is a DELETE; what runs is the query of its rows' places, see :mod:`addon.query.deletes`."""


@dataclass(frozen=True, slots=True)
class _Pinned:
    """A table as a query reads it; no snapshot while nothing was ever imported."""

    info: TableInfo
    snapshot: Snapshot | None
    since: int | None
    """Rows of before this Unix second have expired; None where none does."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query that may run: checked and translated, its tables pinned."""

    query: Query
    compiled: CompiledQuery
    pinned: Mapping[str, _Pinned]
    warnings: tuple[str, ...] = ()
    """One for each node of a fleet that is away and may hold rows that are missing here."""
    runs: Mapping[str, Path] = field(default_factory=dict)
    """The Parquet files of the outputs of runs that it reads."""

    @property
    def tables(self) -> Sequence[TableRef]:
        """The tables that it reads at the newest version, or at a pinned one."""
        as_of = self.compiled.as_of
        return list(dict.fromkeys(ref for name, ref in self.compiled.views.items() if name not in as_of))

    @property
    def target(self) -> TableRef:
        """The table that a DELETE takes rows from."""
        if self.compiled.target is None:
            raise ValueError("this is no DELETE")
        return self.compiled.views[self.compiled.target]

    def snapshot(self, ref: TableRef) -> Snapshot | None:
        """Return the pinned version of one of its tables; None while that is empty."""
        return next(self.pinned[name].snapshot for name, one in self.compiled.views.items() if one == ref)

    @property
    def sql(self) -> str:
        """The text that a worker runs."""
        sql = self.compiled.sql
        return sql if self.compiled.target is None else places_query(sql)

    def files(self, name: str) -> Sequence[Path]:
        """Return the files of a table that can have rows which the query asks for."""
        snapshot = self.pinned[name].snapshot
        return [] if snapshot is None else snapshot.files_within(self.ranges(name))

    def ranges(self, name: str) -> Ranges | None:
        """Return the times of a table's rows that the query can ask for; None for all."""
        since, ranges = self.pinned[name].since, self.compiled.ranges.get(name)
        return ((since, LAST),) if ranges is None and since is not None else ranges


class QueryService:
    """Compiles and runs queries for accounts."""

    def __init__(
        self,
        catalog: SqlCatalog,
        warehouse: Warehouse,
        ingestor: Ingestor,
        pool: WorkerPool,
        clock: Clock,
        *,
        saved: SavedRuns | None = None,
        metering: Metering | None = None,
    ) -> None:
        """Take the ports that a query passes.

        Without ``saved``, there are no runs to read; without ``metering``, nobody counts what queries cost.
        """
        self._metering = metering
        self._saved = saved
        self._catalog = catalog
        self._compiler = Compiler(catalog)
        self._running: Counter[int] = Counter()
        self._warehouse = warehouse
        self._ingestor = ingestor
        self._pool = pool
        self._clock = clock

    @property
    def warehouse(self) -> Warehouse:
        """Where the tables are."""
        return self._warehouse

    @property
    def pool(self) -> WorkerPool:
        """The workers."""
        return self._pool

    async def run(
        self, identity: Identity, sql: str, database: str, dialect: str = "trino", *, form: str = "td"
    ) -> QueryResult:
        """Run a query and return its result at once.

        Raises:
            UserError: the query is refused.
            QueueFull: too many of the account's queries wait.
            QueryFailed: it failed.
        """
        query = Query(sql, dialect, database, form, max_bytes=_MAX_SYNCHRONOUS_BYTES)
        account_id = identity.account.id
        if self._running[account_id] >= identity.account.plan.concurrent_queries + _MAX_WAITING:
            raise QueueFull(
                f"{_MAX_WAITING} queries of the account wait already.", hint="Retry when some have ended."
            )
        descriptor = os.memfd_create("result", os.MFD_CLOEXEC)
        self._running[account_id] += 1
        try:
            reply = await self.execute(identity.account, query, descriptor, asyncio.Event())
            small = reply.bytes <= _SMALL_RESULT_BYTES
            body = _read_all(descriptor) if small else await asyncio.to_thread(_read_all, descriptor)
        finally:
            os.close(descriptor)
            self._running[account_id] -= 1
        return QueryResult(body, reply.rows, shown_columns(reply, dialect), reply.warnings)

    async def execute(self, account: Account, query: Query, result_fd: int, kill: asyncio.Event) -> Reply:
        """Run a query; its result goes to ``result_fd``. ``kill`` ends it.

        Raises:
            UserError: the query is refused.
            QueryFailed: it failed, was killed, or took longer than the plan allows.
        """
        return await self.run_prepared(account, await self.prepare(account, query), result_fd, kill)

    async def begin(self, request: JobRequest) -> JobRequest:
        """Return an analysis' request with every input as SQL, made from the tables as they are now.

        Raises:
            UserError: a table is not there, or is not what the analysis reads.
        """
        if "tables" not in request.params:
            return request
        await self._ingestor.flush(request.account_id)  # what was acked may make a table, or a column
        return replace(request, params=await asyncio.to_thread(begun, request, self._catalog))

    async def prepare(self, account: Account, query: Query, pins: Pins | None = None) -> Prepared:
        """Check and translate a query and pin its tables, at the versions of ``pins`` where it has them.

        Raises:
            UserError: the query is refused, or a version that it shall read is gone.
        """
        compiled = await self._compile_fresh(account, query)
        runs = {}
        if compiled.runs:
            runs = await asyncio.to_thread(self._run_files, account.id, compiled.runs)
        if not compiled.views:
            return Prepared(query, compiled, {}, runs=runs)
        warnings = await self._ingestor.flush(account.id)
        pinned = await asyncio.to_thread(self._snapshots, compiled, pins or Pins())
        return Prepared(query, compiled, pinned, tuple(warnings), runs)

    def _run_files(self, account_id: int, runs: Mapping[str, RunRef]) -> dict[str, Path]:
        if self._saved is None:
            raise NotFound("There are no runs here.")
        return {name: self._saved.file(account_id, ref) for name, ref in runs.items()}

    async def run_prepared(
        self, account: Account, prepared: Prepared, result_fd: int, kill: asyncio.Event
    ) -> Reply:
        """Run a prepared query; its result goes to ``result_fd``. ``kill`` ends it.

        Raises:
            QueryFailed: it failed, was killed, or took longer than the plan allows.
        """
        query = prepared.query
        async with self._pool.lend(account) as worker:
            files = {name: list(prepared.files(name)) for name in prepared.pinned}
            with self._warehouse.reading() as lease:
                sizes = await asyncio.to_thread(_fetched, lease, files)
                views = {name: _view(worker, prepared, name, files[name]) for name in files}
                views |= {name: run_view(worker.path_inside(file)) for name, file in prepared.runs.items()}
                request = Request(prepared.sql, views, query.form, query.max_bytes)
                timeout = account.plan.query_timeout_s
                reply = await worker.run(request, result_fd, timeout_s=timeout, kill=kill)
        read: Counter[TableRef] = Counter()
        for name, size in sizes.items():
            read[prepared.compiled.views[name]] += size
        self.meter(account.id, read, reply.cpu)
        return replace(reply, warnings=prepared.warnings)

    def meter(self, account_id: int, read: Mapping[TableRef, int], cpu_s: float) -> None:
        """Count what a query, or the computing of an analysis, cost: bytes by table, processor seconds."""
        if self._metering is not None:
            self._metering.note(account_id, read, cpu_s)

    async def rows_of(self, account: Account, file: Path, result_fd: int, kill: asyncio.Event) -> Reply:
        """Write the rows of a run's output to ``result_fd``, as a query's; in the order of the file.

        Raises:
            QueryFailed: it was killed, or is too large.
        """
        async with self._pool.lend(account) as worker:
            views = {"output": run_view(worker.path_inside(file))}
            request = Request('SELECT * FROM "output"', views, "td", MAX_RESULT_BYTES)
            return await worker.run(request, result_fd, timeout_s=account.plan.query_timeout_s, kill=kill)

    async def _compile_fresh(self, account: Account, query: Query) -> CompiledQuery:
        """Compile; a table that is not there may be about to come out of the write-ahead log."""
        try:
            return await self.compile(account, query)
        except NotFound:
            await self._ingestor.flush(account.id)
            return await self.compile(account, query)

    def now(self) -> int:
        """Return the Unix second that a query which starts now takes for now."""
        return int(self._clock.now())

    async def compile(self, account: Account, query: Query) -> CompiledQuery:
        """Check and translate a query.

        Raises:
            UserError: it is refused.
        """
        now = self.now() if query.at is None else query.at
        times = Times(now, now if query.scheduled is None else query.scheduled)
        return await self._compiler.compile(
            account, query.sql, query.dialect, query.database, times, deleting=query.deleting
        )

    def _snapshots(self, compiled: CompiledQuery, pins: Pins) -> Mapping[str, _Pinned]:
        """Pin one snapshot per table, with the schema it is shown by; the flush barrier is passed already."""
        as_of = compiled.as_of
        return {name: self._pinned(ref, pins, as_of.get(name)) for name, ref in compiled.views.items()}

    def _pinned(self, ref: TableRef, pins: Pins, as_of: AsOf | None) -> _Pinned:
        info = self._catalog.table(ref)
        if as_of is None:
            snapshot = pins.snapshot(self._warehouse, ref)
        else:
            snapshot = as_of.snapshot(self._warehouse, ref)
        return _Pinned(info, snapshot, expired_before(info, self.now()))


def shown_columns(reply: Reply, dialect: str) -> tuple[tuple[str, str], ...]:
    """Return the result's columns with their types in the dialect's words."""
    return tuple((name, result_type(kind, dialect)) for name, kind in reply.columns)


def _view(worker: Worker, prepared: Prepared, name: str, files: Sequence[Path]) -> str:
    pinned = prepared.pinned[name]
    places = (FILE, ROW) if name == prepared.compiled.target else None
    paths = [worker.path_inside(Path(file)) for file in files]
    return table_view(pinned.info, pinned.snapshot, paths, since=pinned.since, places=places)


def _fetched(lease: Lease, files: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    """Make sure that the files are here; return how many bytes each view has of them."""
    lease.fetch([path for paths in files.values() for path in paths])
    return {name: sum(path.stat().st_size for path in paths) for name, paths in files.items()}


def run_view(path: str) -> str:
    """Return the SELECT that shows an output of a run, a file as the worker sees it."""
    return f"select * from read_parquet([{literal(path)}])"  # noqa: S608  (quoted)


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    parts = bytearray()
    while len(parts) < size:
        part = os.pread(descriptor, size - len(parts), len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)
