"""Reports: definitions, runs and their files. Defining and running send data out: for master keys only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from addon.api.auth import Master, Reader, Rooms
from addon.api.idempotency import issue_once
from addon.api.td.params import Parameters, json_object
from addon.models.jobs import Job, JobRequest
from addon.models.schedules import REPORT
from addon.query.saved_runs import CATALOG
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.api.services import Services
    from addon.models.accounts import Identity
    from addon.models.reports import Report, ReportRun, RunDelivery

router = APIRouter(prefix="/api/reports")
_MAX_NUMBER = 18
_MAX_SLOT = 253_402_300_799
"""The last second of the year 9999."""
_MOST_RUNS = 200
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "private, max-age=0, must-revalidate",
}


@router.get("")
def list_reports(identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """List the account's reports, without secrets."""
    found = rooms.reports.reports.list(identity.account)
    return {"reports": [_report(report, rooms) for report in found]}


@router.get("/{name}")
def show_report(name: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Show a report's definition, without secrets."""
    return _report(rooms.reports.reports.get(identity.account, name), rooms)


@router.put("/{name}")
async def put_report(name: str, request: Request, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Make a report or change it; a masked secret stays what it is."""
    body = json_object(await request.body())
    await rooms.ingestor.flush(identity.account.id)  # what was acked may make a table, or a column
    made = await asyncio.to_thread(rooms.reports.reports.put, identity.account, name, body)
    subject = f"{name} revision {made.revision}"
    await asyncio.to_thread(rooms.audit.record, "api", "report.put", subject, identity.account.id)
    return _report(made, rooms)


@router.delete("/{name}")
def delete_report(name: str, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Delete a report with its runs."""
    rooms.reports.reports.delete(identity.account, name)
    rooms.audit.record("api", "report.delete", name, identity.account.id)
    return {"deleted": name}


@router.post("/{name}/runs")
async def start_run(
    name: str, request: Request, identity: Master, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Run a report now, or as if it were ``slot`` (Unix seconds).

    With an ``Idempotency-Key``, a request that is sent again starts no second run.
    """
    await asyncio.to_thread(rooms.reports.reports.get, identity.account, name)
    slot = params.optional("slot")
    if slot is not None and not (slot.isascii() and slot.isdigit() and int(slot[:13]) <= _MAX_SLOT):
        raise InvalidInput(f"The parameter slot must be Unix seconds, not {slot[:40]!r}.")
    wanted = JobRequest(
        account_id=identity.account.id,
        type=REPORT,
        database="",
        query=name,
        max_running=identity.account.plan.concurrent_queries,
        # Without a slot the run is for the moment at which it was asked for: the job's own.
        scheduled_time=None if slot is None else int(slot),
    )
    key = request.headers.get("idempotency-key")
    job, _ = await issue_once(rooms.runner, rooms.jobs, wanted, key)
    return {"job_id": str(job.id)}


@router.get("/{name}/runs")
def list_runs(name: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """List the newest runs of a report, the newest first."""
    rooms.reports.reports.get(identity.account, name)
    found = rooms.reports.store.runs(identity.account.id, name, _MOST_RUNS)
    made = rooms.reports.outbox.of_all(found)
    return {"runs": [_run(run, made[run.id]) for run in found]}


@router.get("/{name}/jobs/{job_id}")
async def show_job(
    name: str, job_id: str, identity: Reader, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Show what became of a job that runs the report, waiting up to ``wait`` seconds (at most 60)."""
    wait_s = min(params.integer("wait", 0), 60)
    job = rooms.jobs.get(identity.account.id, _number(job_id, "job"))
    if job.request.type != REPORT or job.request.query != name:
        raise NotFound(f"Job {job_id} does not run the report {name[:64]}.")
    if wait_s > 0 and not job.state.final:
        job = await rooms.runner.wait_final(identity.account.id, job.id, wait_s)
    return await asyncio.to_thread(_job, job, rooms)


@router.get("/{name}/runs/{run_id}")
def show_run(name: str, run_id: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Show a run: what it found, what is missing, what was delivered, and the report for programs."""
    run = _find(name, run_id, identity, rooms)
    shown = _run(run, rooms.reports.outbox.of(run))
    if run.folder is not None:
        shown["report"] = dict(rooms.reports.folders.facts(run))
        names = rooms.saved.report_outputs(rooms.jobs.get(run.account_id, run.job_id))
        shown["outputs"] = [{"name": name, "table": f"{CATALOG}.run_{run.job_id}.{name}"} for name in names]
    return shown


@router.post("/{name}/runs/{run_id}/deliveries")
def deliver_again(
    name: str, run_id: str, identity: Master, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Try the deliveries of a run that failed once more; with ``name``, that one only."""
    run = _find(name, run_id, identity, rooms)
    return {"queued": rooms.reports.outbox.again(run, params.optional("delivery"))}


@router.get("/{name}/runs/{run_id}/report.html")
def run_page(name: str, run_id: str, identity: Reader, rooms: Rooms) -> Response:
    """Return the report as a page that loads nothing."""
    return page_of(_find(name, run_id, identity, rooms), rooms)


def page_of(run: ReportRun, rooms: Services) -> Response:
    """Return a run's page.

    Raises:
        NotFound: the run is not finished, or its files are gone.
    """
    file = rooms.reports.folders.file(run, "report.html")
    return FileResponse(file, media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)


@router.get("/{name}/runs/{run_id}/charts/{file}")
def run_chart(name: str, run_id: str, file: str, identity: Reader, rooms: Rooms) -> Response:
    """Return a chart as PNG."""
    run = _find(name, run_id, identity, rooms)
    if not file.endswith(".png"):
        raise NotFound("Charts are PNG files.", hint=f"There are {', '.join(run.facts.get('charts', ()))}.")
    path = rooms.reports.folders.file(run, f"chart-{file}")
    return FileResponse(path, media_type="image/png", headers=_PAGE_HEADERS)


@router.get("/{name}/runs/{run_id}/tables/{file}")
def run_table(name: str, run_id: str, file: str, identity: Reader, rooms: Rooms) -> Response:
    """Return an output as Parquet, ``KEY.OUTPUT.parquet``, or a manifest, ``KEY.manifest.json``."""
    path = rooms.reports.folders.file(_find(name, run_id, identity, rooms), "tables", file)
    kind = "application/json" if path.suffix == ".json" else "application/vnd.apache.parquet"
    return FileResponse(path, media_type=kind, filename=file, headers=_PAGE_HEADERS)


def _number(text: str, kind: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_NUMBER:
        raise NotFound(f"There is no {kind} {text[:40]!r}.")
    return int(text)


def _find(name: str, run_id: str, identity: Identity, rooms: Services) -> ReportRun:
    """Return a run; ``latest`` is the newest one that succeeded."""
    store = rooms.reports.store
    if run_id == "latest":
        runs = store.runs(identity.account.id, name, _MOST_RUNS)
        found = next((run for run in runs if run.folder is not None), None)
        if found is None:
            raise NotFound(f"The report {name[:64]!r} has no finished run.")
        return found
    return store.run(identity.account.id, name, _number(run_id, "run"))


def _report(report: Report, rooms: Services) -> dict[str, Any]:
    return {
        **rooms.reports.reports.shown(report),
        "revision": report.revision,
        "created_at": report.created_at,
        "updated_at": report.updated_at,
    }


def _job(job: Job, rooms: Services) -> dict[str, Any]:
    run = rooms.reports.store.run_of_job(job.request.account_id, job.id)
    return {
        "job_id": str(job.id),
        "status": job.state.value,
        "messages": job.stderr.splitlines(),
        "run": None if run is None else _run(run, rooms.reports.outbox.of(run)),
    }


def _run(run: ReportRun, deliveries: list[RunDelivery]) -> dict[str, Any]:
    facts = run.facts
    return {
        "run": run.id,
        "report": run.report,
        "job_id": str(run.job_id),
        "revision": run.revision,
        "status": run.state.value,
        "error": run.error or None,
        "slot": run.slot,
        "window": {"from": run.window.start, "to": run.window.end, "text": run.window.words},
        "complete": not facts.get("incomplete") if run.folder is not None else None,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        **{name: value for name, value in facts.items() if name != "keys"},
        "deliveries": [_delivery(one) for one in deliveries],
    }


def _delivery(one: RunDelivery) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.type,
        "target": one.target,
        "status": one.state.value,
        "attempts": one.attempts,
        "next_at": one.next_at if one.state.value == "pending" else None,
        "error": one.error or None,
        "delivered_at": one.delivered_at,
        "key": one.key,
    }
