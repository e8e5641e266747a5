"""The job queue: a table, claimed with a lease and fenced by an epoch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.store.database import Turn, take_turn
from addon.store.schema import JOBS
from platform_core.base.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.store.database import Database
    from platform_core.base.clock import Clock

LEASE_S = 30.0
"""A worker that does not renew its lease for this long has lost the job."""
MOST_LOST = 2
"""A job that lost its worker so often is an error: it is queued again once, then it may be what kills."""


def _job(row: Any) -> Job:
    request = JobRequest(
        account_id=row.account_id,
        type=row.type,
        database=row.database_name,
        query=row.query,
        max_running=row.max_running,
        params=json.loads(row.params),
        priority=row.priority,
        retry_limit=row.retry_limit,
        domain_key=row.domain_key,
        scheduled_time=row.scheduled_time,
    )
    schema = [(name, kind) for name, kind in json.loads(row.result_schema or "[]")]
    return Job(
        id=row.id,
        request=request,
        state=JobState(row.state),
        epoch=row.epoch,
        kill_requested=row.kill_requested,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        num_records=row.num_records,
        result_size=row.result_size,
        result_schema=schema,
        result_path=row.result_path,
        stderr=row.stderr,
        cmdout=row.cmdout,
    )


def insert_job(connection: sa.Connection, request: JobRequest, now: float) -> Job:
    """Queue a job within a caller's transaction."""
    row = {
        "account_id": request.account_id,
        "type": request.type,
        "database_name": request.database,
        "query": request.query,
        "params": json.dumps(dict(request.params)),
        "priority": request.priority,
        "retry_limit": request.retry_limit,
        "domain_key": request.domain_key,
        "scheduled_time": request.scheduled_time,
        "max_running": request.max_running,
        "state": JobState.QUEUED.value,
        "epoch": 0,
        "kill_requested": False,
        "created_at": now,
        "stderr": "",
        "cmdout": "",
    }
    return _job(connection.execute(sa.insert(JOBS).values(row).returning(JOBS)).one())


