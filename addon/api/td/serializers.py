"""The one place that knows Treasure Data's JSON field names, and their traps."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from platform_core.base.clock import iso8601

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.models.bulk import BulkSession
    from addon.models.catalog import DatabaseInfo, TableInfo
    from addon.models.jobs import Job
    from addon.models.schedules import Schedule, ScheduledRun
    from addon.models.tables import Snapshot

_TYPES = {"long": "long", "double": "double", "boolean": "boolean", "string": "string", "json": "string"}
_HIDDEN = frozenset({"time", "v"})
"""Ruby's client refuses columns with these names."""


def td_time(seconds: float | None) -> str | None:
    """Return a time as TD writes it; a missing one is null, never 0."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def email(account: Account) -> str:
    """Return the address by which the account's one user goes."""
    return f"{account.name}@account-{account.id}.invalid"


def user_json(account: Account) -> dict[str, Any]:
    """Return the account's one user."""
    return {
        "id": account.id,
        "name": account.name,
        "first_name": account.name,
        "last_name": "",
        "email": email(account),
        "administrator": True,
        "me": True,
        "created_at": td_time(account.created_at),
        "updated_at": td_time(account.created_at),
    }


def account_json(account: Account, stored_bytes: int) -> dict[str, Any]:
    """Return the account."""
    cores = account.plan.concurrent_queries
    return {
        "account": {
            "id": account.id,
            "plan": account.plan.name,
            "storage_size": stored_bytes,
            "guaranteed_cores": cores,
            "maximum_cores": cores,
            "created_at": td_time(account.created_at),
        }
    }


def database_json(info: DatabaseInfo) -> dict[str, Any]:
    """Return a database."""
    return {
        "name": info.name,
        "count": info.rows,
        "created_at": td_time(info.created_at),
        "updated_at": td_time(info.updated_at),
        "permission": "administrator",
        "organization": None,
        "delete_protected": False,
    }


def schema_text(info: TableInfo) -> str:
    """Return the table's schema as TD does, as JSON text: declared columns, then detected ones."""
    columns = [
        [column.name, column.type, *([column.alias] if column.alias else [])] for column in info.declared
    ]
    named = {column.name for column in info.declared}
    if info.detect_schema:
        columns += [
            [column.name, _TYPES[column.type]] for column in info.detected if column.name not in named
        ]
    return json.dumps([column for column in columns if column[0] not in _HIDDEN])


def table_json(info: TableInfo, snapshot: Snapshot | None) -> dict[str, Any]:
    """Return a table; times are texts or null, for an integer crashes the Python client."""
    return {
        "id": info.id,
        "name": info.name,
        "type": "log",
        "count": info.rows,
        "schema": schema_text(info),
        "created_at": td_time(info.created_at),
        "updated_at": td_time(info.updated_at),
        "counter_updated_at": td_time(info.imported_at),
        "last_log_timestamp": td_time(info.last_log_time),
        "estimated_storage_size": 0 if snapshot is None else snapshot.bytes,
        "expire_days": info.expire_days,
        "include_v": info.include_v,
        "delete_protected": info.delete_protected,
    }


def job_json(job: Job, account: Account, url: str) -> dict[str, Any]:
    """Return a job; ``result`` must be empty text, or the Python client takes it for rows."""
    request = job.request
    seconds = 0 if job.started_at is None or job.ended_at is None else job.ended_at - job.started_at
    return {
        "job_id": str(job.id),
        "status": job.state.value,
        "type": request.type,
        "query": request.query,
        "database": request.database,
        "priority": request.priority,
        "retry_limit": request.retry_limit,
        "url": f"{url}/v3/job/show/{job.id}",
        "user_name": account.name,
        "debug": {"cmdout": job.cmdout or _progress_line(job), "stderr": job.stderr},
        "progress": job.progress,
        "created_at": td_time(job.created_at),
        "updated_at": td_time(job.ended_at or job.started_at or job.created_at),
        "start_at": td_time(job.started_at),
        "end_at": td_time(job.ended_at),
        "cpu_time": None,
        "duration": int(seconds),
        "result_size": job.result_size or 0,
        "num_records": job.num_records or 0,
        "result": "",
        "hive_result_schema": json.dumps(list(job.result_schema)) if job.result_schema else "",
        "domain_key": request.domain_key,
        "linked_result_export_job_id": None,
        "result_export_target_job_id": None,
    }


def _progress_line(job: Job) -> str:
    """Return how far a running job has come, for clients that show a job's output and know no progress."""
    return "" if job.progress is None else f"{job.progress['stage']} {job.progress['percent']} %\n"


def bulk_json(session: BulkSession) -> dict[str, Any]:
    """Return a bulk import session; counts are null before a perform, as the clients expect."""
    done = session.performed
    return {
        "name": session.name,
        "database": session.database,
        "table": session.table,
        "status": session.state.value,
        "upload_frozen": session.frozen,
        "job_id": None if session.job_id is None else str(session.job_id),
        "valid_records": None if done is None else done.valid_records,
        "error_records": None if done is None else done.error_records,
        "valid_parts": None if done is None else done.valid_parts,
        "error_parts": session.error_parts,
        "created_at": td_time(session.created_at),
        "updated_at": td_time(session.updated_at),
    }


def schedule_json(schedule: Schedule, account: Account) -> dict[str, Any]:
    """Return a schedule; its times are ISO 8601, as Treasure Data's are, and null for a saved query.

    ``next_time`` is the next slot, ``start`` when its job is issued: the delay later.
    """
    spec = schedule.spec
    return {
        "id": schedule.id,
        "name": spec.name,
        "cron": spec.cron or None,
        "timezone": spec.timezone,
        "delay": spec.delay_s,
        "type": spec.type,
        "database": spec.database,
        "query": spec.query,
        "params": dict(spec.params),
        "priority": spec.priority,
        "retry_limit": spec.retry_limit,
        "result": "",
        "user_name": account.name,
        "executing_user_id": account.id,
        "description": None,
        "organization": None,
        "created_at": iso8601(schedule.created_at),
        "updated_at": iso8601(schedule.updated_at),
        "next_time": None if schedule.next_slot is None else iso8601(schedule.next_slot),
        "start": None if schedule.starts_at is None else iso8601(schedule.starts_at),
        "enabled": spec.enabled,
        "catch_up": spec.catch_up,
        "missed": schedule.missed,
    }


def run_json(run: ScheduledRun, account: Account, url: str) -> dict[str, Any]:
    """Return a job of a schedule; ``asked`` tells that somebody ran it beside the slot's own."""
    return {**job_json(run.job, account, url), "scheduled_at": iso8601(run.slot), "asked": run.asked}
