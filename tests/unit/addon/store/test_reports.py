"""Reports, runs and deliveries on both databases: one run per job, one holder per attempt, whoever dies."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from addon.models.jobs import JobRequest
from addon.models.reports import DeliveryState, RunState, Window
from addon.models.schedules import REPORT
from addon.store.deliveries import LEASE_S, DeliveryStore
from addon.store.reports import JOB_S, Planned, ReportStore
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from addon.models.jobs import Job
    from addon.models.reports import ReportRun
    from addon.store.database import Database
    from addon.store.jobs import JobStore
    from platform_core.base.clock import FixedClock

DAY = 86_400
PLANNED = [Planned("mail", "mail", "ann@example.com"), Planned("hook", "webhook", "https://x.example:443")]


@pytest.fixture
def store(database: Database, clock: FixedClock) -> ReportStore:
    return ReportStore(database, clock)


@pytest.fixture
def queue(database: Database, clock: FixedClock) -> DeliveryStore:
    return DeliveryStore(database, clock)


def job_of(jobs: JobStore, name: str = "daily", account: int = 1) -> Job:
    return replace(jobs.issue(JobRequest(account, REPORT, "", name, 1)), epoch=1)


def day(number: int) -> Window:
    return Window(number * DAY, (number + 1) * DAY, f"day {number}")


def finished(store: ReportStore, jobs: JobStore, number: int = 1, name: str = "daily") -> ReportRun:
    run = store.begin(job_of(jobs, name), 1, (number + 1) * DAY, day(number))
    assert store.finish(run, f"{name}/{run.id}.1", {"number": number}, PLANNED)
    return store.run(1, name, run.id)


def test_a_report_is_kept_changed_listed_and_deleted_with_its_runs(
    store: ReportStore, jobs: JobStore, queue: DeliveryStore
) -> None:
    assert store.find(1, "daily") is None
    assert store.put(1, "daily", {"a": 1}, "sealed").revision == 1
    changed = store.put(1, "daily", {"a": 2}, "anew")
    assert (changed.revision, changed.definition, changed.secrets) == (2, {"a": 2}, "anew")
    assert "anew" not in repr(changed)
    store.put(1, "another", {}, "")
    store.put(2, "daily", {}, "")
    assert [one.name for one in store.list(1)] == ["another", "daily"]
    run = finished(store, jobs)
    store.delete(1, "daily")
    assert store.runs(1, "daily", 9) == []
    assert queue.of(run.id) == []
    assert store.get(2, "daily").revision == 1
    for gone in (lambda: store.get(1, "daily"), lambda: store.delete(1, "daily")):
        with pytest.raises(NotFound):
            gone()


def test_a_job_has_one_run_and_only_its_newest_execution_may_publish_it(
    store: ReportStore, jobs: JobStore, queue: DeliveryStore
) -> None:
    job = job_of(jobs)
    first = store.begin(job, 1, 2 * DAY, day(1))
    again = store.begin(replace(job, epoch=2), 2, 2 * DAY, day(1))
    assert (again.id, again.epoch, again.revision) == (first.id, 2, 2)
    assert store.begin(job, 1, 2 * DAY, day(1)).epoch == 2  # the first one, which thought itself alone
    assert not store.finish(first, "x", {}, PLANNED)
    store.fail(first, "too late")
    assert store.finish(again, "daily/1.2", {}, PLANNED)
    assert not store.finish(again, "daily/1.2", {}, PLANNED)
    third = store.begin(replace(job, epoch=3), 2, 2 * DAY, day(1))
    assert (third.state, third.epoch, third.folder) == (RunState.SUCCESS, 2, "daily/1.2")
    assert len(queue.of(first.id)) == 2


def test_a_failed_run_says_why_and_may_be_begun_again(store: ReportStore, jobs: JobStore) -> None:
    job = job_of(jobs)
    run = store.begin(job, 1, 2 * DAY, day(1))
    store.fail(run, "x" * 9_000)
    kept = store.run_of_job(1, job.id)
    assert kept is not None
    assert (kept.state, len(kept.error)) == (RunState.ERROR, 4_000)
    again = store.begin(replace(job, epoch=2), 1, 2 * DAY, day(1))
    assert (again.state, again.error) == (RunState.RUNNING, "")


def test_a_run_is_compared_with_the_newest_one_of_an_earlier_period(
    store: ReportStore, jobs: JobStore
) -> None:
    monday, tuesday = finished(store, jobs, 1), finished(store, jobs, 2)
    repeated = finished(store, jobs, 1)
    other = finished(store, jobs, 1, "other")
    running = store.begin(job_of(jobs), 1, 9 * DAY, day(3))
    assert store.previous(running) == tuesday
    assert store.previous(tuesday) == repeated
    assert store.previous(monday) is None
    assert store.previous(repeated) is None
    assert store.previous(other) is None
    whole = Window(None, None, "")
    earlier = store.begin(job_of(jobs, "all"), 1, 5, whole)
    store.finish(earlier, "f", {}, [])
    later = store.begin(job_of(jobs, "all"), 1, 6, whole)
    found = store.previous(later)
    assert found is not None
    assert found.id == earlier.id


def test_runs_beyond_those_to_keep_go_with_their_folders(store: ReportStore, jobs: JobStore) -> None:
    runs = [finished(store, jobs, number) for number in range(4)]
    running = store.begin(job_of(jobs), 1, 9 * DAY, day(9))
    assert store.expire(1, "daily", 2) == [run.folder for run in reversed(runs[:2])]
    assert [run.id for run in store.runs(1, "daily", 9)] == [running.id, runs[3].id, runs[2].id]
    assert store.expire(1, "daily", 2) == []


def test_first_attempts_are_the_jobs_for_a_while_then_anybodys(
    store: ReportStore, jobs: JobStore, queue: DeliveryStore, clock: FixedClock
) -> None:
    run = finished(store, jobs)
    assert queue.claim() is None
    mine = queue.claim(run.id)
    assert mine is not None
    assert (mine.delivery.name, mine.delivery.attempts, mine.report) == ("hook", 1, "daily")
    clock.advance(JOB_S + 1)
    assert queue.due()
    other = queue.claim()
    assert other is not None
    assert other.delivery.name == "mail"
    assert queue.claim() is None


def test_a_dead_holders_attempt_is_taken_up_and_what_it_says_later_does_no_harm(
    store: ReportStore, jobs: JobStore, queue: DeliveryStore, clock: FixedClock
) -> None:
    run = finished(store, jobs)
    lost, second = queue.claim(run.id), queue.claim(run.id)
    assert lost is not None
    assert second is not None
    queue.delivered(second)
    clock.advance(LEASE_S + 1)
    taken = queue.claim()
    assert taken is not None
    assert (taken.delivery.name, taken.delivery.attempts) == (lost.delivery.name, 2)
    queue.failed(lost, "from the dead", None)
    assert {one.state for one in queue.of(run.id)} == {DeliveryState.PENDING, DeliveryState.DELIVERED}
    queue.failed(taken, "busy", clock.now() + 30)
    assert queue.claim() is None
    clock.advance(31)
    last = queue.claim()
    assert last is not None
    queue.failed(last, "no", None)
    (given_up,) = [one for one in queue.of(run.id) if one.name == lost.delivery.name]
    assert (given_up.state, given_up.error, given_up.attempts) == (DeliveryState.FAILED, "no", 3)
    assert given_up.key == f"report-run-{run.id}-{lost.delivery.name}"
    assert not queue.due()
    assert queue.again(run.id) == 1
    anew = queue.claim()
    assert anew is not None
    assert anew.delivery.attempts == 1


def test_each_attempt_has_one_holder_among_many_threads(
    store: ReportStore, jobs: JobStore, queue: DeliveryStore
) -> None:
    run = finished(store, jobs)
    claimed = []

    def work() -> None:
        while (one := queue.claim(run.id)) is not None:
            claimed.append((one.delivery.name, one.holder))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in claimed) == ["hook", "mail"]


def test_a_deprovisioned_account_leaves_nothing(
    store: ReportStore, jobs: JobStore, queue: DeliveryStore
) -> None:
    store.put(1, "daily", {}, "")
    run = finished(store, jobs)
    store.forget_account(1)
    assert (store.list(1), store.runs(1, "daily", 9), queue.of(run.id)) == ([], [], [])
