"""Schedule calls of Treasure Data's API; beside its fields, ours: enabled, catch_up, params, missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from addon.api.auth import Master, Reader, Rooms
from addon.api.td.params import Parameters, Params, json_object
from addon.api.td.serializers import run_json, schedule_json
from addon.models.schedules import ScheduleSpec
from addon.models.tables import LOGS_DATABASE
from addon.query.dialects import DIALECTS
from addon.schedules.checks import default_catch_up
from addon.schedules.cron import LATEST
from addon.schedules.service import MAX_RUNS
from platform_core.base.clock import iso8601
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.api.services import Services
    from addon.models.accounts import Identity

router = APIRouter(prefix="/v3/schedule")
_MAX_PAGE = 1_000
_COMING = 10


@router.post("/create/{name:path}")
async def create(name: str, identity: Master, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Make a schedule; with an empty cron, a saved query."""
    given = _given(params)
    kind = given.get("type", "hive")
    spec = ScheduleSpec(
        **{
            "cron": "",
            "timezone": "UTC",
            "type": kind,
            "database": "" if kind in DIALECTS else LOGS_DATABASE,
            "query": "",
            "catch_up": default_catch_up(kind),
            **given,
            "name": name,
        }
    )
    if spec.type in DIALECTS:
        database = spec.database
        if not await asyncio.to_thread(rooms.catalog.database_exists, identity.account.id, database):
            await rooms.ingestor.flush(
                identity.account.id
            )  # a log line that was acked may be about to make it
            await asyncio.to_thread(rooms.catalog.require_database, identity.account.id, database)
    await _settle(given, identity, rooms)
    made = await asyncio.to_thread(rooms.schedules.create, identity.account, spec)
    rooms.scheduler.wake()
    return schedule_json(made, identity.account)


@router.get("/list")
def list_schedules(identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """List the account's schedules."""
    found = rooms.schedules.list(identity.account)
    return {"schedules": [schedule_json(schedule, identity.account) for schedule in found]}


@router.get("/show/{name:path}")
def show(name: str, identity: Reader, rooms: Rooms) -> dict[str, Any]:
    """Show a schedule with its next slots and the newest that has passed; a call of our own."""
    schedule = rooms.schedules.get(identity.account, name)
    coming = [iso8601(slot) for slot in rooms.schedules.coming(schedule, _COMING)]
    last = rooms.schedules.last_slot(schedule)
    times = {"next_times": coming, "last_time": None if last is None else iso8601(last)}
    return {**schedule_json(schedule, identity.account), **times}


@router.post("/update/{name:path}")
async def update(name: str, identity: Master, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """Change some fields of a schedule."""
    changes = _given(params)
    if "database" in changes:
        await asyncio.to_thread(rooms.catalog.require_database, identity.account.id, changes["database"])
    await _settle(changes, identity, rooms)
    changed = await asyncio.to_thread(rooms.schedules.update, identity.account, name, changes)
    rooms.scheduler.wake()
    return schedule_json(changed, identity.account)


@router.post("/delete/{name:path}")
def delete(name: str, identity: Master, rooms: Rooms) -> dict[str, Any]:
    """Delete a schedule; its jobs stay."""
    return schedule_json(rooms.schedules.delete(identity.account, name), identity.account)


@router.post("/run/{name:path}/{unix_time}")
async def run(
    name: str, unix_time: str, identity: Master, rooms: Rooms, params: Parameters
) -> dict[str, Any]:
    """Run a schedule now, as if it were the time of the next ``num`` slots from a Unix second on."""
    since = Params({"time": unix_time}).integer("time", 0, range(LATEST))
    number = params.integer("num", 1, range(1, MAX_RUNS + 1))
    await rooms.runner.check_room(identity.account.id)
    jobs = await asyncio.to_thread(rooms.schedules.run, identity.account, name, since, number)
    rooms.runner.wake()
    shown = [
        {"job_id": str(job.id), "type": job.request.type, "scheduled_at": iso8601(slot)} for slot, job in jobs
    ]
    return {"jobs": shown}


@router.get("/history/{name:path}")
def history(name: str, identity: Reader, rooms: Rooms, params: Parameters) -> dict[str, Any]:
    """List a schedule's jobs of the last 90 days, newest first; ``from`` and ``to`` are both included."""
    first = max(0, params.integer("from", 0))
    last = max(first, min(params.integer("to", first + 19), first + _MAX_PAGE - 1))
    runs, total = rooms.schedules.history(identity.account, name, first, last)
    shown = [run_json(run, identity.account, rooms.public_url) for run in runs]
    return {"history": shown, "count": total, "from": first, "to": last}


async def _settle(given: dict[str, Any], identity: Identity, rooms: Services) -> None:
    """Where tables are named as an analysis' inputs, let them have the columns of what was acked."""
    if given.get("params", {}).get("tables"):
        await rooms.ingestor.flush(identity.account.id)


def _given(params: Params) -> dict[str, Any]:
    """Return the fields of a definition that a request names, as :class:`ScheduleSpec` has them."""
    if params.optional("result") or params.optional("result_connection_id"):
        raise InvalidInput("Result output is not supported yet.", hint="Download the job's result instead.")
    numbers = {
        "delay": "delay_s",
        "priority": "priority",
        "retry_limit": "retry_limit",
        "catch_up": "catch_up",
    }
    given: dict[str, Any] = {}
    for name in ("cron", "database", "query"):  # an empty cron is one: that of a saved query
        if params.has(name):
            given[name] = params.text(name) if name == "query" else params.text(name).strip()
    for name in ("timezone", "type"):
        if params.optional(name) is not None:
            given[name] = params.text(name).strip()
    for theirs, ours in numbers.items():
        if params.optional(theirs) is not None:
            given[ours] = params.integer(theirs, 0)
    if params.optional("name") is not None:
        given["name"] = params.text("name")
    if params.optional("params") is not None:
        given["params"] = json_object(params.text("params").encode())
    enabled = params.flag("enabled")
    return given if enabled is None else {**given, "enabled": enabled}
