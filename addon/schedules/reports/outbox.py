"""Deliveries on their way: tried, tried again for a day with growing pauses, then given up.

Each attempt is claimed with a lease in the database, so that several processes share the work and a dead
one's is taken up by another. A receiver may see a delivery twice, when a process dies between its answer and
the note of it; every attempt carries the same key.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from addon.models.accounts import AccountState
from addon.schedules.deliveries.port import Parcel, Refused
from addon.schedules.reports.stats import ReportStats
from platform_core.base.errors import SluiceError, UserError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.reports import ReportRun, RunDelivery
    from addon.schedules.deliveries.port import Delivery
    from addon.schedules.reports.folders import ReportFolders
    from addon.schedules.reports.service import Reports
    from addon.store.accounts import AccountStore
    from addon.store.deliveries import Claimed, DeliveryStore
    from addon.store.reports import ReportStore
    from platform_core.base.clock import Clock

_log = get_logger(__name__)
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
"""Before the second attempt, the third and so on; after the last one a delivery is given up: a day in all."""
_ATTEMPT_S = 240.0
"""Less than the lease of an attempt."""
_POLL_S = 2.0
_AT_ONCE = 4


class Outbox:
    """Makes deliveries: those of one run for its job, and in the background all that are due."""

    def __init__(  # noqa: PLR0917  (what one attempt touches)
        self,
        queue: DeliveryStore,
        store: ReportStore,
        accounts: AccountStore,
        reports: Reports,
        folders: ReportFolders,
        ways: Mapping[str, Delivery],
        clock: Clock,
        stats: ReportStats | None = None,
    ) -> None:
        """Take deliveries from ``queue``, make them by ``ways``, count them in ``stats``."""
        self.stats = stats or ReportStats()
        self._queue = queue
        self._store = store
        self._accounts = accounts
        self._reports = reports
        self._folders = folders
        self._ways = ways
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def of(self, run: ReportRun) -> list[RunDelivery]:
        """Return a run's deliveries as they stand."""
        return list(self._queue.of(run.id))

    def of_all(self, runs: Sequence[ReportRun]) -> Mapping[int, list[RunDelivery]]:
        """Return the deliveries of several runs by the run's number."""
        found: dict[int, list[RunDelivery]] = {run.id: [] for run in runs}
        for one in self._queue.of(*found):
            found[one.run_id].append(one)
        return found

    async def attempt(self, run: ReportRun, kill: asyncio.Event) -> None:
        """Make each delivery of a run that is due, once; one that fails stops no other.

        A kill stops them: those under way are tried again when their lease has run out.
        """
        tasks: set[asyncio.Task[None]] = set()
        killed = asyncio.create_task(kill.wait())
        try:
            while not kill.is_set():
                claimed = await asyncio.to_thread(self._queue.claim, run.id)
                if claimed is None:
                    break
                tasks.add(asyncio.create_task(self._make(claimed)))
            while tasks and not killed.done():
                done, _ = await asyncio.wait({*tasks, killed}, return_when=asyncio.FIRST_COMPLETED)
                tasks -= done
        finally:
            for task in (*tasks, killed):
                task.cancel()
            await asyncio.gather(*tasks, killed, return_exceptions=True)

    def again(self, run: ReportRun, name: str | None = None) -> int:
        """Queue what failed of a run once more; return how many deliveries that are."""
        found = self._queue.again(run.id, name)
        self._wake.set()
        return found

    async def start(self) -> None:
        """Begin to make what is due."""
        self._task = asyncio.create_task(self._rounds())

    async def close(self) -> None:
        """Stop; attempts that are under way are made again by whoever comes next."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _rounds(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._round()
            except Exception:  # noqa: BLE001  (the queue must outlive a database that is away for a while)
                _log.exception("report_deliveries_not_seen")

    async def _round(self) -> None:
        while await asyncio.to_thread(self._queue.due):
            found = [await asyncio.to_thread(self._queue.claim) for _ in range(_AT_ONCE)]
            claimed = [one for one in found if one is not None]
            if not claimed:
                return
            async with asyncio.TaskGroup() as group:
                for one in claimed:
                    group.create_task(self._make(one))

    async def _make(self, claimed: Claimed) -> None:
        """Make one attempt and note how it went; nothing but a cancel leaves here."""
        one = claimed.delivery
        self.stats.attempted[one.type] += 1
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                await self._deliver(claimed)
        except (Refused, UserError) as error:
            await self._failed(claimed, str(error), final=True)
        except SluiceError as error:
            await self._failed(claimed, str(error), final=False, after_s=getattr(error, "after_s", 0.0))
        except TimeoutError:
            await self._failed(claimed, f"No end within {_ATTEMPT_S:.0f} s.", final=False)
        except Exception:  # noqa: BLE001  (one delivery's crash is its own)
            _log.exception("report_delivery_crashed", run_id=one.run_id, delivery=one.name)
            await self._failed(claimed, "It failed for a reason of ours; see the service's log.", final=False)
        else:
            self.stats.delivered[one.type] += 1
            await asyncio.to_thread(self._queue.delivered, claimed)
            _log.info("report_delivered", run_id=one.run_id, delivery=one.name, attempt=one.attempts)

    async def _deliver(self, claimed: Claimed) -> None:
        one = claimed.delivery
        account = await asyncio.to_thread(self._accounts.get, claimed.account_id)
        if account.state is not AccountState.PROVISIONED:
            raise Refused("The account was deprovisioned.")
        report = await asyncio.to_thread(self._reports.get, account, claimed.report)
        named = (target for target in report.definition.deliveries if target.name == one.name)
        target = next(named, None)
        if target is None or target.type != one.type:
            raise Refused("The report has no such delivery any more.")
        run = await asyncio.to_thread(self._store.run, account.id, claimed.report, one.run_id)
        folder = await asyncio.to_thread(self._folders.of, run)
        facts = await asyncio.to_thread(self._folders.facts, run)
        link = self._reports.link(run)
        parcel = Parcel(account, report.definition.title, run, folder, facts, one.key, link)
        await self._ways[one.type].deliver(parcel, target.settings)

    async def _failed(self, claimed: Claimed, error: str, *, final: bool, after_s: float = 0.0) -> None:
        one = claimed.delivery
        over = final or one.attempts > len(PAUSES_S)
        self.stats.failed[one.type] += 1
        self.stats.dead[one.type] += over
        pause = 0.0 if over else max(PAUSES_S[one.attempts - 1], after_s)
        next_at = None if over else self._clock.now() + pause
        _log.warning(
            "report_delivery_failed",
            run_id=one.run_id,
            delivery=one.name,
            attempt=one.attempts,
            given_up=over,
        )
        await asyncio.to_thread(self._queue.failed, claimed, error, next_at)
