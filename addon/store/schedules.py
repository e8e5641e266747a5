"""Schedules and their slots. A slot and its job come into being in one transaction, or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.accounts import AccountState
from addon.models.conflicts import TakenBy
from addon.models.schedules import Schedule, ScheduledRun, ScheduleSpec
from addon.store.database import insert_ignoring
from addon.store.jobs import insert_job, job_from_row
from addon.store.schema import ACCOUNTS, JOBS, SCHEDULE_RUNS, SCHEDULES
from platform_core.base import failpoints
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.jobs import Job, JobRequest
    from addon.models.schedules import SlotPlan
    from addon.store.database import Database
    from platform_core.base.clock import Clock

KEEP_S = 100 * 86_400.0
"""How long a run is remembered: a job goes 90 days after its end."""
_OWN = 0
"""The run that a slot has by itself."""
_ALIVE = sa.exists(
    sa.select(ACCOUNTS.c.id).where(
        ACCOUNTS.c.id == SCHEDULES.c.account_id, ACCOUNTS.c.state == AccountState.PROVISIONED.value
    )
)


def _schedule(row: Any) -> Schedule:
    spec = ScheduleSpec(
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        type=row.type,
        database=row.database_name,
        query=row.query,
        params=json.loads(row.params),
        delay_s=row.delay_s,
        priority=row.priority,
        retry_limit=row.retry_limit,
        catch_up=row.catch_up,
        enabled=row.enabled,
    )
    return Schedule(
        id=row.id,
        account_id=row.account_id,
        spec=spec,
        revision=row.revision,
        next_slot=row.next_slot,
        missed=row.missed,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _values(spec: ScheduleSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "cron": spec.cron,
        "timezone": spec.timezone,
        "type": spec.type,
        "database_name": spec.database,
        "query": spec.query,
        "params": json.dumps(dict(spec.params)),
        "delay_s": spec.delay_s,
        "priority": spec.priority,
        "retry_limit": spec.retry_limit,
        "catch_up": spec.catch_up,
        "enabled": spec.enabled,
    }


def _waiting_for(slot: int | None, delay_s: int) -> dict[str, Any]:
    return {"next_slot": slot, "due_at": None if slot is None else slot + delay_s}


class ScheduleStore:
    """Schedules by name, and what is due."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def create(self, account_id: int, spec: ScheduleSpec, next_slot: int | None) -> Schedule:
        """Make a schedule that waits for ``next_slot``.

        Raises:
            TakenBy: the account has one of this name.
        """
        now = self._clock.now()
        row = {
            "account_id": account_id,
            "revision": 1,
            "missed": 0,
            "created_at": now,
            "updated_at": now,
            **_values(spec),
            **_waiting_for(next_slot, spec.delay_s),
        }
        try:
            with self._database.write() as connection:
                made = sa.insert(SCHEDULES).values(row).returning(SCHEDULES)
                return _schedule(connection.execute(made).one())
        except sa.exc.IntegrityError as error:
            raise self._taken(account_id, spec.name) from error

    def _taken(self, account_id: int, name: str) -> TakenBy:
        message = f"Schedule {name[:80]!r} exists already."
        other = self.get(account_id, name).id
        return TakenBy(message, other, hint="Choose another name, or update that one.")

    def change(
        self, schedule: Schedule, spec: ScheduleSpec, next_slot: int | None, *, anew: bool
    ) -> Schedule | None:
        """Give a schedule another definition; None when it was changed or deleted since it was read.

        With ``anew`` it waits for ``next_slot`` from now on; else it goes on waiting for the slot it does.

        Raises:
            TakenBy: another one has the new name.
        """
        values = {**_values(spec), "revision": schedule.revision + 1, "updated_at": self._clock.now()}
        if anew:
            values |= _waiting_for(next_slot, spec.delay_s)
        else:
            values["due_at"] = SCHEDULES.c.next_slot + spec.delay_s
        same = sa.and_(SCHEDULES.c.id == schedule.id, SCHEDULES.c.revision == schedule.revision)
        try:
            with self._database.write() as connection:
                changed = sa.update(SCHEDULES).where(same).values(values).returning(SCHEDULES)
                row = connection.execute(changed).one_or_none()
        except sa.exc.IntegrityError as error:
            raise self._taken(schedule.account_id, spec.name) from error
        return None if row is None else _schedule(row)

    def delete(self, account_id: int, name: str) -> Schedule:
        """Delete a schedule and its history; its jobs stay.

        Raises:
            NotFound: the account has no such schedule.
        """
        with self._database.write() as connection:
            found = sa.select(SCHEDULES).where(_named(account_id, name)).with_for_update()
            row = connection.execute(found).one_or_none()
            if row is None:
                raise _missing(name)
            connection.execute(sa.delete(SCHEDULE_RUNS).where(SCHEDULE_RUNS.c.schedule_id == row.id))
            connection.execute(sa.delete(SCHEDULES).where(SCHEDULES.c.id == row.id))
        return _schedule(row)

    def get(self, account_id: int, name: str) -> Schedule:
        """Return a schedule.

        Raises:
            NotFound: the account has no such schedule.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(SCHEDULES).where(_named(account_id, name))).one_or_none()
        if row is None:
            raise _missing(name)
        return _schedule(row)

    def list(self, account_id: int) -> Sequence[Schedule]:
        """Return the account's schedules by name."""
        mine = sa.select(SCHEDULES).where(SCHEDULES.c.account_id == account_id).order_by(SCHEDULES.c.name)
        with self._database.read() as connection:
            return [_schedule(row) for row in connection.execute(mine)]

    def count(self, account_id: int) -> int:
        """Return how many schedules the account has."""
        mine = sa.select(sa.func.count()).where(SCHEDULES.c.account_id == account_id)
        with self._database.read() as connection:
            return connection.execute(mine).scalar_one()

    def due(self, most: int) -> Sequence[Schedule]:
        """Return up to ``most`` schedules whose slots are to be decided now, the oldest slot first."""
        due = sa.select(SCHEDULES).where(SCHEDULES.c.due_at <= self._clock.now(), _ALIVE)
        with self._database.read() as connection:
            rows = connection.execute(due.order_by(SCHEDULES.c.next_slot, SCHEDULES.c.id).limit(most))
            return [_schedule(row) for row in rows]

    def next_due(self) -> float | None:
        """Return when the next slot is to be decided, Unix seconds; None when none is."""
        with self._database.read() as connection:
            earliest = sa.select(sa.func.min(SCHEDULES.c.due_at)).where(_ALIVE)
            found: float | None = connection.execute(earliest).scalar_one()
        return found

    def issue(self, schedule: Schedule, plan: SlotPlan, request: JobRequest) -> Job | None:
        """Carry out ``plan``: note what was skipped, issue the slot's job, wait for the slot that follows.

        One transaction. None when there is nothing to issue: somebody else decided about the slot, changed or
        deleted the schedule, or the account is gone.
        """
        with self._database.write() as connection:
            if not _alive(connection, schedule.account_id) or not _move_on(connection, schedule, plan):
                return None
            failpoints.hit("schedule.claim")
            now = self._clock.now()
            run = {"schedule_id": schedule.id, "slot": plan.slot, "run": _OWN, "decided_at": now}
            if insert_ignoring(connection, SCHEDULE_RUNS, [run]) == 0:
                return None  # the slot had its job before the cron was changed there and back again
            failpoints.hit("schedule.slot")
            job = insert_job(connection, request, now)
            mine = _run_is(schedule.id, plan.slot, _OWN)
            connection.execute(sa.update(SCHEDULE_RUNS).where(mine).values(job_id=job.id))
            failpoints.hit("schedule.issue")
        failpoints.hit("schedule.issued")
        return job

    def postpone(self, schedule: Schedule, until: float) -> None:
        """Decide about the schedule's slot not before ``until`` (Unix seconds)."""
        same = sa.and_(
            SCHEDULES.c.id == schedule.id,
            SCHEDULES.c.revision == schedule.revision,
            SCHEDULES.c.next_slot == schedule.next_slot,
        )
        with self._database.write() as connection:
            connection.execute(sa.update(SCHEDULES).where(same).values(due_at=until))

    def postpone_account(self, account_id: int, until: float) -> None:
        """Decide about none of the account's slots that are due before ``until`` (Unix seconds)."""
        due = sa.and_(SCHEDULES.c.account_id == account_id, SCHEDULES.c.due_at <= self._clock.now())
        with self._database.write() as connection:
            connection.execute(sa.update(SCHEDULES).where(due).values(due_at=until))

    def run(self, schedule: Schedule, requests: Sequence[tuple[int, JobRequest]]) -> Sequence[Job]:
        """Issue jobs that somebody asked for, each for a slot, beside the slots' own; all of them or none.

        Raises:
            NotFound: the schedule was deleted meanwhile, or the account is gone.
        """
        now, jobs = self._clock.now(), []
        with self._database.write() as connection:
            there = sa.select(SCHEDULES.c.id).where(SCHEDULES.c.id == schedule.id).with_for_update()
            if not _alive(connection, schedule.account_id) or connection.execute(there).first() is None:
                raise _missing(schedule.spec.name)
            for slot, request in requests:
                job = insert_job(connection, request, now)
                run = _next_run(connection, schedule.id, slot)
                row = {
                    "schedule_id": schedule.id,
                    "slot": slot,
                    "run": run,
                    "job_id": job.id,
                    "decided_at": now,
                }
                connection.execute(sa.insert(SCHEDULE_RUNS).values(row))
                jobs.append(job)
        return jobs

    def history(self, schedule: Schedule, *, first: int, last: int) -> tuple[Sequence[ScheduledRun], int]:
        """Return the runs ``first`` to ``last`` (both included), newest first, and how many there are."""
        mine = SCHEDULE_RUNS.c.schedule_id == schedule.id
        joined = SCHEDULE_RUNS.join(JOBS, JOBS.c.id == SCHEDULE_RUNS.c.job_id)
        page = (
            sa.select(JOBS, SCHEDULE_RUNS.c.slot, SCHEDULE_RUNS.c.run)
            .select_from(joined)
            .where(mine)
            .order_by(JOBS.c.id.desc())
            .offset(first)
            .limit(last - first + 1)
        )
        with self._database.read() as connection:
            total = sa.select(sa.func.count()).select_from(joined).where(mine)
            runs = [
                ScheduledRun(row.slot, row.run != _OWN, job_from_row(row)) for row in connection.execute(page)
            ]
            return runs, connection.execute(total).scalar_one()

    def expire_old(self) -> None:
        """Forget the runs whose jobs have expired, too."""
        old = SCHEDULE_RUNS.c.decided_at < self._clock.now() - KEEP_S
        with self._database.write() as connection:
            connection.execute(sa.delete(SCHEDULE_RUNS).where(old))

    def forget_account(self, account_id: int) -> None:
        """Delete every schedule of a deprovisioned account."""
        mine = sa.select(SCHEDULES.c.id).where(SCHEDULES.c.account_id == account_id)
        with self._database.write() as connection:
            connection.execute(sa.delete(SCHEDULE_RUNS).where(SCHEDULE_RUNS.c.schedule_id.in_(mine)))
            connection.execute(sa.delete(SCHEDULES).where(SCHEDULES.c.account_id == account_id))


