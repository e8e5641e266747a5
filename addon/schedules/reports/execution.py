"""Report jobs: compute, render, keep, deliver. One run per job, however often it is executed."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from addon.models.jobs import Job, JobOutcome, JobState
from addon.models.reports import DeliveryState, RunState
from addon.query.worker import QueryFailed
from addon.schedules.reports.completeness import Doubt
from addon.schedules.reports.computing import COMPUTED as _COMPUTED
from addon.schedules.reports.computing import keep_tables
from addon.schedules.reports.folders import FACTS, TABLES
from addon.schedules.reports.window import window_of
from addon.store.reports import Planned
from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.models.reports import ReportDefinition, ReportRun, RunDelivery
    from addon.query.analysis_progress import Report
    from addon.schedules.reports.computing import Figured, ReportComputation
    from addon.schedules.reports.folders import ReportFolders
    from addon.schedules.reports.outbox import Outbox
    from addon.schedules.reports.rendering import Renderer
    from addon.schedules.reports.service import Reports
    from addon.store.jobs import JobStore
    from addon.store.reports import ReportStore

_log = get_logger(__name__)
_RENDERED = 90
"""Percent of the whole that is done when a report is drawn."""


class ReportExecution:
    """Runs jobs of the type ``report``: the job's query is the report's name, its scheduled time the slot."""

    def __init__(  # noqa: PLR0917  (the steps of a run)
        self,
        reports: Reports,
        store: ReportStore,
        computation: ReportComputation,
        renderer: Renderer,
        outbox: Outbox,
        folders: ReportFolders,
        jobs: JobStore,
        scratch: Path,
    ) -> None:
        """Work below ``scratch``, keep runs in ``folders``; ``jobs`` is told how far each has come."""
        self.stats = outbox.stats
        self._jobs = jobs
        self._reports = reports
        self._store = store
        self._computation = computation
        self._renderer = renderer
        self._outbox = outbox
        self._folders = folders
        self._scratch = scratch

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        """Run a report.

        A job that is executed again after its worker's death goes on with its run: what was rendered is kept,
        and only the deliveries that are left are made.

        Raises:
            NotFound: there is no such report.
            UserError: an analysis is refused.
            QueryFailed: an analysis or the rendering failed, or was killed.
        """
        report = await asyncio.to_thread(self._reports.get, account, job.request.query)
        slot = job.request.scheduled_time
        slot = int(job.created_at) if slot is None else slot
        window = window_of(report.definition.period, slot)
        run = await asyncio.to_thread(self._store.begin, job, report.revision, slot, window)
        if run.state is not RunState.SUCCESS:
            if run.epoch != job.epoch:
                raise QueryFailed("killed", "Another execution of the job makes the run.")
            run = await self._counted(account, report.definition, run, job, kill)
        await self._reporter(job)("delivering", _RENDERED)
        await self._outbox.attempt(run, kill)
        made = await asyncio.to_thread(self._outbox.of, run)
        old = await asyncio.to_thread(self._store.expire, account.id, run.report, report.definition.keep_runs)
        await asyncio.to_thread(self._folders.drop, account.id, old)
        return _outcome(run, made)

    async def _counted(
        self, account: Account, definition: ReportDefinition, run: ReportRun, job: Job, kill: asyncio.Event
    ) -> ReportRun:
        try:
            made = await self._make(account, definition, run, kill, self._reporter(job))
        except Exception:
            self.stats.runs["failed"] += 1
            raise
        self.stats.rendered(self._jobs.now() - job.created_at, complete=not made.facts.get("incomplete"))
        return made

    def _reporter(self, job: Job) -> Report:
        async def report(stage: str, percent: int) -> None:
            try:
                await asyncio.to_thread(self._jobs.report, job, {"stage": stage, "percent": percent})
            except Exception:  # noqa: BLE001  (the report goes on whether or not somebody hears of it)
                _log.exception("progress_not_reported", job_id=job.id)

        return report

    async def _make(
        self,
        account: Account,
        definition: ReportDefinition,
        run: ReportRun,
        kill: asyncio.Event,
        report: Report,
    ) -> ReportRun:
        place = self._scratch / str(account.id) / f"report-{run.id}.{run.epoch}"
        try:
            return await self._made(account, definition, run, place, kill, report)
        except (SluiceError, QueryFailed) as error:
            await asyncio.to_thread(self._store.fail, run, str(error))
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    async def _made(  # noqa: PLR0917  (one step of run)
        self,
        account: Account,
        definition: ReportDefinition,
        run: ReportRun,
        place: Path,
        kill: asyncio.Event,
        report: Report,
    ) -> ReportRun:
        await asyncio.to_thread(_make_anew, place)
        figured = await self._computation.run(account, definition, run, place, kill, report)
        await report("drawing", _COMPUTED)
        before = await asyncio.to_thread(self._store.previous, run)
        frame = {
            "title": definition.title,
            "currency": definition.currency,
            "window": run.window.words,
            "made": datetime.fromtimestamp(figured.read_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "missing": [doubt.text for doubt in figured.doubts],
            "since": "" if before is None else _words(before),
            "before": await asyncio.to_thread(self._folders.figures, before),
            "link": self._reports.link(run),
        }
        titles = {one.key: one.title for one in definition.analyses}
        runs = [(folder, titles[key]) for key, folder in figured.folders.items()]
        rendered = await self._renderer.run(account, place, runs, frame, kill)
        return await asyncio.to_thread(self._publish, definition, run, figured, rendered, before)

    def _publish(
        self,
        definition: ReportDefinition,
        run: ReportRun,
        figured: Figured,
        rendered: Path,
        before: ReportRun | None,
    ) -> ReportRun:
        """Move the files to where they stay, then say so in the database."""
        folder, name = self._folders.fresh(run)
        for file in sorted(rendered.iterdir()):
            shutil.copyfile(file, folder / file.name)
        keep_tables(figured, folder / TABLES)
        facts = _facts(definition, figured, before) | _told(folder)
        planned = [Planned(one.name, one.type, self._reports.target(one)) for one in definition.deliveries]
        if not self._store.finish(run, name, facts, planned):
            shutil.rmtree(folder, ignore_errors=True)
            raise QueryFailed("killed", "Another execution of the job made the run.")
        return self._store.run(run.account_id, run.report, run.id)


def _make_anew(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)


def _words(before: ReportRun) -> str:
    at = datetime.fromtimestamp(before.slot, UTC).strftime("%Y-%m-%d %H:%M UTC")
    words = f"the report on {before.window.words}" if before.window.words else f"the report of {at}"
    return f"{words}, which was not final" if before.facts.get("incomplete") else words


def _facts(definition: ReportDefinition, figured: Figured, before: ReportRun | None) -> dict[str, Any]:
    return {
        "keys": [one.key for one in definition.analyses],
        "analyses": {one.key: one.analysis for one in definition.analyses},
        "result_hashes": {key: manifest["result_hash"] for key, manifest in figured.manifests.items()},
        "rows_excluded": {key: manifest.get("rows_excluded") for key, manifest in figured.manifests.items()},
        "tables": list(figured.tables),
        "rows": figured.rows,
        "read_at": figured.read_at,
        "incomplete": [_doubt(doubt) for doubt in figured.doubts],
        "compared_with": None if before is None else before.id,
    }


def _doubt(doubt: Doubt) -> dict[str, str]:
    return {"code": doubt.code, "text": doubt.text}


def _told(folder: Path) -> dict[str, Any]:
    """Return what the rendered report says that a list of runs shows, too."""
    told = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return {
        "notes": told["notes"],
        "sections": [
            {"key": section["key"], "heading": section["heading"], "finding": section["finding"]}
            for section in told["sections"]
        ],
        "charts": [chart["name"] for section in told["sections"] for chart in section["charts"]],
    }


def _outcome(run: ReportRun, made: list[RunDelivery]) -> JobOutcome:
    warnings = [str(doubt["text"]) for doubt in run.facts.get("incomplete", ())]
    for one in made:
        if one.state is DeliveryState.FAILED:
            warnings.append(f"Delivery {one.name} to {one.target} failed: {one.error}")
        elif one.state is DeliveryState.PENDING:
            why = one.error or "nobody has tried it yet."
            warnings.append(f"Delivery {one.name} to {one.target} is still to be made: {why}")
    done = sum(one.state is DeliveryState.DELIVERED for one in made)
    return JobOutcome(
        JobState.SUCCESS,
        num_records=int(run.facts.get("rows", 0)),
        cmdout=f"report {run.report}, run {run.id}: {done} of {len(made)} deliveries made\n",
        stderr="".join(f"Warning: {text}\n" for text in warnings),
    )
