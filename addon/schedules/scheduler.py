"""The scheduler: issues each slot's job when it is due. Any number of processes may run one.

It sleeps until the next slot is due, or until a schedule is changed here. It looks again after a short while
in any case: another process may have changed something, and the clock may have been set.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.models.accounts import AccountState
from addon.query.runner import MAX_QUEUED
from addon.schedules.planning import job_of, plan_slot
from platform_core.base.errors import Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from addon.models.schedules import Schedule, SlotPlan
    from addon.store.accounts import AccountStore
    from addon.store.jobs import JobStore
    from addon.store.schedules import ScheduleStore
    from platform_core.base.clock import Clock

POLL_S = 2.0
"""A change through another process, or of the clock, is seen after this at the latest."""
_AT_ONCE = 100
_FULL_QUEUE_S = 10.0
_BROKEN_S = 60.0
SLOT_MISSED = "schedule_slots_missed"
SLOT_FAILED = "schedule_slot_not_decided"
QUEUE_FULL = "schedule_waits_for_room_in_queue"
ROUND_FAILED = "scheduler_round_failed"
_log = get_logger(__name__)


@dataclass(slots=True)
class SchedulerStats:
    """What this process' scheduler did since its start."""

    fired: int = 0
    """Slots that became a job."""
    missed: int = 0
    """Slots that were skipped because more were due than the schedule's catch-up."""
    failed: int = 0
    """Decisions that a fault of ours put off."""
    late_s: float = 0.0
    """How long after its time the last job was issued."""


class Scheduler:
    """Issues what is due, for all accounts."""

    def __init__(  # noqa: PLR0917  (what one slot touches)
        self,
        store: ScheduleStore,
        jobs: JobStore,
        accounts: AccountStore,
        clock: Clock,
        issued: Callable[[], None],
        poll_s: float = POLL_S,
    ) -> None:
        """``issued`` is called in the event loop when there are new jobs; look at least every ``poll_s``."""
        self._store = store
        self._jobs = jobs
        self._accounts = accounts
        self._clock = clock
        self._issued = issued
        self._poll_s = poll_s
        self._wake = asyncio.Event()
        self._closing = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self.stats = SchedulerStats()

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._rounds())

    def wake(self) -> None:
        """Look at the schedules now: one was changed."""
        self._wake.set()

    async def close(self) -> None:
        """Stop after the slot that is being decided."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _rounds(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            wait = self._poll_s
            before = self.stats.fired
            try:
                due = await asyncio.to_thread(self.round)
                if due is not None:
                    wait = min(wait, max(0.0, due - self._clock.now()))
            except Exception as error:  # noqa: BLE001  (the database may be away for a while)
                _log.warning(ROUND_FAILED, error=str(error))
            if self.stats.fired != before:
                self._issued()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    def round(self) -> float | None:
        """Decide about every slot that is due; return when the next one is, Unix seconds.

        Raises:
            Unavailable: the database is away.
        """
        while not self._closing.is_set():
            due = self._store.due(_AT_ONCE)
            if not due:
                break
            full: set[int] = set()
            for schedule in due:
                if self._closing.is_set():
                    break
                if schedule.account_id not in full and not self._decide_safely(schedule):
                    full.add(schedule.account_id)
        return self._store.next_due()

    def _decide_safely(self, schedule: Schedule) -> bool:
        try:
            return self._decide(schedule)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  (one schedule's fault must not keep the others from running)
            self.stats.failed += 1
            _log.exception(SLOT_FAILED, account_id=schedule.account_id, schedule_id=schedule.id)
            self._store.postpone(schedule, self._clock.now() + _BROKEN_S)
            return True

    def _decide(self, schedule: Schedule) -> bool:
        """Issue what is due of a schedule; False when its account's queue is full: then all of it waits."""
        now = self._clock.now()
        account = self._accounts.get(schedule.account_id)
        plan = plan_slot(schedule, now)
        if plan is None or account.state is not AccountState.PROVISIONED:
            return True
        if self._jobs.queued_count(account.id) >= MAX_QUEUED:
            _log.warning(QUEUE_FULL, account_id=account.id)
            self._store.postpone_account(account.id, now + _FULL_QUEUE_S)
            return False
        if self._store.issue(schedule, plan, job_of(schedule, plan.slot, account.plan)) is not None:
            self._note(schedule, plan)
        return True

    def _note(self, schedule: Schedule, plan: SlotPlan) -> None:
        self.stats.fired += 1
        self.stats.late_s = max(0.0, self._clock.now() - plan.slot - schedule.spec.delay_s)
        if plan.skipped:
            self.stats.missed += plan.skipped
            _log.warning(
                SLOT_MISSED, account_id=schedule.account_id, schedule_id=schedule.id, slots=plan.skipped
            )
