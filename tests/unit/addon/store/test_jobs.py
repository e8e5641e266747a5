"""The queue hands each job to one worker, whatever happens to the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from addon.models.conflicts import TakenBy
from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.store.jobs import LEASE_S, JobStore
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from platform_core.base.clock import FixedClock


def _request(account_id: int = 1, max_running: int = 10, **more: object) -> JobRequest:
    return JobRequest(account_id, "trino", "shop", "select 1", max_running, **more)  # type: ignore[arg-type]


def _claimed(jobs: JobStore) -> Job:
    job = jobs.claim("w")
    assert job is not None
    return job


def test_jobs_are_claimed_by_priority_then_age(jobs: JobStore) -> None:
    low = jobs.issue(_request())
    high = jobs.issue(_request(priority=1))
    assert [_claimed(jobs).id, _claimed(jobs).id] == [high.id, low.id]
    assert jobs.claim("w") is None


def test_an_account_at_its_limit_waits_while_others_go_on(jobs: JobStore) -> None:
    mine = [jobs.issue(_request(1, 1)), jobs.issue(_request(1, 1))]
    other = jobs.issue(_request(2, 1))
    first = _claimed(jobs)
    assert [first.id, _claimed(jobs).id] == [mine[0].id, other.id]
    assert jobs.claim("w") is None
    assert jobs.finish(first, JobOutcome(JobState.SUCCESS))
    assert _claimed(jobs).id == mine[1].id


def test_parallel_workers_never_take_the_same_job(jobs: JobStore) -> None:
    issued = {jobs.issue(_request(max_running=100)).id for _ in range(40)}

    def work(name: int) -> list[int]:
        taken = []
        while (job := jobs.claim(str(name))) is not None:
            taken.append(job.id)
            assert jobs.finish(job, JobOutcome(JobState.SUCCESS))
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [job for part in pool.map(work, range(4)) for job in part]
    assert sorted(taken) == sorted(issued)


def test_a_late_worker_cannot_publish_over_a_newer_epoch(jobs: JobStore, clock: FixedClock) -> None:
    jobs.issue(_request())
    stopped = _claimed(jobs)
    clock.advance(LEASE_S + 1)
    assert jobs.requeue_lost() == 1
    newer = _claimed(jobs)
    assert newer.epoch == stopped.epoch + 1
    assert jobs.renew(stopped) is None
    assert not jobs.finish(stopped, JobOutcome(JobState.ERROR))
    assert jobs.finish(newer, JobOutcome(JobState.SUCCESS, num_records=3, result_schema=[("a", "bigint")]))
    done = jobs.get(1, newer.id)
    assert (done.state, done.num_records, done.result_schema) == (
        JobState.SUCCESS,
        3,
        [("a", "bigint")],
    )


def test_a_job_is_queued_again_once_after_its_workers_death_then_it_is_an_error(
    jobs: JobStore, clock: FixedClock
) -> None:
    job = jobs.issue(_request())
    for expected in (JobState.QUEUED, JobState.ERROR):
        _claimed(jobs)
        clock.advance(LEASE_S + 1)
        assert jobs.requeue_lost() == 1
        assert jobs.get(1, job.id).state is expected
    assert "lost its worker 2 times" in jobs.get(1, job.id).stderr
    assert jobs.claim("another") is None


def test_a_worker_that_stops_in_order_is_no_death(jobs: JobStore, clock: FixedClock) -> None:
    job = jobs.issue(_request())
    for _ in range(5):
        jobs.release(_claimed(jobs))
    _claimed(jobs)
    clock.advance(LEASE_S + 1)
    jobs.requeue_lost()
    assert jobs.get(1, job.id).state is JobState.QUEUED


def test_kill_ends_a_queued_job_and_asks_the_worker_of_a_running_one(jobs: JobStore) -> None:
    running, queued = jobs.issue(_request(max_running=1)), jobs.issue(_request(max_running=1))
    claimed = _claimed(jobs)
    assert jobs.request_kill(1, queued.id) is JobState.QUEUED
    assert jobs.get(1, queued.id).state is JobState.KILLED
    assert jobs.renew(claimed) is False
    assert jobs.request_kill(1, running.id) is JobState.RUNNING
    assert jobs.renew(claimed) is True
    assert jobs.request_kill(1, queued.id) is JobState.KILLED


def test_jobs_of_others_do_not_exist(jobs: JobStore) -> None:
    job = jobs.issue(_request(1))
    for attempt in (lambda: jobs.get(2, job.id), lambda: jobs.request_kill(2, job.id)):
        with pytest.raises(NotFound):
            attempt()
    assert jobs.list(2, first=0, last=19) == ([], 0)


def test_a_domain_key_names_one_job(jobs: JobStore) -> None:
    job = jobs.issue(_request(domain_key="daily"))
    with pytest.raises(TakenBy) as caught:
        jobs.issue(_request(domain_key="daily"))
    assert caught.value.other == job.id
    assert jobs.by_domain_key(1, "daily").id == job.id
    jobs.issue(_request(2, domain_key="daily"))


def test_the_list_is_newest_first_with_inclusive_bounds(jobs: JobStore) -> None:
    ids = [jobs.issue(_request()).id for _ in range(5)]
    page, total = jobs.list(1, first=1, last=2)
    assert ([job.id for job in page], total) == ([ids[3], ids[2]], 5)


def test_parallel_workers_never_go_over_an_accounts_limit(jobs: JobStore) -> None:
    for _ in range(30):
        jobs.issue(_request(max_running=2))

    def work(name: int) -> list[Job]:
        return [job for _ in range(5) if (job := jobs.claim(str(name))) is not None]

    with ThreadPoolExecutor(4) as pool:
        taken = [job for part in pool.map(work, range(4)) for job in part]
    assert len(taken) == 2


def test_a_kill_is_seen_by_whoever_runs_the_job(jobs: JobStore) -> None:
    jobs.issue(_request())
    jobs.issue(_request())
    first, second = _claimed(jobs), _claimed(jobs)
    assert list(jobs.kills_among([first.id, second.id])) == []
    jobs.request_kill(1, second.id)
    assert list(jobs.kills_among([first.id, second.id])) == [second.id]


def test_accounts_take_turns_however_many_jobs_one_has_and_of_whatever_priority(jobs: JobStore) -> None:
    mine = [jobs.issue(_request(1, priority=2)) for _ in range(4)]
    others = [jobs.issue(_request(account)) for account in (2, 3, 2)]
    order = []
    while (job := jobs.claim("w")) is not None:  # one slot: nothing else runs when a job is taken
        order.append(job.id)
        assert jobs.finish(job, JobOutcome(JobState.SUCCESS))
    first, second, third, fourth = (job.id for job in mine)
    assert order == [first, others[0].id, others[1].id, second, others[2].id, third, fourth]


def test_an_account_whose_jobs_run_less_goes_first(jobs: JobStore) -> None:
    for account in (1, 1, 1, 2):
        jobs.issue(_request(account))
    assert [_claimed(jobs).request.account_id for _ in range(4)] == [1, 2, 1, 1]


def test_a_failed_job_waits_for_its_time_and_is_taken_again(jobs: JobStore, clock: FixedClock) -> None:
    job = jobs.issue(_request(retry_limit=1))
    assert jobs.retry(_claimed(jobs), "no luck\n", clock.now() + 5)
    waiting = jobs.get(1, job.id)
    assert (waiting.state, waiting.failures, waiting.stderr) == (JobState.QUEUED, 1, "no luck\n")
    assert not jobs.waiting()
    assert jobs.claim("w") is None
    clock.advance(5)
    assert jobs.waiting()
    assert (_claimed(jobs).epoch, jobs.get(1, job.id).failures) == (2, 1)


def test_a_job_that_is_to_be_killed_is_not_tried_again(jobs: JobStore, clock: FixedClock) -> None:
    jobs.issue(_request(retry_limit=1))
    job = _claimed(jobs)
    jobs.request_kill(1, job.id)
    assert not jobs.retry(job, "", clock.now())
    clock.advance(LEASE_S + 1)
    assert jobs.requeue_lost() == 1  # nor when its worker dies
    assert jobs.get(1, job.id).state is JobState.KILLED


def test_progress_is_seen_until_the_execution_ends(jobs: JobStore) -> None:
    jobs.issue(_request())
    job = _claimed(jobs)
    jobs.report(job, {"stage": "staging", "percent": 20})
    assert jobs.get(1, job.id).progress == {"stage": "staging", "percent": 20}
    assert jobs.finish(job, JobOutcome(JobState.SUCCESS))
    jobs.report(job, {"stage": "late", "percent": 30})
    assert jobs.get(1, job.id).progress is None


def test_the_list_is_narrowed_by_type_and_text(jobs: JobStore) -> None:
    jobs.issue(_request())
    wanted = jobs.issue(JobRequest(1, "analysis", "shop", "analysis paths", 1))
    jobs.issue(JobRequest(1, "analysis", "shop", "analysis ranking", 1))
    page, total = jobs.list(1, first=0, last=9, kind="analysis", query="analysis paths")
    assert ([job.id for job in page], total) == ([wanted.id], 1)


def test_who_is_alone_need_not_wait_for_the_leases_of_the_dead(jobs: JobStore) -> None:
    lost, mine = jobs.issue(_request()), jobs.issue(_request())
    assert [_claimed(jobs).id, _claimed(jobs).id] == [lost.id, mine.id]
    assert jobs.requeue_lost() == 0
    assert jobs.requeue_lost(but_not=[mine.id], alone=True) == 1
    assert [jobs.get(1, job.id).state for job in (lost, mine)] == [JobState.QUEUED, JobState.RUNNING]
