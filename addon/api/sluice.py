"""Our own routes: a query in one call, and analyses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pyarrow.parquet as pq
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from addon.api.auth import Master, Reader, Rooms
from addon.api.services import Services
from addon.api.td.params import Parameters, is_storable, json_object
from addon.models.accounts import Identity
from addon.models.jobs import Job, JobRequest, JobState
from addon.models.tables import LOGS_DATABASE
from addon.query.analysis_request import NAME, check_request, database_of
from addon.query.results import json_row, rows
from addon.query.saved_runs import ANALYSIS
from addon.query.service import QueryResult
from platform_core.base.errors import InvalidInput, NotFound

router = APIRouter(prefix="/sluice/v1")
_ARROW = "application/vnd.apache.arrow.stream"
_PARQUET = "application/vnd.apache.parquet"
_MAX_NUMBER = 18


@router.post("/query")
async def query(request: Request, identity: Reader, rooms: Rooms, params: Parameters) -> Response:
    """Run {sql, database, dialect}; the rows come as JSON, or as an Arrow IPC stream when Accept says so."""
    sql, database = params.text("sql"), params.text("database", "logs")
    if not sql.strip():
        raise InvalidInput("The query is empty.", hint='Send {"sql": "SELECT …", "database": "…"}.')
    dialect = params.text("dialect", "trino")
    if _ARROW in request.headers.get("accept", ""):
        arrow = await rooms.query.run(identity, sql, database, dialect, form="arrow")
        headers = {"sluice-rows": str(arrow.rows), **_warned(arrow)}
        return Response(arrow.body, media_type=_ARROW, headers=headers)
    result = await rooms.query.run(identity, sql, database, dialect)
    columns = orjson.dumps([{"name": name, "type": kind} for name, kind in result.columns])
    body = await asyncio.to_thread(lambda: b",".join(json_row(row) for row in rows(result.body)))
    content = b'{"columns":%b,"rows":[%b]}' % (columns, body)
    return Response(content, media_type="application/json", headers=_warned(result))


def _warned(result: QueryResult) -> dict[str, str]:
    """Say in a header what may be missing because a node is away."""
    return {"sluice-warning": " ".join(result.warnings)} if result.warnings else {}


@router.get("/forward")
async def forward_settings(identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Show what a Fluentd forward sender is configured with: user name and shared key."""
    account = identity.account.id
    return {"username": str(account), "shared_key": rooms.forward_key(account)}


@router.post("/analyses/{name}")
async def start_analysis(name: str, request: Request, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Queue an analysis of {database, inputs: {table: SQL}, params, engine, dialect}.

    Or queue {from_manifest: {…}} of a finished run: the same queries on the same versions of the tables.
    """
    body = json_object(await request.body())
    params = check_request(name, body)
    database = database_of(body, LOGS_DATABASE)
    if not isinstance(database, str) or not is_storable(database):
        raise InvalidInput("The field database must be a database's name.")
    job = await rooms.runner.issue(
        JobRequest(
            account_id=identity.account.id,
            type=ANALYSIS,
            database=database,
            query=f"{ANALYSIS} {name}",
            max_running=identity.account.plan.concurrent_queries,
            params=params,
        )
    )
    return {"job_id": str(job.id)}


@router.get("/analyses/{job_id}")
async def show_analysis(job_id: str, identity: Reader, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Show an analysis, waiting up to ``wait`` seconds (at most 60) for its end."""
    job = _find(job_id, identity, rooms)
    wait_s = min(params.integer("wait", 0), 60)
    if wait_s > 0 and not job.state.final:
        job = await rooms.runner.wait_final(identity.account.id, job.id, wait_s)
    good = job.state is JobState.SUCCESS
    return {
        "job_id": job_id,
        "status": job.state.value,
        "analysis": job.request.params["name"],
        "engine": job.request.params["engine"],
        "error": (not good and job.stderr) or None,
        "warnings": job.stderr.splitlines() if good else [],
        "manifest": json.loads(job.cmdout) if good else None,
        "outputs": _outputs(job, rooms) if good else [],
    }


@router.get("/analyses/{job_id}/outputs/{table}")
def analysis_output(job_id: str, table: str, request: Request, identity: Reader, rooms: Rooms) -> Response:
    """Return one output: Parquet, or JSON rows when Accept asks for JSON."""
    job = _find(job_id, identity, rooms)
    if not NAME.match(table) or job.state is not JobState.SUCCESS or table not in _outputs(job, rooms):
        raise NotFound(f"The analysis {job_id} has no output {table[:80]!r}.")
    path = rooms.scratch / (job.result_path or "") / f"{table}.parquet"
    if "application/json" not in request.headers.get("accept", ""):
        return FileResponse(path, media_type=_PARQUET, filename=f"{table}.parquet")
    found = pq.read_table(path).to_pylist()
    return Response(orjson.dumps({"rows": found}, default=str), media_type="application/json")


def _outputs(job: Job, rooms: Services) -> list[str]:
    folder = rooms.scratch / (job.result_path or "")
    return sorted(file.stem for file in folder.glob("*.parquet"))


def _find(job_id: str, identity: Identity, rooms: Services) -> Job:
    if not (job_id.isascii() and job_id.isdigit()) or len(job_id) > _MAX_NUMBER:
        raise NotFound(f"There is no analysis {job_id[:40]!r}.")
    job = rooms.jobs.get(identity.account.id, int(job_id))
    if job.request.type != ANALYSIS:
        raise NotFound(f"Job {job_id} is not an analysis.")
    return job
