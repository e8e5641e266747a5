"""A job that ended as an error runs again as often as it asked for, where that can help."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.query.runner import JobRunner
from addon.query.worker import QueryFailed
from addon.store.accounts import AccountStore
from addon.store.database import Database
from addon.store.jobs import JobStore
from platform_core.base.clock import SystemClock
from platform_core.base.errors import Forbidden, InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from addon.models.accounts import Account


class Failing:
    """An execution that fails in the given ways, one after the other, then succeeds."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        self.epochs: list[int] = []

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        del account, kill
        self.epochs.append(job.epoch)
        if self.errors:
            raise self.errors.pop(0)
        return JobOutcome(JobState.SUCCESS)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/a.db")
    opened.migrate()
    yield opened
    opened.close()


def ended(database: Database, failing: Failing, retry_limit: int) -> Job:
    """Run one job to its end."""
    clock = SystemClock()
    accounts, store = AccountStore(database, clock), JobStore(database, clock)
    account, _ = accounts.ensure_local("local", "premium", "secret")

    async def play() -> Job:
        runner = JobRunner(store, accounts, {"": failing}, slots=1, retry_s=0.01)
        await runner.start()
        try:
            request = JobRequest(account.id, "trino", "shop", "select 1", 1, retry_limit=retry_limit)
            job = await runner.issue(request)
            return await runner.wait_final(account.id, job.id, 60)
        finally:
            await runner.close(5)

    return asyncio.run(play())


BROKEN = QueryFailed("memory", "The query needed more memory than the plan gives.")


def test_a_job_that_succeeds_at_the_last_attempt_is_a_success(database: Database) -> None:
    failing = Failing([BROKEN, Unavailable("Later."), NotFound("Not yet.")])
    done = ended(database, failing, 3)
    assert (done.state, done.failures, failing.epochs) == (JobState.SUCCESS, 3, [1, 2, 3, 4])
    assert done.stderr == ""


def test_a_job_that_goes_on_failing_is_an_error_with_the_count(database: Database) -> None:
    failing = Failing([BROKEN] * 9)
    done = ended(database, failing, 2)
    assert (done.state, failing.epochs) == (JobState.ERROR, [1, 2, 3])
    assert done.stderr == f"{BROKEN}\nThe job was given up after 3 attempts.\n"


def test_without_a_limit_nothing_is_tried_again(database: Database) -> None:
    failing = Failing([BROKEN])
    assert (ended(database, failing, 0).stderr, failing.epochs) == (f"{BROKEN}\n", [1])


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("The query does not parse."),
        Forbidden("No."),
        QueryFailed("refused", "error: events: column x is missing"),
        QueryFailed("killed", "The query was killed."),
    ],
)
def test_what_cannot_end_otherwise_is_not_tried_again(database: Database, error: Exception) -> None:
    failing = Failing([error])
    done = ended(database, failing, 5)
    state = (
        JobState.KILLED if cast("QueryFailed", error).args[0] == "The query was killed." else JobState.ERROR
    )
    assert (done.state, done.stderr, failing.epochs) == (state, f"{error}\n", [1])
