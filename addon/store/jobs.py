"""Jobs: what was asked for, who runs it under which lease and epoch, and how it ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.conflicts import TakenBy
from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.store.queue import is_due, take_next
from addon.store.schema import JOB_TURNS, JOBS
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.store.database import Database
    from platform_core.base.clock import Clock

LEASE_S = 30.0
"""A worker that does not renew its lease for this long has lost the job."""
MOST_LOST = 2
"""A job that lost its worker so often is an error: it is queued again once, then it may be what kills."""
_GIVEN_UP = (
    f"The job was given up: it lost its worker {MOST_LOST} times. A worker is lost when its process is"
    " killed, runs out of memory, or its machine goes down.\nIf this job may be the cause, let it read less;"
    " else issue it again.\n"
)
_UNHELD = {"state": JobState.QUEUED.value, "worker": None, "lease_until": None, "progress": None}
"""What a job is set to that goes back into the queue."""


def job_from_row(row: Any) -> Job:
    """Build a job from a row of the jobs table."""
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
        failures=row.failures,
        progress=None if row.progress is None else json.loads(row.progress),
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
    return job_from_row(connection.execute(sa.insert(JOBS).values(row).returning(JOBS)).one())


class JobStore:
    """Jobs by id, and the queue."""

    def __init__(self, database: Database, clock: Clock, *, lease_s: float = LEASE_S) -> None:
        """Read and write ``database``; a worker's lease lasts ``lease_s`` seconds unless it is renewed."""
        self._database = database
        self._clock = clock
        self.lease_s = lease_s

    def now(self) -> float:
        """Return the Unix second that the leases are counted by."""
        return self._clock.now()

    def issue(self, request: JobRequest) -> Job:
        """Queue a job.

        Raises:
            TakenBy: the account has a job with this domain key.
        """
        try:
            with self._database.write() as connection:
                return insert_job(connection, request, self._clock.now())
        except sa.exc.IntegrityError as error:
            raise self._clash(request) from error

    def _clash(self, request: JobRequest) -> TakenBy:
        other = self.by_domain_key(request.account_id, request.domain_key or "").id
        message = f"A job with the domain key {request.domain_key!r} exists already."
        return TakenBy(message, other, hint=f"It is job {other}.")

    def claim(self, worker: str) -> Job | None:
        """Take the next job for :attr:`lease_s`; None when there is none; see :mod:`addon.store.queue`."""
        now = self._clock.now()
        with self._database.write() as connection:
            row = take_next(connection, worker, now=now, until=now + self.lease_s)
        return None if row is None else job_from_row(row)

    def waiting(self) -> bool:
        """Tell whether any job is queued whose time has come; cheap, and takes no lock."""
        statement = sa.select(JOBS.c.id).where(is_due(JOBS, self._clock.now())).limit(1)
        with self._database.read() as connection:
            return connection.execute(statement).first() is not None

    def renew(self, job: Job) -> bool | None:
        """Extend the lease; True when a kill was asked for, None when the lease was lost."""
        mine = self._held(job)
        keep = sa.update(JOBS).where(mine).values(lease_until=self._clock.now() + self.lease_s)
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
            "progress": None,
        }
        with self._database.write() as connection:
            return connection.execute(sa.update(JOBS).where(self._held(job)).values(values)).rowcount == 1

    def report(self, job: Job, progress: Mapping[str, Any]) -> None:
        """Note how far the job has come, for whoever looks; nothing when the lease was lost."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(JOBS).where(self._held(job)).values(progress=json.dumps(dict(progress)))
            )

    def retry(self, job: Job, stderr: str, not_before: float) -> bool:
        """Queue a job once more that ended as an error, not to be taken before a Unix second.

        Return False when the lease was lost or somebody asked to kill it: then it is not queued.
        """
        wanted = sa.and_(self._held(job), JOBS.c.kill_requested.is_(False))
        again = _UNHELD | {
            "failures": JOBS.c.failures + 1,
            "not_before": not_before,
            "stderr": stderr,
        }
        with self._database.write() as connection:
            return connection.execute(sa.update(JOBS).where(wanted).values(again)).rowcount == 1

    def release(self, job: Job) -> None:
        """Put a job back into the queue, unfinished; its worker stops in order, which is no death."""
        with self._database.write() as connection:
            connection.execute(sa.update(JOBS).where(self._held(job)).values(_UNHELD))

    def requeue_lost(self, *, but_not: Sequence[int] = (), alone: bool = False) -> int:
        """Queue the jobs whose lease ran out once more; make errors of those that this befell before.

        One that was to be killed is killed. Return how many.

        ``but_not`` are the jobs that the caller runs itself. A caller that knows that no other process takes
        jobs says that it is ``alone``: then every other running job is lost, whatever its lease says.
        """
        now = self._clock.now()
        lost = sa.and_(
            JOBS.c.state == JobState.RUNNING.value,
            sa.true() if alone else JOBS.c.lease_until < now,
            JOBS.c.id.not_in(list(but_not)),
        )
        ended = {"ended_at": now, "lease_until": None, "progress": None, "lost": JOBS.c.lost + 1}
        killed = sa.update(JOBS).where(lost, JOBS.c.kill_requested.is_(True))
        hopeless = sa.update(JOBS).where(lost, JOBS.c.lost + 1 >= MOST_LOST)
        with self._database.write() as connection:
            count = connection.execute(killed.values(ended | _state(JobState.KILLED))).rowcount
            failed = ended | _state(JobState.ERROR) | {"stderr": _GIVEN_UP}
            count += connection.execute(hopeless.values(failed)).rowcount
            again = sa.update(JOBS).where(lost).values(_UNHELD | {"lost": JOBS.c.lost + 1})
            return count + connection.execute(again).rowcount

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
        return job_from_row(row)

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
        return job_from_row(row)

    def list(
        self,
        account_id: int,
        *,
        first: int,
        last: int,
        state: JobState | None = None,
        kind: str | None = None,
        query: str | None = None,
    ) -> tuple[Sequence[Job], int]:
        """Return jobs ``first`` to ``last`` (both included), newest first, and how many there are in all.

        ``kind`` is a job's type, ``query`` its whole text.
        """
        mine = JOBS.c.account_id == account_id
        for column, wanted in ((JOBS.c.state, state), (JOBS.c.type, kind), (JOBS.c.query, query)):
            if wanted is not None:
                mine = sa.and_(mine, column == str(wanted))
        page = sa.select(JOBS).where(mine).order_by(JOBS.c.id.desc()).offset(first).limit(last - first + 1)
        with self._database.read() as connection:
            total = connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
            return [job_from_row(row) for row in connection.execute(page)], total

    def ended_before(self, before: float, kind: str) -> Sequence[Job]:
        """Return the jobs of a type, of all accounts, that ended before a Unix second."""
        final = [state.value for state in JobState if state.final]
        old = sa.and_(JOBS.c.state.in_(final), JOBS.c.ended_at < before, JOBS.c.type == kind)
        with self._database.read() as connection:
            return [job_from_row(row) for row in connection.execute(sa.select(JOBS).where(old))]

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
            connection.execute(sa.delete(JOB_TURNS).where(JOB_TURNS.c.account_id == account_id))

    @staticmethod
    def _held(job: Job) -> sa.ColumnElement[bool]:
        return sa.and_(JOBS.c.id == job.id, JOBS.c.epoch == job.epoch, JOBS.c.state == JobState.RUNNING.value)


def _state(state: JobState) -> dict[str, str]:
    return {"state": state.value}


def _no_job(job_id: int) -> NotFound:
    return NotFound(f"Job {job_id} does not exist.", hint="List your jobs to see their ids.")
