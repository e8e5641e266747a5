"""Analyses over HTTP: what there are, runs of them, and what the runs gave; ``/api/analyses/NAME/runs``.

A run is a job of the type ``analysis`` and has its number. ``/sluice/v1/analyses`` are older names of the
same.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from addon.api.analysis_outputs import output_response
from addon.api.auth import Reader, Rooms
from addon.api.idempotency import issue_once
from addon.api.td.params import Parameters, is_storable, json_object
from addon.api.td.serializers import td_time
from addon.models.jobs import Job, JobRequest, JobState
from addon.models.tables import LOGS_DATABASE
from addon.query.analysis_inputs import resolved_inputs
from addon.query.analysis_request import (
    check_params,
    check_request,
    check_schedule,
    database_of,
    find_analysis,
)
from addon.query.saved_runs import ANALYSIS, CATALOG
from jobs.registry import find, names
from jobs.run.describe import describe
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.api.services import Services
    from addon.models.accounts import Identity

router = APIRouter()
_BASE = "/api/analyses"
_OLD = "/sluice/v1/analyses"
_MAX_NUMBER = 18
_MAX_PAGE = 100
_LONGEST_WAIT_S = 60


@router.get(_BASE)
def list_analyses(_: Reader) -> dict[str, Any]:
    """List the analyses that there are."""
    found = [find(name) for name in names()]
    return {"analyses": [{"name": a.name, "version": a.version, "summary": a.summary} for a in found]}


@router.get(_BASE + "/{name}")
def describe_analysis(name: str, _: Reader) -> dict[str, Any]:
    """Describe an analysis: inputs, parameters with what is allowed, outputs, definitions."""
    return describe(find_analysis(name))


@router.post(_BASE + "/{name}/runs", status_code=201)
async def start_run(
    name: str, request: Request, response: Response, identity: Reader, rooms: Rooms
) -> dict[str, Any]:
    """Queue a run of {database, inputs or tables, params, engine, dialect, snapshots, pin, …}.

    Or of {from_manifest: {…} or the number of a run}: the same queries on the same versions of the tables.
    With an ``Idempotency-Key``, a request that is sent again starts no second run.
    """
    body = json_object(await request.body())
    wanted = await _request(name, body, identity, rooms)
    job, made = await issue_once(rooms.runner, rooms.jobs, wanted, request.headers.get("idempotency-key"))
    if not made:
        response.status_code = 200
    response.headers["location"] = f"{_BASE}/{name}/runs/{job.id}"
    return await asyncio.to_thread(_shown, job, rooms)


@router.get(_BASE + "/{name}/runs")
def list_runs(name: str, identity: Reader, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """List the runs of an analysis, newest first; ``from`` and ``to`` are both included."""
    find_analysis(name)
    first = max(0, params.integer("from", 0))
    last = min(max(first, params.integer("to", first + 19)), first + _MAX_PAGE - 1)
    account, query = identity.account.id, f"{ANALYSIS} {name}"
    found, total = rooms.jobs.list(account, first=first, last=last, kind=ANALYSIS, query=query)
    return {"runs": [_shown(job, rooms, briefly=True) for job in found], "count": total, "from": first}


@router.get(_BASE + "/{name}/runs/{run}")
async def show_run(name: str, run: str, identity: Reader, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Show a run, waiting up to ``wait`` seconds (at most 60) for its end."""
    job = await _awaited(_find(run, identity, rooms, name), rooms, params.integer("wait", 0))
    return await asyncio.to_thread(_shown, job, rooms)


