"""A report's analyses over one set of versions: every table is pinned once, before the first analysis."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.models.jobs import JobRequest
from addon.models.tables import DEAD_LETTERS, LOGS_DATABASE
from addon.query.analysis import ANALYSIS, Computation
from addon.query.analysis_progress import Report, unheard
from addon.query.pins import Pins
from addon.query.results import rows
from addon.query.service import Query
from addon.query.worker import QueryFailed
from addon.schedules.reports.completeness import Doubt, dead_letters, doubts
from addon.schedules.reports.inputs import asked_of
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.ingest import Ingestor, Warehouse
    from addon.models.reports import ReportAnalysis, ReportDefinition, ReportRun
    from addon.models.tables import TableRef
    from addon.query.books import Books
    from addon.query.service import QueryService
    from addon.store.catalog import SqlCatalog
    from platform_core.base.sandbox.spec import Sandbox

COMPUTED = 75
"""Percent of the whole that is done when the analyses are."""


@dataclass(frozen=True, slots=True)
class Figured:
    """The analyses of a run, computed."""

    folders: Mapping[str, Path]
    """The outputs of each, with its manifest, by key."""
    manifests: Mapping[str, Mapping[str, Any]]
    tables: Sequence[Mapping[str, Any]]
    """What was read: database, table, version, files_sha256, newest (Unix seconds or None)."""
    doubts: Sequence[Doubt]
    rows: int
    read_at: int


class ReportComputation:
    """Computes a report's analyses."""

    def __init__(  # noqa: PLR0917  (the ports that a computation passes)
        self,
        service: QueryService,
        ingestor: Ingestor,
        warehouse: Warehouse,
        catalog: SqlCatalog,
        sandbox: Sandbox,
        books: Books | None = None,
    ) -> None:
        """Read by ``service``; pin versions of ``warehouse``; find tables' columns in ``catalog``.

        ``books`` has what the analysis ``usage`` reads where it is given no inputs.
        """
        self._ingestor = ingestor
        self._catalog = catalog
        self._service = service
        self._warehouse = warehouse
        self._computation = Computation(service, sandbox, books)

    async def run(  # noqa: PLR0917  (one run, and who hears of it)
        self,
        account: Account,
        definition: ReportDefinition,
        run: ReportRun,
        place: Path,
        kill: asyncio.Event,
        report: Report = unheard,
    ) -> Figured:
        """Compute all of them below ``place``, one after the other; ``report`` is told how far it has come.

        Raises:
            UserError: an input is refused; the text names the analysis.
            QueryFailed: an input or an analysis failed, or was killed.
        """
        at = self._service.now()
        await self._ingestor.flush(account.id)  # what was acknowledged may make a table, or a column
        asked = await asyncio.to_thread(
            lambda: {one.key: self._asked(account, one, run) for one in definition.analyses}
        )
        refs, warnings = await self._read_by(account, asked, at)
        pins = Pins()
        pinned = await asyncio.to_thread(
            lambda: {ref: pins.snapshot(self._warehouse, ref) for ref in sorted(refs)}
        )
        folders, manifests, count = {}, {}, 0
        for number, (key, request) in enumerate(asked.items()):
            await report(f"computing {key}", COMPUTED * number // len(asked))
            done = await self._computation.run(account, request, place / key, pins, at=at, kill=kill)
            (place / key / "out").rename(place / key / key)
            folders[key], manifests[key] = place / key / key, done.manifest
            count += done.rows
            warnings |= dict.fromkeys(done.warnings)
        found = doubts(definition.period, run.window, at, pinned, warnings)
        found += await self._dead(account, run, list(pinned), at, kill)
        tables = [
            {
                "database": ref.database,
                "table": ref.table,
                "version": pins.of(ref).version,
                "files_sha256": pins.of(ref).files,
                "newest": None if snapshot is None else snapshot.max_time,
            }
            for ref, snapshot in pinned.items()
        ]
        return Figured(folders, manifests, tables, found, count, at)

    def _asked(self, account: Account, one: ReportAnalysis, run: ReportRun) -> JobRequest:
        """Return an analysis of the run as its own job would ask for it."""
        try:
            params = asked_of(one, run.window, run.slot, self._catalog, account.id)
        except (InvalidInput, NotFound) as error:
            raise type(error)(f"Analysis {one.key}: {error.message}", hint=error.hint) from error
        return JobRequest(
            account_id=account.id,
            type=ANALYSIS,
            database=one.database,
            query=f"{ANALYSIS} {one.analysis}",
            max_running=account.plan.concurrent_queries,
            params=params,
            scheduled_time=run.slot,
        )

    async def _read_by(
        self, account: Account, asked: Mapping[str, JobRequest], at: int
    ) -> tuple[set[TableRef], dict[str, None]]:
        """Pass the flush barrier for every input; return the tables that they read."""
        refs: set[TableRef] = set()
        warnings: dict[str, None] = {}
        for key, request in asked.items():
            for table, sql in request.params["inputs"].items():
                query = Query(
                    sql,
                    request.params["dialect"],
                    request.database,
                    "parquet",
                    scheduled=request.scheduled_time,
                    at=at,
                )
                try:
                    prepared = await self._service.prepare(account, query)
                except (InvalidInput, NotFound) as error:
                    text = f"Analysis {key}, input {table}: {error.message}"
                    raise type(error)(text, hint=error.hint) from error
                refs |= set(prepared.tables)
                warnings |= dict.fromkeys(prepared.warnings)
        return refs, warnings

    async def _dead(
        self, account: Account, run: ReportRun, refs: list[TableRef], at: int, kill: asyncio.Event
    ) -> list[Doubt]:
        """Count the dead letters of the window that may belong to the tables; those without a table may."""
        if run.window.start is None or run.window.end is None or not refs:
            return []
        pairs = " OR ".join(
            f"(\"database\" = '{ref.database}' AND \"table\" = '{ref.table}')" for ref in sorted(refs)
        )
        sql = (
            f'SELECT count(*) FROM {LOGS_DATABASE}.{DEAD_LETTERS} WHERE "time" >= {run.window.start}'  # noqa: S608  (checked names and integers)
            f' AND "time" < {run.window.end} AND (("database" = \'\' AND "table" = \'\') OR {pairs})'
        )
        try:
            count = await self._count(account, Query(sql, "trino", LOGS_DATABASE, at=at), kill)
        except NotFound:  # nothing was ever put there
            return []
        except QueryFailed as error:
            if error.kind == "killed":
                raise
            return [Doubt("dead_letters", f"The dead letters of the period could not be counted: {error}")]
        return dead_letters(count, refs)

    async def _count(self, account: Account, query: Query, kill: asyncio.Event) -> int:
        descriptor = os.memfd_create("count", os.MFD_CLOEXEC)
        try:
            await self._service.execute(account, query, descriptor, kill)
            with open(descriptor, "rb", closefd=False) as file:  # noqa: ASYNC230  (a descriptor in memory)
                file.seek(0)
                found = list(rows(file.read()))
        finally:
            os.close(descriptor)
        return int(found[0][0])


def keep_tables(figured: Figured, target: Path) -> None:
    """Copy outputs and manifests into a run's folder: ``<key>.<output>.parquet``, ``<key>.manifest.json``."""
    target.mkdir(mode=0o700)
    for key, folder in figured.folders.items():
        for file in sorted(folder.iterdir()):
            shutil.copyfile(file, target / f"{key}.{file.name}")
