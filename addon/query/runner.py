"""Takes jobs from the queue and runs them: the worker role."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from addon.models.accounts import AccountState
from addon.models.jobs import Job, JobOutcome, JobRequest, JobState
from addon.query.deletes import is_delete
from addon.query.results import one_row, result_file, writing_result
from addon.query.service import Query, QueryService, shown_columns
from addon.query.worker import QueryFailed, QueueFull
from platform_core.base.errors import NotFound, SluiceError, Unavailable, UserError
from platform_core.base.ids import new_uuid
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from addon.models.accounts import Account
    from addon.query.delete_job import Deleter
    from addon.store.accounts import AccountStore
    from addon.store.jobs import JobStore

_log = get_logger(__name__)
_POLL_S = 0.5
"""A lost wake-up costs no more than this."""
_HEARTBEATS = 3
"""Of one lease: it outlives two that are lost."""
_LONGEST_RETRY_S = 300.0
MAX_QUEUED = 100
"""Jobs that may wait per account."""


class Execution(Protocol):
    """Runs one type of job."""

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        """Run the job to its end.

        Raises:
            UserError: it was refused.
            QueryFailed: it failed, or was killed.
        """


class SqlExecution:
    """Runs a query job; its result is stored once, as msgpack.gz."""

    def __init__(self, service: QueryService, results: Path, deleter: Deleter | None = None) -> None:
        """Store results below ``results``; without a ``deleter``, DELETE is refused like other writes."""
        self._service = service
        self._results = results
        self._deleter = deleter

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        """Run the query."""
        path = result_file(self._results, account.id, job.id, job.epoch)
        request = job.request
        query = Query(request.query, request.type, request.database, scheduled=request.scheduled_time)
        with writing_result(path) as file:
            if self._deleter is not None and is_delete(request.query):
                reply = await self._deleter.run(account, job, kill)
                file.write(one_row([reply.rows]))
                file.flush()
            else:
                reply = await self._service.execute(account, query, file.fileno(), kill)
            await asyncio.to_thread(os.fsync, file.fileno())
        return JobOutcome(
            JobState.SUCCESS,
            num_records=reply.rows,
            result_size=path.stat().st_size,
            result_schema=shown_columns(reply, request.type),
            result_path=str(path.relative_to(self._results)),
            cmdout=f"{reply.rows} rows in {reply.seconds:.3f} s\n",
            stderr="".join(f"Warning: {text}\n" for text in reply.warnings),
        )


class JobRunner:
    """Issues, runs, kills and waits for jobs. One per process; several processes may share the queue."""

    def __init__(
        self,
        store: JobStore,
        accounts: AccountStore,
        executions: Mapping[str, Execution],
        *,
        slots: int,
        watch: bool = False,
        retry_s: float = 5.0,
    ) -> None:
        """Run at most ``slots`` jobs at once; ``executions`` by job type, ``""`` for all others.

        With ``watch``, kills through other processes are looked for twice a second. A job that ended as an
        error and may be tried again waits ``retry_s``, each time twice as long, at most five minutes.
        """
        self._retry_s = retry_s
        self._heartbeat_s = store.lease_s / _HEARTBEATS
        self._store = store
        self._accounts = accounts
        self._executions = executions
        self._free = asyncio.Semaphore(slots)
        self._wake = asyncio.Event()
        self._name = new_uuid()
        self._kills: dict[int, asyncio.Event] = {}
        self._watchers: dict[int, list[asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._watch = watch
        self._look_for_lost = 0.0

    async def start(self, *, alone: bool = False) -> None:
        """Begin to take jobs; ``alone`` says that no other process does, so that who had one is dead."""
        if alone:
            await asyncio.to_thread(self._store.requeue_lost, alone=True)
        self._main = asyncio.create_task(self._take_jobs())
        if self._watch:
            self._watcher = asyncio.create_task(self._watch_kills())

    async def issue(self, request: JobRequest) -> Job:
        """Queue a job and wake the runner.

        Raises:
            QueueFull: too many jobs of the account wait.
            Conflict: the domain key was used.
        """
        await self.check_room(request.account_id)
        job = await asyncio.to_thread(self._store.issue, request)
        self.wake()
        return job

    async def check_room(self, account_id: int) -> None:
        """Check that another job of the account may be queued.

        Raises:
            QueueFull: too many wait.
        """
        if await asyncio.to_thread(self._store.queued_count, account_id) >= MAX_QUEUED:
            raise QueueFull(
                f"{MAX_QUEUED} jobs of the account wait already.", hint="Retry when some have ended."
            )

    def wake(self) -> None:
        """Look for queued jobs now."""
        self._wake.set()

    async def wait_final(self, account_id: int, job_id: int, timeout_s: float) -> Job:
        """Return the job as soon as it ended here, or as it stands after ``timeout_s``.

        Raises:
            NotFound: the account has no such job.
        """
        event = asyncio.Event()
        watchers = self._watchers.setdefault(job_id, [])
        watchers.append(event)
        try:
            job = await asyncio.to_thread(self._store.get, account_id, job_id)
            if job.state.final:
                return job
            until = time.monotonic() + timeout_s
            while (left := until - time.monotonic()) > 0:
                with suppress(TimeoutError):  # another process may run it, whose end nobody announces here
                    async with asyncio.timeout(min(left, _POLL_S)):
                        await event.wait()
                event.clear()
                job = await asyncio.to_thread(self._store.get, account_id, job_id)
                if job.state.final:
                    break
            return job
        finally:
            watchers.remove(event)
            if not watchers:
                self._watchers.pop(job_id, None)

    async def kill(self, account_id: int, job_id: int) -> JobState:
        """Kill a job and return the state it was in.

        Raises:
            NotFound: the account has no such job.
        """
        former = await asyncio.to_thread(self._store.request_kill, account_id, job_id)
        if job_id in self._kills:
            self._kills[job_id].set()
        if former is JobState.QUEUED:
            self._announce(job_id)
        return former

    async def _take_jobs(self) -> None:
        while True:
            await self._free.acquire()
            job = None
            try:
                job = await asyncio.to_thread(self._claim)
            except Exception:  # noqa: BLE001  (the queue must outlive a database that is away for a while)
                _log.exception("job_claim_failed")
            if job is None:
                self._free.release()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._wake.wait()
                self._wake.clear()
                continue
            task = asyncio.create_task(self._run(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _claim(self) -> Job | None:
        if time.monotonic() >= self._look_for_lost:
            self._look_for_lost = time.monotonic() + self._heartbeat_s
            self._store.requeue_lost(but_not=list(self._kills))
        return self._store.claim(self._name) if self._store.waiting() else None

    async def _run(self, job: Job) -> None:
        kill = self._kills[job.id] = asyncio.Event()
        heartbeat = asyncio.create_task(self._keep_lease(job, kill))
        try:
            outcome = await self._outcome(job, kill)
            if not await asyncio.to_thread(self._settle, job, outcome):
                _log.warning("job_lease_lost", job_id=job.id, epoch=job.epoch)
        except asyncio.CancelledError:  # we are stopping: another process, or the next start, runs it again
            self._store.release(job)
            raise
        except Exception:  # noqa: BLE001  (the job comes back when its lease has run out)
            _log.exception("job_finish_failed", job_id=job.id)
        finally:
            heartbeat.cancel()
            self._kills.pop(job.id, None)
            self._free.release()
            self._announce(job.id)
            self._wake.set()

    def _settle(self, job: Job, outcome: JobOutcome) -> bool:
        """Queue a failed job again where its retry limit says so, else publish how it ended."""
        limit, failed = job.request.retry_limit, job.failures + 1
        if outcome.state is not JobState.ERROR or limit == 0 or outcome.refused:
            return self._store.finish(job, outcome)
        if failed <= limit:
            pause = min(self._retry_s * 2.0 ** min(job.failures, 32), _LONGEST_RETRY_S)
            text = (
                f"{outcome.stderr}Attempt {failed} of {limit + 1} failed; the next one is in {pause:g} s.\n"
            )
            if self._store.retry(job, text, self._store.now() + pause):
                return True
        text = f"{outcome.stderr}The job was given up after {failed} attempts.\n"
        return self._store.finish(job, replace(outcome, stderr=text))

    async def _outcome(self, job: Job, kill: asyncio.Event) -> JobOutcome:
        try:
            account = await asyncio.to_thread(self._accounts.get, job.request.account_id)
            if account.state is not AccountState.PROVISIONED:
                return JobOutcome(JobState.KILLED, stderr="The account was deprovisioned.\n")
            execution = self._executions.get(job.request.type, self._executions[""])
            return await execution.run(account, job, kill)
        except QueryFailed as error:
            state = JobState.KILLED if error.kind == "killed" else JobState.ERROR
            return JobOutcome(state, stderr=f"{error}\n", refused=error.kind == "refused")
        except (UserError, Unavailable) as error:
            # What is not there may be there at the next attempt; what is not allowed stays so.
            refused = isinstance(error, UserError) and not isinstance(error, NotFound)
            return JobOutcome(JobState.ERROR, stderr=f"{error}\n", refused=refused)
        except SluiceError as error:
            _log.exception("job_failed", job_id=job.id)
            return JobOutcome(JobState.ERROR, stderr=f"{error}\n")
        except Exception:  # noqa: BLE001  (a job's crash is the job's error, not the runner's)
            _log.exception("job_crashed", job_id=job.id)
            text = "The job failed for a reason of ours; it is in the service's log.\n"
            return JobOutcome(JobState.ERROR, stderr=text)

    async def _keep_lease(self, job: Job, kill: asyncio.Event) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            try:
                if await asyncio.to_thread(self._store.renew, job) is not False:
                    kill.set()  # asked for through another process, or the lease was lost
            except Exception:  # noqa: BLE001  (the lease outlives two lost heartbeats)
                _log.exception("job_lease_not_renewed", job_id=job.id)

    async def _watch_kills(self) -> None:
        """Kill what is asked for through other processes, as soon as it is."""
        while True:
            await asyncio.sleep(_POLL_S)
            if not self._kills:
                continue
            try:
                for job_id in await asyncio.to_thread(self._store.kills_among, list(self._kills)):
                    if job_id in self._kills:
                        self._kills[job_id].set()
            except Exception:  # noqa: BLE001  (the heartbeats look, too)
                _log.exception("job_kills_not_seen")

    def _announce(self, job_id: int) -> None:
        for event in self._watchers.get(job_id, []):
            event.set()

    async def close(self, grace_s: float) -> None:
        """Stop taking jobs; running ones get ``grace_s`` to end, the others come back by their lease."""
        for task in (self._main, self._watcher):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