@router.get(_BASE + "/{name}/runs/{run}/manifest")
def run_manifest(name: str, run: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Return a finished run's manifest."""
    manifest: dict[str, Any] = json.loads(_ended(_find(run, identity, rooms, name)).cmdout)
    return manifest


@router.get(_BASE + "/{name}/runs/{run}/outputs")
def run_outputs(name: str, run: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """List a finished run's outputs, with the name by which SQL reads each."""
    job = _ended(_find(run, identity, rooms, name))
    return {"outputs": _outputs(job, rooms)}


@router.get(_BASE + "/{name}/runs/{run}/outputs/{table}")
def run_output(  # noqa: PLR0917  (the path's parts, and who asks)
    name: str, run: str, table: str, request: Request, identity: Reader, rooms: Rooms, params: Parameters
) -> Response:
    """Return one output as Parquet, Arrow, JSON or CSV: by ``format``, else by Accept."""
    job = _find(run, identity, rooms, name)
    return output_response(job, table, rooms.saved, request, params.optional("format"))


@router.post(_BASE + "/{name}/runs/{run}/kill")
async def kill_run(name: str, run: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Kill a run."""
    job = _find(run, identity, rooms, name)
    former = await rooms.runner.kill(identity.account.id, job.id)
    return {"run": str(job.id), "former_status": former.value}


@router.post(_OLD + "/{name}")
async def start_analysis(name: str, request: Request, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Queue a run; see :func:`start_run`."""
    wanted = await _request(name, json_object(await request.body()), identity, rooms)
    return {"job_id": str((await rooms.runner.issue(wanted)).id)}


@router.get(_OLD + "/{job_id}")
async def show_analysis(job_id: str, identity: Reader, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Show a run; see :func:`show_run`."""
    job = await _awaited(_find(job_id, identity, rooms), rooms, params.integer("wait", 0))
    shown = await asyncio.to_thread(_shown, job, rooms)
    return {**shown, "outputs": [output["name"] for output in shown["outputs"]]}


@router.get(_OLD + "/{job_id}/outputs/{table}")
def analysis_output(  # noqa: PLR0917  (the path's parts, and who asks)
    job_id: str, table: str, request: Request, identity: Reader, rooms: Rooms, params: Parameters
) -> Response:
    """Return one output; see :func:`run_output`."""
    job = _find(job_id, identity, rooms)
    return output_response(job, table, rooms.saved, request, params.optional("format"))


async def _request(name: str, body: dict[str, Any], identity: Identity, rooms: Services) -> JobRequest:
    analysis = find_analysis(name)
    if isinstance(body.get("from_manifest"), (int, str)) and not isinstance(body["from_manifest"], bool):
        job = _ended(await asyncio.to_thread(_find, str(body["from_manifest"]), identity, rooms, name))
        body = {**body, "from_manifest": json.loads(job.cmdout)}
    if "from_manifest" in body:
        check_request(name, body)  # what is wrong with a manifest is said before what follows from it
    else:
        check_params(analysis, body.get("params", {}))  # before the inputs: those may take a while
    database = database_of(body, LOGS_DATABASE)
    if not isinstance(database, str) or not is_storable(database):
        raise InvalidInput("The field database must be a database's name.")
    if "from_manifest" not in body:
        await rooms.ingestor.flush(identity.account.id)  # what was acked may make a table, or a column
        body = await asyncio.to_thread(
            resolved_inputs, analysis, body, rooms.catalog, identity.account.id, database
        )
    return JobRequest(
        account_id=identity.account.id,
        type=ANALYSIS,
        database=database,
        query=f"{ANALYSIS} {name}",
        max_running=identity.account.plan.concurrent_queries,
        params=check_request(name, body),
        **check_schedule(body),
    )


async def _awaited(job: Job, rooms: Services, wait_s: int) -> Job:
    wait_s = min(wait_s, _LONGEST_WAIT_S)
    if wait_s > 0 and not job.state.final:
        return await rooms.runner.wait_final(job.request.account_id, job.id, wait_s)
    return job


def _shown(job: Job, rooms: Services, *, briefly: bool = False) -> dict[str, Any]:
    good = job.state is JobState.SUCCESS
    shown = {
        "run": str(job.id),
        "job_id": str(job.id),
        "status": job.state.value,
        "analysis": job.request.params["name"],
        "engine": job.request.params["engine"],
        "database": job.request.database,
        "priority": job.request.priority,
        "created_at": td_time(job.created_at),
        "started_at": td_time(job.started_at),
        "ended_at": td_time(job.ended_at),
        "progress": job.progress,
        "error": (not good and job.stderr) or None,
        "warnings": job.stderr.splitlines() if good else [],
    }
    if briefly:
        return shown
    return {
        **shown,
        "manifest": json.loads(job.cmdout) if good else None,
        "outputs": _outputs(job, rooms) if good else [],
    }


def _outputs(job: Job, rooms: Services) -> list[dict[str, Any]]:
    counts = json.loads(job.cmdout)["outputs"]
    return [
        {"name": name, "rows": counts[name]["rows"], "table": f"{CATALOG}.run_{job.id}.{name}"}
        for name in rooms.saved.outputs(job)
        if name in counts
    ]


def _ended(job: Job) -> Job:
    """Return the job when it ended well.

    Raises:
        NotFound: it did not, or not yet.
    """
    if job.state is not JobState.SUCCESS:
        raise NotFound(f"Run {job.id} has no outputs: it is {job.state.value}.", hint="Show it to see why.")
    return job


def _find(run: str, identity: Identity, rooms: Services, name: str | None = None) -> Job:
    if not (run.isascii() and run.isdigit()) or len(run) > _MAX_NUMBER:
        raise NotFound(f"There is no run {run[:40]!r}.")
    job = rooms.jobs.get(identity.account.id, int(run))
    if job.request.type != ANALYSIS:
        raise NotFound(f"Job {run} is not an analysis.")
    if name is not None and job.request.params["name"] != name:
        raise NotFound(f"Run {run} is one of {job.request.params['name']}, not of {name[:80]!r}.")
    return job
