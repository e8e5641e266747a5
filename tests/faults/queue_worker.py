"""A worker process of the queue, to be killed: it takes a job, says so, and never ends it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NoReturn

from addon.query.runner import JobRunner
from addon.store.accounts import AccountStore
from addon.store.database import Database
from addon.store.jobs import JobStore
from platform_core.base.clock import SystemClock

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.models.jobs import Job

LEASE_S = 0.5


class Endless:
    """An execution that nothing but a kill ends."""

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> NoReturn:
        """Say which job runs, and wait."""
        del account, kill
        sys.stdout.write(f"{job.id} {job.epoch}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
        raise AssertionError


def runner_on(url: str, execution: Endless) -> tuple[JobRunner, JobStore, Database]:
    """Return a runner on a database that is shared with others."""
    database, clock = Database(url), SystemClock()
    store = JobStore(database, clock, lease_s=LEASE_S)
    accounts = AccountStore(database, clock)
    return JobRunner(store, accounts, {"": execution}, slots=1, watch=True), store, database


async def _main(url: str) -> None:
    runner, _, _ = runner_on(url, Endless())
    await runner.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
