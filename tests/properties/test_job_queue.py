"""The job queue against a model of it, on both databases: whatever its workers do or suffer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.store.database import Database
from addon.store.jobs import LEASE_S, MOST_LOST, JobStore
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer

_NUMBERS = itertools.count()
_LIMIT = {1: 1, 2: 2, 3: 9}
"""How many jobs of an account may run at once."""


@dataclass
class Model:
    """A job as it ought to be."""

    account: int
    priority: int
    key: str | None
    state: JobState = JobState.QUEUED
    epoch: int = 0
    lost: int = 0
    failures: int = 0
    until: float = 0.0
    not_before: float = 0.0
    kill: bool = False


@dataclass
class Queue:
    """The queue as it ought to be."""

    jobs: dict[int, Model] = field(default_factory=dict)
    turns: dict[int, int] = field(default_factory=dict)

    def running(self, account: int) -> int:
        return sum(job.account == account and job.state is JobState.RUNNING for job in self.jobs.values())

    def following(self, now: float) -> int | None:
        """Return the number of the job that is next."""
        due = [
            (self.running(job.account), self.turns.get(job.account, 0), -job.priority, number)
            for number, job in self.jobs.items()
            if job.state is JobState.QUEUED
            and job.not_before <= now
            and self.running(job.account) < _LIMIT[job.account]
        ]
        return min(due)[-1] if due else None


class JobQueue(RuleBasedStateMachine):
    """Issues, workers, deaths and kills in any order."""

    database: ClassVar[Database]
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FixedClock(1_800_000_000.0)
        self.store = JobStore(self.database, self.clock)
        for account in _LIMIT:
            self.store.forget_account(account)
        self.model = Queue()

    @rule(
        account=st.sampled_from(list(_LIMIT)),
        priority=st.integers(-2, 2),
        key=st.none() | st.sampled_from("ab"),
    )
    def issue(self, account: int, priority: int, key: str | None) -> None:
        """A domain key is taken once in an account."""
        request = JobRequest(
            account, "trino", "d", "select 1", _LIMIT[account], priority=priority, domain_key=key
        )
        taken = key is not None and any(
            (job.account, job.key) == (account, key) for job in self.model.jobs.values()
        )
        try:
            job = self.store.issue(request)
        except Conflict:
            assert taken
            return
        assert not taken
        self.model.jobs[job.id] = Model(account, priority, key)

    @rule(target=held)
    def claim(self) -> Any:
        """The next job is the one that the model says."""
        expected = self.model.following(self.clock.now())
        assert self.store.waiting() is any(
            job.state is JobState.QUEUED and job.not_before <= self.clock.now()
            for job in self.model.jobs.values()
        )
        job = self.store.claim("w")
        assert (None if job is None else job.id) == expected
        if job is None:
            return multiple()
        known = self.model.jobs[job.id]
        known.state, known.epoch = JobState.RUNNING, known.epoch + 1
        known.until, known.not_before = self.clock.now() + LEASE_S, 0.0
        assert job.epoch == known.epoch
        self.model.turns[known.account] = max(self.model.turns.values(), default=0) + 1
        return job

    def _holds(self, job: Job) -> bool:
        known = self.model.jobs[job.id]
        return known.state is JobState.RUNNING and known.epoch == job.epoch

    @rule(job=held)
    def renew(self, job: Job) -> None:
        """Only who holds a job renews its lease, and hears of a kill."""
        known = self.model.jobs[job.id]
        assert self.store.renew(job) is (known.kill if self._holds(job) else None)
        if self._holds(job):
            known.until = self.clock.now() + LEASE_S

    @rule(job=consumes(held), state=st.sampled_from([JobState.SUCCESS, JobState.ERROR, JobState.KILLED]))
    def finish(self, job: Job, state: JobState) -> None:
        """Only who holds a job ends it."""
        assert self.store.finish(job, JobOutcome(state)) is self._holds(job)
        if self._holds(job):
            self.model.jobs[job.id].state = state

    @rule(job=consumes(held), pause=st.sampled_from([0.0, 7.0]))
    def fail(self, job: Job, pause: float) -> None:
        """A failed execution is followed by another, unless the job is to be killed."""
        known, at = self.model.jobs[job.id], self.clock.now() + pause
        expected = self._holds(job) and not known.kill
        assert self.store.retry(job, "", at) is expected
        if expected:
            known.state, known.failures, known.not_before = JobState.QUEUED, known.failures + 1, at

    @rule(job=consumes(held))
    def release(self, job: Job) -> None:
        """A worker that stops in order gives its job back."""
        holds = self._holds(job)
        self.store.release(job)
        if holds:
            self.model.jobs[job.id].state = JobState.QUEUED

    @rule(seconds=st.sampled_from([1.0, LEASE_S / 2, LEASE_S + 1]))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule()
    def requeue(self) -> None:
        """A lost job is queued again once, then it is an error; one to be killed is killed."""
        count = 0
        for job in self.model.jobs.values():
            if job.state is JobState.RUNNING and job.until < self.clock.now():
                count, job.lost = count + 1, job.lost + 1
                job.state = JobState.ERROR if job.lost >= MOST_LOST else JobState.QUEUED
                job.state = JobState.KILLED if job.kill else job.state
        assert self.store.requeue_lost() == count

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """A queued job is killed at once, a running one is asked to end, an ended one stays."""
        if not self.model.jobs:
            return
        number = data.draw(st.sampled_from(sorted(self.model.jobs)))
        known = self.model.jobs[number]
        assert self.store.request_kill(known.account, number) is known.state
        if known.state is JobState.QUEUED:
            known.state = JobState.KILLED
        known.kill = known.kill or known.state is JobState.RUNNING

    @invariant()
    def the_store_says_the_same(self) -> None:
        """Every job's state, epoch and count of failures; no account above its limit."""
        for account, limit in _LIMIT.items():
            found, _ = self.store.list(account, first=0, last=999)
            expected = {n: job for n, job in self.model.jobs.items() if job.account == account}
            assert {job.id: (job.state, job.epoch, job.failures) for job in found} == {
                n: (job.state, job.epoch, job.failures) for n, job in expected.items()
            }
            assert self.model.running(account) <= limit


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/addon.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create(f"job_queue_{next(_NUMBERS)}")
    opened = Database(url)
    opened.migrate()
    yield opened
    opened.close()


def _play(database: Database, plays: int, steps: int) -> None:
    run_state_machine_as_test(
        type("JobQueueOn", (JobQueue,), {"database": database}),
        settings=settings(
            max_examples=plays,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_queue_does_what_its_model_does(database: Database) -> None:
    _play(database, 6, 15)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_queue_does_what_its_model_does_for_long(database: Database) -> None:
    _play(database, 80, 50)
