"""A worker process that is killed (-9) costs its job one execution; the second one ends the job in words."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.query.runner import JobRunner
from addon.store.accounts import AccountStore
from addon.store.database import Database
from addon.store.jobs import JobStore
from platform_core.base.clock import SystemClock
from tests.faults.queue_worker import LEASE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from addon.models.accounts import Account
    from tests.postgres import PostgresServer

_NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/addon.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create(f"queue_{next(_NUMBERS)}")
    opened = Database(url)
    opened.migrate()
    yield opened
    opened.close()


class Worker:
    """A worker process."""

    def __init__(self, database: Database) -> None:
        url = database.engine.url.render_as_string(hide_password=False)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.queue_worker", url], stdout=subprocess.PIPE, text=True
        )

    def took(self) -> tuple[int, int]:
        """Wait until it runs a job; return the job's number and epoch."""
        assert self._process.stdout is not None
        job, epoch = self._process.stdout.readline().split()
        return int(job), int(epoch)

    def kill(self) -> None:
        """End it with no chance to say anything."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Quick:
    """An execution that ends at once."""

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        del account, kill
        return JobOutcome(JobState.SUCCESS, num_records=job.epoch)


def _issued(database: Database) -> tuple[JobStore, Job]:
    clock = SystemClock()
    account, _ = AccountStore(database, clock).ensure_local("local", "premium", "secret")
    store = JobStore(database, clock, lease_s=LEASE_S)
    return store, store.issue(JobRequest(account.id, "trino", "shop", "select 1", 2))


@pytest.mark.slow
def test_another_worker_runs_the_job_of_a_killed_one(database: Database) -> None:
    store, job = _issued(database)
    worker = Worker(database)
    assert worker.took() == (job.id, 1)
    worker.kill()
    accounts = AccountStore(database, SystemClock())

    async def survive() -> Job:
        runner = JobRunner(store, accounts, {"": Quick()}, slots=1)
        await runner.start()
        try:
            return await runner.wait_final(job.request.account_id, job.id, 60)
        finally:
            await runner.close(5)

    done = asyncio.run(survive())
    assert (done.state, done.epoch, done.num_records) == (JobState.SUCCESS, 2, 2)


def test_a_job_whose_second_worker_is_killed_too_is_an_error_that_says_why(database: Database) -> None:
    store, job = _issued(database)
    for epoch in (1, 2):
        worker = Worker(database)
        assert worker.took() == (job.id, epoch)
        worker.kill()
    accounts = AccountStore(database, SystemClock())

    async def survive() -> Job:
        runner = JobRunner(store, accounts, {"": Quick()}, slots=1)
        await runner.start()
        try:
            return await runner.wait_final(job.request.account_id, job.id, 60)
        finally:
            await runner.close(5)

    done = asyncio.run(survive())
    assert (done.state, done.epoch) == (JobState.ERROR, 2)
    assert "lost its worker 2 times" in done.stderr
    assert "issue it again" in done.stderr
