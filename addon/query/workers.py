"""The pool of warm SQL workers: a few per active account, none for the others."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from addon.query.worker import Worker, WorkerPlace, worker_uid
from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from addon.models.accounts import Account
    from platform_core.base.clock import Clock
    from platform_core.base.sandbox.spec import Sandbox

_log = get_logger(__name__)
_IDLE_S = 600.0
_SWEEP_S = 30.0


@dataclass(slots=True)
class _Tenant:
    """One account's workers."""

    slots: asyncio.Semaphore
    idle: list[Worker] = field(default_factory=list)
    all: set[Worker] = field(default_factory=set)
    warming: asyncio.Task[None] | None = None
    used_at: float = 0.0


class WorkerPool:
    """Lends workers; one account never gets another's, nor more at once than its plan allows."""

    def __init__(
        self,
        sandbox: Sandbox,
        warehouse: Path,
        spill: Path,
        clock: Clock,
        *,
        threads: int,
        runs: Path | None = None,
        reports: Path | None = None,
    ) -> None:
        """Take the warehouse's root folder (one folder per account id below it) and a folder to spill to.

        ``runs`` is where finished analyses are, ``reports`` where reports' runs are, again one folder per
        account id.
        """
        self._reports = reports
        self._runs = runs
        self._sandbox = sandbox
        self._warehouse = warehouse
        self._spill = spill
        self._clock = clock
        self._threads = threads
        self._tenants: dict[int, _Tenant] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to end workers that were idle for ten minutes."""
        shutil.rmtree(self._spill, ignore_errors=True)  # what a killed worker left behind
        self._spill.mkdir(parents=True)
        self._sweeper = asyncio.create_task(self._sweep())

    def prewarm(self, account: Account) -> None:
        """Start a worker in the background when the account has none, so that its first query is fast."""
        tenant = self._tenant(account)
        tenant.used_at = self._clock.now()
        if not tenant.all and (tenant.warming is None or tenant.warming.done()):
            tenant.warming = asyncio.create_task(self._warm(account, tenant))

    async def _warm(self, account: Account, tenant: _Tenant) -> None:
        try:
            tenant.idle.append(await self._start_worker(account, tenant))
        except SluiceError as error:
            _log.warning("worker_prewarm_failed", account_id=account.id, error=error.message)

    @asynccontextmanager
    async def lend(self, account: Account) -> AsyncIterator[Worker]:
        """Lend a worker for one request, waiting while the account's are all busy.

        Raises:
            Unavailable: no worker could be started.
        """
        tenant = self._tenant(account)
        async with tenant.slots:
            worker = await self._take(account, tenant)
            try:
                yield worker
            finally:
                tenant.used_at = self._clock.now()
                if worker.broken or worker not in tenant.all:
                    tenant.all.discard(worker)
                    worker.close()
                    await worker.wait_closed()
                else:
                    tenant.idle.append(worker)

    async def _take(self, account: Account, tenant: _Tenant) -> Worker:
        if tenant.warming is not None and not tenant.idle:
            await asyncio.wait({tenant.warming})
        return tenant.idle.pop() if tenant.idle else await self._start_worker(account, tenant)

    async def _start_worker(self, account: Account, tenant: _Tenant) -> Worker:
        folder, spill = self._warehouse / str(account.id), self._spill / str(account.id)
        folder.mkdir(parents=True, exist_ok=True)
        spill.mkdir(exist_ok=True, mode=0o700)
        runs, reports = (_own_folder(root, account) for root in (self._runs, self._reports))
        if os.geteuid() == 0 and self._sandbox.isolation.own_uid:
            os.chown(spill, worker_uid(account.id), worker_uid(account.id))
        worker = await Worker.start(
            self._sandbox, WorkerPlace(account.id, folder, spill, account.plan, self._threads, runs, reports)
        )
        tenant.all.add(worker)
        return worker

    def _tenant(self, account: Account) -> _Tenant:
        known = self._tenants.get(account.id)
        if known is None:
            slots = asyncio.Semaphore(account.plan.concurrent_queries)
            known = self._tenants[account.id] = _Tenant(slots)
        return known

    async def close_account(self, account_id: int) -> None:
        """End every worker of an account, also busy ones, and forget its limits (they may have changed)."""
        tenant = self._tenants.pop(account_id, None)
        if tenant is None:
            return
        if tenant.warming is not None:
            await asyncio.wait({tenant.warming})
        workers, tenant.all = tenant.all, set()
        idle, tenant.idle = tenant.idle, []
        for worker in workers:
            worker.close()
        for worker in idle:
            await worker.wait_closed()
        for worker in workers.difference(idle):  # whoever borrowed one closes it
            await worker.wait_ended()
        shutil.rmtree(self._spill / str(account_id), ignore_errors=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            before = self._clock.now() - _IDLE_S
            for account_id, tenant in list(self._tenants.items()):
                if tenant.used_at < before and len(tenant.idle) == len(tenant.all):
                    await self.close_account(account_id)

    async def close(self) -> None:
        """End every worker."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        for account_id in list(self._tenants):
            await self.close_account(account_id)


def _own_folder(root: Path | None, account: Account) -> Path | None:
    """Return the account's folder below a root, made where it is missing."""
    if root is None:
        return None
    folder = root / str(account.id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
