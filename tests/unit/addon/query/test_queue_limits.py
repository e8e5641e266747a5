"""Too much at once is refused with 429, and what runs or waits already is not touched by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from addon.api.errors import error_headers, status_of
from addon.models.accounts import PLANS, Account, AccountState, Identity, Right
from addon.models.jobs import JobRequest, JobState
from addon.query import runner, service
from addon.query.runner import JobRunner
from addon.query.service import QueryService
from addon.query.worker import QueueFull, Reply
from addon.store.database import Database
from addon.store.jobs import JobStore
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = Account(1, None, "one", PLANS["nano"], AccountState.PROVISIONED, 0.0)


def test_jobs_over_the_queues_limit_are_refused_until_one_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "MAX_QUEUED", 3)
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    store = JobStore(database, FixedClock())
    jobs = JobRunner(store, cast("Any", None), {}, slots=1)
    request = JobRequest(1, "trino", "shop", "select 1", 1)

    async def scenario() -> None:
        issued = [await jobs.issue(request) for _ in range(3)]
        with pytest.raises(QueueFull) as refused:
            await jobs.issue(request)
        assert status_of(refused.value) == 429
        assert error_headers(refused.value) == {"retry-after": "10"}
        await jobs.issue(JobRequest(2, "trino", "shop", "select 1", 1))  # another account's queue
        assert await jobs.kill(1, issued[0].id) is JobState.QUEUED
        await jobs.issue(request)

    asyncio.run(scenario())


class Slow(QueryService):
    """Queries that end when told to."""

    def __init__(self) -> None:
        nothing = cast("Any", None)
        super().__init__(nothing, nothing, nothing, nothing, FixedClock())
        self.ends = asyncio.Event()

    async def execute(self, *_: Any) -> Reply:
        await self.ends.wait()
        return Reply(0, 0, (), 0.0)


def test_clients_that_wait_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_MAX_WAITING", 2)

    async def scenario() -> None:
        queries = Slow()
        identity = Identity(ACCOUNT, Right.READ)
        most = ACCOUNT.plan.concurrent_queries + 2
        waiting = [asyncio.create_task(queries.run(identity, "select 1", "shop")) for _ in range(most)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await queries.run(identity, "select 1", "shop")
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        waiting.append(asyncio.create_task(queries.run(identity, "select 1", "shop")))
        await asyncio.sleep(0)
        queries.ends.set()
        assert [result.rows for result in await asyncio.gather(*waiting[1:])] == [0] * most

    asyncio.run(scenario())