class JobStore:
    """Jobs by id, and the queue."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def issue(self, request: JobRequest) -> Job:
        """Queue a job.

        Raises:
            Conflict: the account has a job with this domain key; its id is in the hint.
        """
        try:
            with self._database.write() as connection:
                return insert_job(connection, request, self._clock.now())
        except sa.exc.IntegrityError as error:
            message = f"A job with the domain key {request.domain_key!r} exists already."
            raise Conflict(message, hint=self._clash(request)) from error

    def _clash(self, request: JobRequest) -> str | None:
        if request.domain_key is None:
            return None
        return str(self.by_domain_key(request.account_id, request.domain_key).id)

    def claim(self, worker: str) -> Job | None:
        """Take the next job whose account is below its limit, for :data:`LEASE_S`; None when there is none.

        One statement, so that no two workers take the same (job, epoch).
        """
        now = self._clock.now()
        queued = JOBS.alias("queued")
        running = JOBS.alias("running")
        busy = (
            sa.select(sa.func.count())
            .where(running.c.account_id == queued.c.account_id, running.c.state == JobState.RUNNING.value)
            .scalar_subquery()
        )
        following = (
            sa.select(queued.c.id)
            .where(queued.c.state == JobState.QUEUED.value, busy < queued.c.max_running)
            .order_by(queued.c.priority.desc(), queued.c.id)
            .limit(1)
        )
        if self._database.engine.dialect.name == "postgresql":
            following = following.with_for_update(skip_locked=True, of=queued)
        take = (
            sa.update(JOBS)
            .where(JOBS.c.id == following.scalar_subquery(), JOBS.c.state == JobState.QUEUED.value)
            .values(
                state=JobState.RUNNING.value,
                worker=worker,
                lease_until=now + LEASE_S,
                epoch=JOBS.c.epoch + 1,
                started_at=sa.func.coalesce(JOBS.c.started_at, now),
            )
            .returning(JOBS)
        )
        with self._database.write() as connection:
            take_turn(connection, Turn.CLAIM_JOB)  # or two workers would count the running ones alike
            row = connection.execute(take).one_or_none()
        return None if row is None else _job(row)

    def waiting(self) -> bool:
        """Tell whether any job is queued; cheap, and takes no lock."""
        statement = sa.select(JOBS.c.id).where(JOBS.c.state == JobState.QUEUED.value).limit(1)
        with self._database.read() as connection:
            return connection.execute(statement).first() is not None

    def renew(self, job: Job) -> bool | None:
        """Extend the lease; True when a kill was asked for, None when the lease was lost."""
        mine = self._held(job)
        keep = sa.update(JOBS).where(mine).values(lease_until=self._clock.now() + LEASE_S)
        with self._database.write() as connection:
            return connection.execute(keep.returning(JOBS.c.kill_requested)).scalar_one_or_none()

    def kills_among(self, jobs: Sequence[int]) -> Sequence[int]:
        """Return those of ``jobs`` that somebody asked to kill, through whatever process."""
        asked = sa.and_(JOBS.c.id.in_(list(jobs)), JOBS.c.kill_requested.is_(True))
        with self._database.read() as connection:
            return connection.execute(sa.select(JOBS.c.id).where(asked)).scalars().all()

    def finish(self, job: Job, outcome: JobOutcome) -> bool:
        """Publish how the job ended; False when the lease was lost and another worker has it."""
        values = {
            "state": outcome.state.value,
            "ended_at": self._clock.now(),
            "lease_until": None,
            "num_records": outcome.num_records,
            "result_size": outcome.result_size,
            "result_schema": json.dumps([list(column) for column in outcome.result_schema]),
            "result_path": outcome.result_path,
            "stderr": outcome.stderr,
            "cmdout": outcome.cmdout,
        }
        with self._database.write() as connection:
            return connection.execute(sa.update(JOBS).where(self._held(job)).values(values)).rowcount == 1

    def release(self, job: Job) -> None:
        """Put a job back into the queue, unfinished; its worker stops in order, which is no death."""
        again = {"state": JobState.QUEUED.value, "worker": None, "lease_until": None}
        with self._database.write() as connection:
            connection.execute(sa.update(JOBS).where(self._held(job)).values(again))

    def requeue_lost(self, *, but_not: Sequence[int] = ()) -> int:
        """Queue the jobs whose lease ran out once more; make errors of those that this befell before.

        Return how many.

        ``but_not`` are the jobs that the caller runs itself.
        """
        lost = sa.and_(
            JOBS.c.state == JobState.RUNNING.value,
            JOBS.c.lease_until < self._clock.now(),
            JOBS.c.id.not_in(list(but_not)),
        )
        failed = {
            "state": JobState.ERROR.value,
            "ended_at": self._clock.now(),
            "lost": JOBS.c.lost + 1,
            "stderr": f"The job was given up: it lost its worker {MOST_LOST} times.\n",
        }
        again = {
            "state": JobState.QUEUED.value,
            "worker": None,
            "lease_until": None,
            "lost": JOBS.c.lost + 1,
        }
        with self._database.write() as connection:
            hopeless = sa.and_(lost, JOBS.c.lost + 1 >= MOST_LOST)
            count = connection.execute(sa.update(JOBS).where(hopeless).values(failed)).rowcount
            return count + connection.execute(sa.update(JOBS).where(lost).values(again)).rowcount

    def request_kill(self, account_id: int, job_id: int) -> JobState:
        """Kill a queued job at once, ask the worker of a running one to; return the state before.

        Raises:
            NotFound: the account has no such job.
        """
        mine = sa.and_(JOBS.c.id == job_id, JOBS.c.account_id == account_id)
        killed = {"state": JobState.KILLED.value, "ended_at": self._clock.now(), "kill_requested": True}
        with self._database.write() as connection:
            row = connection.execute(sa.select(JOBS.c.state).where(mine).with_for_update()).one_or_none()
            if row is None:
                raise _no_job(job_id)
            former = JobState(row.state)
            if former is JobState.QUEUED:
                connection.execute(sa.update(JOBS).where(mine).values(killed))
            elif former is JobState.RUNNING:
                connection.execute(sa.update(JOBS).where(mine).values(kill_requested=True))
        return former

    def get(self, account_id: int, job_id: int) -> Job:
        """Return a job of the account.

        Raises:
            NotFound: the account has no such job; whether another has it is not told.
        """
        with self._database.read() as connection:
            mine = sa.and_(JOBS.c.id == job_id, JOBS.c.account_id == account_id)
            row = connection.execute(sa.select(JOBS).where(mine)).one_or_none()
        if row is None:
            raise _no_job(job_id)
        return _job(row)

    def by_domain_key(self, account_id: int, domain_key: str) -> Job:
        """Return the account's job with this domain key.

        Raises:
            NotFound: there is none.
        """
        mine = sa.and_(JOBS.c.domain_key == domain_key, JOBS.c.account_id == account_id)
        with self._database.read() as connection:
            row = connection.execute(sa.select(JOBS).where(mine)).one_or_none()
        if row is None:
            raise NotFound(f"There is no job with the domain key {domain_key[:140]!r}.")
        return _job(row)

    def list(
        self, account_id: int, *, first: int, last: int, state: JobState | None = None
    ) -> tuple[Sequence[Job], int]:
        """Return jobs ``first`` to ``last`` (both included), newest first, and how many there are in all."""
        mine = JOBS.c.account_id == account_id
        if state is not None:
            mine = sa.and_(mine, JOBS.c.state == state.value)
        page = sa.select(JOBS).where(mine).order_by(JOBS.c.id.desc()).offset(first).limit(last - first + 1)
        with self._database.read() as connection:
            total = connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
            return [_job(row) for row in connection.execute(page)], total

    def queued_count(self, account_id: int) -> int:
        """Return how many jobs of the account wait."""
        mine = sa.and_(JOBS.c.account_id == account_id, JOBS.c.state == JobState.QUEUED.value)
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()

    def expire(self, before: float) -> int:
        """Delete the jobs that ended before ``before``; return how many."""
        final = [state.value for state in JobState if state.final]
        old = sa.and_(JOBS.c.state.in_(final), JOBS.c.ended_at < before)
        with self._database.write() as connection:
            return connection.execute(sa.delete(JOBS).where(old)).rowcount

    def forget_account(self, account_id: int) -> None:
        """Delete every job of a deprovisioned account."""
        with self._database.write() as connection:
            connection.execute(sa.delete(JOBS).where(JOBS.c.account_id == account_id))

    @staticmethod
    def _held(job: Job) -> sa.ColumnElement[bool]:
        return sa.and_(JOBS.c.id == job.id, JOBS.c.epoch == job.epoch, JOBS.c.state == JobState.RUNNING.value)


def _no_job(job_id: int) -> NotFound:
    return NotFound(f"Job {job_id} does not exist.", hint="List your jobs to see their ids.")
