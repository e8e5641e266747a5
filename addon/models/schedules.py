"""Schedules: a query, an analysis or a report that runs by the clock, and the slots that it ran for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.models.jobs import Job

REPORT = "report"
"""The job type of a report; the job's query is the report's name."""
MAX_CATCH_UP = 1_000
"""The most missed slots that a schedule may make up for."""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What a user defines; :func:`addon.schedules.checks.check_spec` says what is allowed."""

    name: str
    cron: str
    """Five fields or one of ``@hourly @daily …``; empty: it runs when asked to, and never by itself."""
    timezone: str
    """An IANA name; the cron fields are wall times there."""
    type: str
    """A SQL dialect, ``analysis``, or ``report``."""
    database: str
    query: str
    """SQL, the analysis' name, or the report's name."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """What an analysis is asked with: inputs, params, engine; empty for the other types."""
    delay_s: int = 0
    """How long after its slot a job is issued; its scheduled time stays the slot."""
    priority: int = 0
    retry_limit: int = 0
    catch_up: int = 1
    """Of the slots that are due at once, after an outage say, so many of the newest run (at least 1)."""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is kept; times are Unix seconds."""

    id: int
    account_id: int
    spec: ScheduleSpec
    revision: int
    """Grows with each change of the definition."""
    next_slot: int | None
    """The first slot that nothing was decided about yet; None when it does not run by itself."""
    missed: int
    """Slots that were skipped because more were due than ``catch_up``; since it was made."""
    created_at: float
    updated_at: float

    @property
    def starts_at(self) -> int | None:
        """When the next job is issued: its slot and the delay."""
        return None if self.next_slot is None else self.next_slot + self.spec.delay_s


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What becomes of a schedule's due slots: ``skipped`` ones are missed, then ``slot`` gets a job."""

    slot: int
    following: int | None
    """The slot after it, None when there is none."""
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    """A job that a schedule issued."""

    slot: int
    """The time it is for, Unix seconds."""
    asked: bool
    """Somebody asked for it; False: it is the slot's own job, of which there is one."""
    job: Job