def _alive(connection: sa.Connection, account_id: int) -> bool:
    """Tell whether the account is provisioned, and keep it so until the transaction's end."""
    mine = sa.select(ACCOUNTS.c.state).where(ACCOUNTS.c.id == account_id).with_for_update(read=True)
    return connection.execute(mine).scalar_one_or_none() == AccountState.PROVISIONED.value


def _move_on(connection: sa.Connection, schedule: Schedule, plan: SlotPlan) -> bool:
    """Take the slot: of all who planned the same, one changes the row."""
    unchanged = sa.and_(
        SCHEDULES.c.id == schedule.id,
        SCHEDULES.c.revision == schedule.revision,
        SCHEDULES.c.next_slot == schedule.next_slot,
    )
    values = {
        "missed": SCHEDULES.c.missed + plan.skipped,
        **_waiting_for(plan.following, schedule.spec.delay_s),
    }
    return connection.execute(sa.update(SCHEDULES).where(unchanged).values(values)).rowcount == 1


def _next_run(connection: sa.Connection, schedule_id: int, slot: int) -> int:
    same = sa.and_(SCHEDULE_RUNS.c.schedule_id == schedule_id, SCHEDULE_RUNS.c.slot == slot)
    last = connection.execute(sa.select(sa.func.max(SCHEDULE_RUNS.c.run)).where(same)).scalar_one()
    return _OWN + 1 if last is None else last + 1


def _run_is(schedule_id: int, slot: int, run: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        SCHEDULE_RUNS.c.schedule_id == schedule_id,
        SCHEDULE_RUNS.c.slot == slot,
        SCHEDULE_RUNS.c.run == run,
    )


def _named(account_id: int, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(SCHEDULES.c.account_id == account_id, SCHEDULES.c.name == name)


def _missing(name: str) -> NotFound:
    return NotFound(f"Schedule {name[:80]!r} does not exist.", hint="List your schedules to see their names.")
