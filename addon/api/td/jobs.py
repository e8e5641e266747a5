"""Job calls. Short queries are held until they end, for clients poll every five seconds."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.requests import Request

from addon.api.auth import Reader, Rooms, check_right
from addon.api.services import Services
from addon.api.td.params import Parameters, Params
from addon.api.td.serializers import job_json, td_time
from addon.models.accounts import Identity, Right
from addon.models.jobs import Job, JobRequest, JobState
from addon.query.deletes import is_delete
from addon.query.dialects import DIALECTS
from addon.query.result_arrow import arrow_stream
from addon.query.results import MEDIA_TYPES, rendered
from platform_core.base.errors import InvalidInput, NotFound

router = APIRouter(prefix="/v3")
_HOLD_ISSUE_S = 0.4
"""How long an issue call waits for a short query's end."""
_HOLD_STATUS_S = 2.0
"""How long a status call does: a client that finds the job unfinished comes back five seconds later."""
_HOLD_YOUNG_S = 5.0
"""Only jobs younger than this are waited for: a poll of a long one is answered at once."""
_MAX_PAGE = 1_000
_PRIORITIES = range(-2, 3)
_RETRIES = range(1_001)
_UNIX_TIMES = range(253_402_300_800)
"""To the end of the year 9999."""
_MAX_DOMAIN_KEY = 255


@router.post("/job/issue/{kind}/{database}")
async def issue(
    kind: str, database: str, identity: Reader, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Queue a query."""
    if not await asyncio.to_thread(rooms.catalog.database_exists, identity.account.id, database):
        await rooms.ingestor.flush(identity.account.id)  # a log line that was acked may be about to make it
    job = await rooms.runner.issue(await asyncio.to_thread(_request, kind, database, identity, rooms, params))
    if await asyncio.to_thread(rooms.jobs.queued_count, identity.account.id) <= 1:  # else it is not its turn
        await rooms.runner.wait_final(identity.account.id, job.id, _HOLD_ISSUE_S)
    return {"job": str(job.id), "job_id": str(job.id), "database": database}


def _request(kind: str, database: str, identity: Identity, rooms: Services, params: Params) -> JobRequest:
    if kind not in DIALECTS:
        raise InvalidInput(f"The job type {kind[:40]!r} is not supported.", hint="Use trino, presto or hive.")
    rooms.catalog.require_database(identity.account.id, database)
    if not params.text("query").strip():
        raise InvalidInput("The query is empty.", hint="Send it as the parameter query.")
    if params.optional("result") or params.optional("result_connection_id"):
        raise InvalidInput("Result output is not supported yet.", hint="Download the job's result instead.")
    if is_delete(params.text("query")):
        check_right(identity, Right.WRITE)
    domain_key = params.optional("domain_key")
    if domain_key is not None and len(domain_key) > _MAX_DOMAIN_KEY:
        raise InvalidInput(f"A domain key has at most {_MAX_DOMAIN_KEY} characters.")
    scheduled = params.optional("scheduled_time")
    return JobRequest(
        account_id=identity.account.id,
        type=kind,
        database=database,
        query=params.text("query"),
        max_running=identity.account.plan.concurrent_queries,
        priority=params.integer("priority", 0, _PRIORITIES),
        retry_limit=params.integer("retry_limit", 0, _RETRIES),
        domain_key=domain_key,
        scheduled_time=None if scheduled is None else params.integer("scheduled_time", 0, _UNIX_TIMES),
    )


@router.get("/job/status/{job_id}")
async def status(job_id: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Return a job's state, after a short wait for a job that is about to end."""
    job = await asyncio.to_thread(_find, job_id, identity, rooms)
    if not job.state.final and rooms.clock.now() - job.created_at < _HOLD_YOUNG_S:
        job = await rooms.runner.wait_final(identity.account.id, job.id, _HOLD_STATUS_S)
    return _status(job)


@router.get("/job/status_by_domain_key/{domain_key}")
def status_by_domain_key(domain_key: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Return the state of the job with a domain key."""
    return _status(rooms.jobs.by_domain_key(identity.account.id, domain_key))


def _status(job: Job) -> dict[str, Any]:
    return {
        "job_id": str(job.id),
        "status": job.state.value,
        "created_at": td_time(job.created_at),
        "start_at": td_time(job.started_at),
        "end_at": td_time(job.ended_at),
        "result_size": job.result_size or 0,
        "num_records": job.num_records or 0,
        "duration": int((job.ended_at or time.time()) - job.started_at) if job.started_at else 0,
    }


@router.get("/job/show/{job_id}")
def show(job_id: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Show a job."""
    return job_json(_find(job_id, identity, rooms), identity.account, rooms.public_url)


@router.get("/job/list")
def list_jobs(identity: Reader, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """List jobs, newest first; ``from`` and ``to`` are both included."""
    first = max(0, params.integer("from", 0))
    last = min(params.integer("to", first + 19), first + _MAX_PAGE - 1)
    wanted = params.optional("status")
    if wanted is not None and wanted not in set(JobState):
        raise InvalidInput(f"There is no job status {wanted[:40]!r}.")
    state = None if wanted is None else JobState(wanted)
    found, total = rooms.jobs.list(identity.account.id, first=first, last=max(last, first), state=state)
    shown = [job_json(job, identity.account, rooms.public_url) for job in found]
    return {"jobs": shown, "count": total, "from": first, "to": last}


@router.post("/job/kill/{job_id}")
async def kill(job_id: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Kill a job."""
    former = await rooms.runner.kill(identity.account.id, _number(job_id))
    return {"job_id": job_id, "former_status": former.value}


@router.get("/job/result/{job_id}")
async def result(
    job_id: str, request: Request, identity: Reader, rooms: Rooms, params: Parameters
) -> Response:
    """Return a job's rows in one of the formats; msgpack.gz is the stored file itself, with ranges."""
    job = await asyncio.to_thread(_find, job_id, identity, rooms)
    path = None if job.result_path is None else rooms.results / job.result_path
    if job.state is not JobState.SUCCESS or path is None or not path.exists():
        raise NotFound(
            f"Job {job.id} has no result; it is {job.state.value}.", hint="Show the job to see why."
        )
    form = params.text("format", "tsv") or "tsv"
    kind = MEDIA_TYPES.get(form, "application/octet-stream")
    if form == "msgpack.gz":
        return FileResponse(path, media_type=kind, filename=f"{job.id}.msgpack.gz")
    if form == "msgpack" and "gzip" in request.headers.get("accept-encoding", ""):
        return FileResponse(
            path, media_type=kind, filename=f"{job.id}.msgpack", headers={"content-encoding": "gzip"}
        )
    names = [name for name, _ in job.result_schema]
    header = params.flag("header") or False
    if form == "arrow":
        body = arrow_stream(path, job.result_schema)
    else:
        body = rendered(path, form, names, header=header)
    return StreamingResponse(body, media_type=kind, headers={"content-disposition": "attachment"})


def _number(job_id: str) -> int:
    if not (job_id.isascii() and job_id.isdigit()) or len(job_id) > 18:  # noqa: PLR2004  (the digits of a 64-bit number)
        raise NotFound(f"Job {job_id[:40]!r} does not exist.")
    return int(job_id)


def _find(job_id: str, identity: Identity, rooms: Services) -> Job:
    return rooms.jobs.get(identity.account.id, _number(job_id))
