"""A request that is sent again under its key gets the job that it started, also when the queue is full."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from addon.api.idempotency import issue_once
from addon.models.jobs import JobRequest
from addon.query import runner
from addon.query.runner import JobRunner
from addon.query.worker import QueueFull
from addon.store.database import Database
from addon.store.jobs import JobStore
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = JobRequest(1, "analysis", "shop", "analysis paths", 1, {"name": "paths"})


def test_a_key_stands_for_one_request_of_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MAX_QUEUED", 2)
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    store = JobStore(database, FixedClock())
    jobs = JobRunner(store, cast("Any", None), {}, slots=1)

    async def play() -> None:
        first, made = await issue_once(jobs, store, REQUEST, "k")
        assert made
        other, made = await issue_once(jobs, store, replace(REQUEST, account_id=2), "k")
        assert (made, other.id != first.id) == (True, True)
        await issue_once(jobs, store, REQUEST, None)
        with pytest.raises(QueueFull):
            await issue_once(jobs, store, REQUEST, "k2")
        again, made = await issue_once(jobs, store, REQUEST, "k")
        assert (again.id, made) == (first.id, False)
        with pytest.raises(Conflict, match=f"started job {first.id}"):
            await issue_once(jobs, store, replace(REQUEST, database="other"), "k")
        for wrong in ("", "x" * 201, "a\nb"):
            with pytest.raises(InvalidInput, match="1 to 200"):
                await issue_once(jobs, store, REQUEST, wrong)
        with pytest.raises(InvalidInput, match="not both"):
            await issue_once(jobs, store, replace(REQUEST, domain_key="d"), "k")

    asyncio.run(play())
    database.close()
