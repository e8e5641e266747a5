"""What becomes of a schedule's due slots, and the job that a slot becomes. Decided here, stored elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.models.jobs import JobRequest
from addon.models.schedules import SlotPlan
from addon.query.analysis import ANALYSIS
from addon.schedules.cron import Cron

if TYPE_CHECKING:
    from addon.models.accounts import Plan
    from addon.models.schedules import Schedule, ScheduleSpec


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
    due, skipped = cron.due(first, until, spec.catch_up)
    if not due:  # the zone's rules changed since the slot was written down
        due = [first]
    return SlotPlan(due[0], cron.following(due[0]), skipped)


def job_of(schedule: Schedule, slot: int, plan: Plan) -> JobRequest:
    """Return the job that a slot becomes; ``plan`` is its account's."""
    spec = schedule.spec
    return JobRequest(
        account_id=schedule.account_id,
        type=spec.type,
        database=spec.database,
        query=f"{ANALYSIS} {spec.query}" if spec.type == ANALYSIS else spec.query,
        max_running=plan.concurrent_queries,
        params=spec.params,
        priority=spec.priority,
        retry_limit=spec.retry_limit,
        scheduled_time=slot,
    )
