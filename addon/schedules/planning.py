"""What becomes of a schedule's due slots, and the job that a slot becomes. Decided here, stored elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addon.models.jobs import JobRequest
from addon.models.schedules import SlotPlan
from addon.query.later_inputs import kept_request
from addon.query.saved_runs import ANALYSIS
from addon.schedules.cron import Cron
from platform_core.base.errors import UserError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.models.accounts import Plan
    from addon.models.schedules import Schedule, ScheduleSpec

ANALYSIS_CHANGED = "scheduled_analysis_does_not_fit_any_more"
_log = get_logger(__name__)


def first_slot(spec: ScheduleSpec, now: float) -> int | None:
    """Return the slot that a schedule waits for when it begins at ``now`` (Unix seconds)."""
    if not (spec.enabled and spec.cron):
        return None
    return Cron(spec.cron, spec.timezone).following(now)


def plan_slot(schedule: Schedule, now: float) -> SlotPlan | None:
    """Return what is to be done at ``now``; None when nothing is due.

    One slot at a time: the caller asks again until nothing is due.
    """
    first, spec = schedule.next_slot, schedule.spec
    until = now - spec.delay_s
    if first is None or first > until:
        return None
    cron = Cron(spec.cron, spec.timezone)
    # Nothing is found when the zone's rules have changed since the slot was written down.
    slot = next(iter(cron.newest(first, until, spec.catch_up)), first)
    return SlotPlan(slot, cron.following(slot), cron.count(first, slot))


def job_of(schedule: Schedule, slot: int, plan: Plan) -> JobRequest:
    """Return the job that a slot becomes; ``plan`` is its account's."""
    spec = schedule.spec
    return JobRequest(
        account_id=schedule.account_id,
        type=spec.type,
        database=spec.database,
        query=f"{ANALYSIS} {spec.query}" if spec.type == ANALYSIS else spec.query,
        max_running=plan.concurrent_queries,
        params=_params(spec),
        priority=spec.priority,
        retry_limit=spec.retry_limit,
        scheduled_time=slot,
    )


def _params(spec: ScheduleSpec) -> Mapping[str, Any]:
    if spec.type != ANALYSIS:
        return spec.params
    try:
        return kept_request(spec.query, spec.params)
    except UserError as error:  # it was right when it was scheduled; the job shall say what is wrong now
        _log.warning(ANALYSIS_CHANGED, analysis=spec.query, error=str(error))
        return {"name": spec.query, "inputs": {}, "params": {}, "engine": "duckdb", "dialect": "duckdb"}
