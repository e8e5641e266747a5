"""The scheduler under a set clock: each slot once, whatever the clock does; what it waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.models.jobs import JobRequest
from addon.query.runner import MAX_QUEUED
from addon.schedules.cron import Cron
from addon.store.schema import ACCOUNTS, SCHEDULES
from platform_core.base.errors import Unavailable
from tests.unit.addon.schedules.rig import START, Rig, build

if TYPE_CHECKING:
    from addon.store.database import Database

FIVE = 300
FIRST = START - START % FIVE + FIVE
"""The first slot of every five minutes after the start."""


def test_nothing_is_issued_before_the_slot_and_one_job_at_it(rig: Rig) -> None:
    schedule = rig.make()
    rig.move_to(FIRST - 0.001)
    assert rig.scheduler.round() == FIRST
    assert rig.decided(schedule) == []
    rig.move_to(FIRST)
    assert rig.scheduler.round() == FIRST + FIVE
    assert rig.decided(schedule) == [FIRST]
    assert rig.scheduler.round() == FIRST + FIVE
    ((job,), total) = rig.jobs.list(rig.account.id, first=0, last=9)
    assert total == 1
    request = job.request
    assert (request.type, request.database, request.query) == ("trino", "shop", "SELECT 1")
    assert (request.scheduled_time, request.max_running) == (FIRST, 16)


def test_a_delay_moves_the_start_and_not_the_scheduled_time(rig: Rig) -> None:
    schedule = rig.make(delay_s=90)
    assert (schedule.next_slot, schedule.starts_at) == (FIRST, FIRST + 90)
    rig.move_to(FIRST + 89)
    assert rig.scheduler.round() == FIRST + 90
    rig.move_to(FIRST + 90)
    rig.scheduler.round()
    ((job,), _) = rig.jobs.list(rig.account.id, first=0, last=9)
    assert job.request.scheduled_time == FIRST


def test_after_an_outage_the_newest_slots_run_oldest_first_and_the_others_are_counted(rig: Rig) -> None:
    schedule = rig.make(catch_up=3)
    rig.move_to(FIRST + 10 * FIVE)
    rig.scheduler.round()
    assert rig.decided(schedule) == [FIRST + n * FIVE for n in (8, 9, 10)]
    after = rig.store.get(rig.account.id, "s")
    assert (after.missed, after.next_slot) == (8, FIRST + 11 * FIVE)
    assert (rig.scheduler.stats.fired, rig.scheduler.stats.missed) == (3, 8)


def test_a_clock_that_is_set_back_repeats_nothing(rig: Rig) -> None:
    schedule = rig.make(catch_up=100)
    rig.move_to(FIRST + 3600)
    rig.scheduler.round()
    fired = rig.decided(schedule)
    rig.move_to(FIRST)
    for _ in range(14):
        rig.scheduler.round()
        rig.clock.advance(FIVE)
    assert rig.decided(schedule) == [FIRST + n * FIVE for n in range(14)]
    assert fired == rig.decided(schedule)[:-1]


def test_a_slot_that_had_its_job_has_no_second_one_when_the_cron_comes_back(rig: Rig) -> None:
    schedule = rig.make()
    rig.move_to(FIRST)
    rig.scheduler.round()
    rig.move_to(FIRST - 10)  # the clock is set back, and the schedule made anew
    for cron in ("@daily", "*/5 * * * *"):
        rig.schedules.update(rig.account, "s", {"cron": cron})
    assert rig.store.get(rig.account.id, "s").next_slot == FIRST
    rig.move_to(FIRST + 1)
    rig.scheduler.round()
    assert rig.decided(schedule) == [FIRST]
    rig.move_to(FIRST + FIVE)
    rig.scheduler.round()
    assert rig.decided(schedule) == [FIRST, FIRST + FIVE]


_jumps = st.lists(st.integers(-7_200, 14_400), min_size=1, max_size=8)


@settings(deadline=None, max_examples=10)
@given(
    _jumps, st.integers(1, 12), st.sampled_from([0, 60, 700]), st.sampled_from(["*/7 * * * *", "0 * * * *"])
)
def test_however_the_clock_moves_each_slot_has_one_job_or_is_counted_as_missed(
    shared_database: Database, jumps: list[int], catch_up: int, delay: int, cron: str
) -> None:
    rig = build(shared_database)
    schedule = rig.make(cron=cron, catch_up=catch_up, delay_s=delay)
    furthest = float(START)
    for jump in jumps:
        rig.clock.advance(jump)
        rig.scheduler.round()
        furthest = max(furthest, rig.clock.now())
    past = _slots_until(cron, furthest - delay)
    decided = rig.decided(schedule)
    after = rig.schedules.delete(rig.account, "s")
    assert decided == sorted(set(decided))
    assert set(decided) <= set(past)
    assert len(decided) + after.missed == len(past)
    assert past[-1:] == decided[-1:]


def _slots_until(cron: str, until: float) -> list[int]:
    found = []
    for at in Cron(cron, "UTC").after(START):
        if at > until:
            return found
        found.append(at)
    return found


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """One database for all examples; each deletes its schedule."""
    from addon.store.database import Database  # noqa: PLC0415  (at module level it would only be a type)

    database = Database(f"sqlite:///{tmp_path_factory.mktemp('clock')}/addon.db")
    database.migrate()
    return database


def test_slots_wait_while_the_accounts_queue_is_full_and_the_oldest_goes_first(rig: Rig) -> None:
    schedule, older = rig.make(), rig.make("older", cron="28 * * * *")
    request = JobRequest(rig.account.id, "trino", "shop", "SELECT 2", 1)
    queued = [rig.jobs.issue(request) for _ in range(MAX_QUEUED)]
    rig.move_to(FIRST)
    assert rig.scheduler.round() == FIRST + 10
    assert rig.decided(schedule) == []
    rig.jobs.request_kill(rig.account.id, queued[0].id)
    rig.move_to(FIRST + 10)
    assert rig.scheduler.round() == FIRST + 20
    assert [rig.decided(one) for one in (schedule, older)] == [[], [FIRST - 120]]
    for job in queued[1:]:
        rig.jobs.request_kill(rig.account.id, job.id)
    rig.move_to(FIRST + 20)
    rig.scheduler.round()
    assert rig.decided(schedule) == [FIRST]


def test_a_deprovisioned_accounts_schedules_stop_and_are_erased(rig: Rig) -> None:
    schedule = rig.make()
    stale = rig.store.get(rig.account.id, "s")
    with rig.database.write() as connection:
        connection.execute(sa.update(ACCOUNTS).values(state="deprovisioned"))
    rig.move_to(FIRST)
    assert rig.scheduler.round() is None
    rig.scheduler._decide(stale)  # one that was read just before
    assert rig.decided(schedule) == []
    rig.store.forget_account(rig.account.id)
    with rig.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(SCHEDULES)).scalar_one() == 0


def test_a_fault_in_one_schedule_keeps_no_other_from_running(rig: Rig) -> None:
    broken, sound = rig.make("a"), rig.make("b")
    with rig.database.write() as connection:
        wrong = sa.update(SCHEDULES).where(SCHEDULES.c.id == broken.id)
        connection.execute(wrong.values(cron="no cron", due_at=FIRST - 1))
    rig.move_to(FIRST)
    assert rig.scheduler.round() == FIRST + 60
    assert (rig.decided(broken), rig.decided(sound)) == ([], [FIRST])
    assert rig.scheduler.stats.failed == 1


def test_more_schedules_than_one_look_takes_are_all_decided(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("addon.schedules.scheduler._AT_ONCE", 3)
    made = [rig.make(f"s{number}") for number in range(8)]
    rig.move_to(FIRST)
    rig.scheduler.round()
    assert [rig.decided(schedule) for schedule in made] == [[FIRST]] * 8


@pytest.mark.anyio
async def test_the_loop_fires_when_a_change_makes_a_slot_due_and_tells_the_queue(rig: Rig) -> None:
    rig.scheduler._poll_s = 60.0  # only the wake-up may do it
    await rig.scheduler.start()
    schedule = await asyncio.to_thread(rig.make)
    rig.move_to(FIRST)
    rig.scheduler.wake()
    async with asyncio.timeout(30):
        await rig.issued.wait()
    assert rig.decided(schedule) == [FIRST]
    await rig.scheduler.close()


@pytest.mark.anyio
async def test_the_loop_sees_what_others_changed_and_outlives_a_database_that_is_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = asyncio.Event()
    due = rig.store.due

    def failing(_most: int) -> object:
        away.set()
        raise Unavailable

    monkeypatch.setattr(rig.store, "due", failing)
    await rig.scheduler.start()
    async with asyncio.timeout(30):
        await away.wait()
    schedule = await asyncio.to_thread(rig.make)
    rig.move_to(FIRST)
    monkeypatch.setattr(rig.store, "due", due)
    async with asyncio.timeout(30):
        await rig.issued.wait()
    await rig.scheduler.close()
    assert rig.decided(schedule) == [FIRST]
