"""Slots in the database, on SQLite and on PostgreSQL: one job each, whoever comes at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from addon.models.conflicts import TakenBy
from addon.models.jobs import JobRequest
from addon.models.schedules import Schedule, ScheduleSpec, SlotPlan
from addon.store.schedules import KEEP_S, ScheduleStore
from addon.store.schema import ACCOUNTS, SCHEDULE_RUNS
from platform_core.base import failpoints
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from addon.store.accounts import AccountStore
    from addon.store.database import Database
    from addon.store.jobs import JobStore
    from platform_core.base.clock import FixedClock

SLOT, NEXT = 1_780_000_200, 1_780_000_500
REQUEST = JobRequest(1, "trino", "shop", "SELECT 1", 1, scheduled_time=SLOT)
PLAN = SlotPlan(SLOT, NEXT, skipped=2)


@pytest.fixture
def store(database: Database, clock: FixedClock, accounts: AccountStore) -> ScheduleStore:
    accounts.ensure_local("local", "premium", "a" * 64)
    return ScheduleStore(database, clock)


def spec(name: str = "s", **fields: object) -> ScheduleSpec:
    given: dict[str, object] = {"cron": "*/5 * * * *", "timezone": "UTC", "type": "trino", "database": "shop"}
    return ScheduleSpec(name=name, **{**given, "query": "SELECT 1", **fields})  # type: ignore[arg-type]


def made(store: ScheduleStore, name: str = "s") -> Schedule:
    return store.create(1, spec(name, params={"a": [1, "ä"]}, delay_s=60), SLOT)


def test_a_schedule_comes_back_as_it_was_made(store: ScheduleStore) -> None:
    schedule = made(store)
    assert store.get(1, "s") == schedule
    assert list(store.list(1)) == [schedule]
    assert (store.count(1), store.count(2)) == (1, 0)
    with pytest.raises(NotFound):
        store.get(2, "s")


def test_a_name_is_taken_once_in_an_account_and_free_in_another(store: ScheduleStore) -> None:
    first, second = made(store), made(store, "t")
    with pytest.raises(TakenBy) as caught:
        made(store)
    assert caught.value.other == first.id
    with pytest.raises(TakenBy) as caught:
        store.change(second, spec("s"), None, anew=False)
    assert caught.value.other == first.id
    store.create(2, spec(), SLOT)


def test_a_slot_is_due_its_delay_later(store: ScheduleStore, clock: FixedClock) -> None:
    made(store)
    assert store.next_due() == SLOT + 60
    clock.advance(SLOT + 59 - clock.now())
    assert store.due(9) == []
    clock.advance(1)
    assert [schedule.spec.name for schedule in store.due(9)] == ["s"]


def test_of_all_who_planned_the_same_slot_one_issues_its_job(store: ScheduleStore, jobs: JobStore) -> None:
    schedule, together = made(store), Barrier(6)

    def attempt(_: int) -> object:
        together.wait()
        return store.issue(schedule, PLAN, REQUEST)

    with ThreadPoolExecutor(6) as threads:
        issued = [job for job in threads.map(attempt, range(6)) if job is not None]
    assert len(issued) == 1
    assert jobs.list(1, first=0, last=9)[1] == 1
    after = store.get(1, "s")
    assert (after.next_slot, after.missed, store.next_due()) == (NEXT, 2, NEXT + 60)


@pytest.mark.parametrize("point", ["schedule.claim", "schedule.slot", "schedule.issue"])
def test_a_transaction_that_breaks_off_leaves_the_slot_as_it_was(
    store: ScheduleStore, jobs: JobStore, point: str
) -> None:
    schedule = made(store)
    failpoints.arm(f"{point}:error@1")
    try:
        with pytest.raises(OSError, match=point):
            store.issue(schedule, PLAN, REQUEST)
    finally:
        failpoints.arm("")
    assert store.get(1, "s") == schedule
    assert jobs.list(1, first=0, last=9)[1] == 0
    assert store.issue(schedule, PLAN, REQUEST) is not None


def test_a_slot_of_a_schedule_that_changed_is_planned_again(store: ScheduleStore, jobs: JobStore) -> None:
    schedule = made(store)
    changed = store.change(schedule, spec(query="SELECT 2"), None, anew=False)
    assert changed is not None
    assert (changed.next_slot, changed.starts_at) == (SLOT, SLOT)
    assert store.issue(schedule, PLAN, REQUEST) is None
    assert store.change(schedule, spec(), None, anew=False) is None
    store.postpone(schedule, 1.0)  # one that is stale moves nothing
    assert store.next_due() == SLOT
    assert store.issue(changed, PLAN, REQUEST) is not None
    store.delete(1, "s")
    assert jobs.list(1, first=0, last=9)[1] == 1


def test_jobs_of_an_account_that_goes_are_issued_before_it_or_never(
    store: ScheduleStore, database: Database, jobs: JobStore
) -> None:
    schedule = made(store)
    with database.write() as connection:
        connection.execute(sa.update(ACCOUNTS).values(state="deprovisioned"))
    assert store.due(9) == []
    assert store.issue(schedule, PLAN, REQUEST) is None
    with pytest.raises(NotFound):
        store.run(schedule, [(SLOT, REQUEST)])
    store.forget_account(1)
    assert (store.count(1), jobs.list(1, first=0, last=9)[1]) == (0, 0)


def test_runs_on_demand_are_numbered_beside_the_slots_own_even_at_once(
    store: ScheduleStore, database: Database
) -> None:
    schedule = made(store)

    def attempt(_: int) -> object:
        return store.run(schedule, [(SLOT, REQUEST), (NEXT, REQUEST)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(attempt, range(4)))
    assert store.issue(schedule, PLAN, REQUEST) is not None
    with database.read() as connection:
        found = connection.execute(sa.select(SCHEDULE_RUNS.c.slot, SCHEDULE_RUNS.c.run)).all()
    assert sorted(map(tuple, found)) == [(SLOT, n) for n in range(5)] + [(NEXT, n) for n in range(1, 5)]
    runs, total = store.history(schedule, first=0, last=99)
    assert (len(runs), total, sum(not run.asked for run in runs)) == (9, 9, 1)


def test_runs_are_forgotten_after_their_jobs(store: ScheduleStore, clock: FixedClock) -> None:
    schedule = made(store)
    store.issue(schedule, PLAN, REQUEST)
    clock.advance(KEEP_S - 1)
    store.expire_old()
    assert store.history(schedule, first=0, last=9)[1] == 1
    clock.advance(2)
    store.expire_old()
    assert store.history(schedule, first=0, last=9)[1] == 0
