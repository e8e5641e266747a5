"""The rooms that a schedule passes, under a clock that the test sets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.schedules import Schedule, ScheduleSpec
from addon.schedules.scheduler import Scheduler
from addon.schedules.service import Schedules
from addon.store.accounts import AccountStore
from addon.store.jobs import JobStore
from addon.store.schedules import ScheduleStore
from addon.store.schema import SCHEDULE_RUNS
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.store.database import Database

START = 1_780_000_000
"""2026-05-28 20:26:40 UTC."""


def spec(name: str = "s", **fields: Any) -> ScheduleSpec:
    """A definition; five minutes between its slots."""
    given = {
        "cron": "*/5 * * * *",
        "timezone": "UTC",
        "type": "trino",
        "database": "shop",
        "query": "SELECT 1",
        **fields,
    }
    return ScheduleSpec(name=name, **given)


@dataclass
class Rig:
    """The rooms that a schedule passes."""

    database: Database
    clock: FixedClock
    accounts: AccountStore
    account: Account
    jobs: JobStore
    store: ScheduleStore
    schedules: Schedules
    scheduler: Scheduler
    issued: asyncio.Event

    def make(self, name: str = "s", **fields: Any) -> Schedule:
        return self.schedules.create(self.account, spec(name, **fields))

    def decided(self, schedule: Schedule) -> list[int]:
        """Return the slots that have their own job, in the order of the jobs."""
        own = sa.select(SCHEDULE_RUNS.c.slot).where(
            SCHEDULE_RUNS.c.schedule_id == schedule.id, SCHEDULE_RUNS.c.run == 0
        )
        with self.database.read() as connection:
            return list(connection.execute(own.order_by(SCHEDULE_RUNS.c.job_id)).scalars())

    def move_to(self, moment: float) -> None:
        self.clock.advance(moment - self.clock.now())


def build(database: Database) -> Rig:
    """Wire the rooms on a migrated database."""
    clock = FixedClock(START)
    accounts, jobs = AccountStore(database, clock), JobStore(database, clock)
    account, _ = accounts.ensure_local("local", "premium", "a" * 64)
    store = ScheduleStore(database, clock)
    issued = asyncio.Event()
    scheduler = Scheduler(store, jobs, accounts, clock, issued.set, poll_s=0.02)
    return Rig(database, clock, accounts, account, jobs, store, Schedules(store, clock), scheduler, issued)
