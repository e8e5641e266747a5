"""Runs a perform as a job of the queue; a repeat after a crash begins anew and leaves nothing doubled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from addon.bulk.staging import BrokenPart
from addon.models.bulk import BulkState, WrongState
from addon.models.jobs import JobOutcome, JobState
from addon.query.worker import QueryFailed
from platform_core.base import failpoints
from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from addon.bulk.activity import Activity
    from addon.bulk.staging import Staging
    from addon.models.accounts import Account
    from addon.models.bulk import BulkSession, Performed
    from addon.models.jobs import Job
    from addon.store.bulk import BulkStore


class PerformExecution:
    """Implements :class:`addon.query.runner.Execution` for perform jobs."""

    def __init__(self, store: BulkStore, staging: Staging, activity: Activity) -> None:
        """Stage with ``staging``, publish in ``store``."""
        self._store = store
        self._staging = staging
        self._activity = activity

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> JobOutcome:
        """Stage the session's parts and make it ready.

        Raises:
            UserError: the session is gone or another job's, its table is gone, or a part cannot be read.
            QueryFailed: it was killed.
        """
        token = str(job.request.params["session"])
        with self._activity.working(account.id) as stop:

            def stopped() -> None:
                if kill.is_set() or stop.is_set():
                    raise QueryFailed("killed", "The job was killed.")

            try:
                return await asyncio.to_thread(self._perform, token, job, stopped)
            except asyncio.CancelledError:
                stop.set()  # the thread goes on otherwise
                raise

    def _perform(self, token: str, job: Job, stopped: Callable[[], None]) -> JobOutcome:
        session = self._store.by_token(token)
        if session is None:
            raise NotFound("The bulk import session was deleted.")
        if session.state is BulkState.READY and session.job_id == job.id and session.performed is not None:
            return _outcome(session.performed, "")  # published before a crash
        if session.state is not BulkState.PERFORMING or session.job_id != job.id:
            raise WrongState(f"The bulk import session {session.name!r} is not this job's any more.")
        done, note = self._stage(session, job, stopped)
        failpoints.hit("bulk.perform.pre_publish")
        self._store.finish_perform(session, job.id, done)
        failpoints.hit("bulk.perform.post_publish")
        return _outcome(done, note)

    def _stage(self, session: BulkSession, job: Job, stopped: Callable[[], None]) -> tuple[Performed, str]:
        try:
            return self._staging.stage(session, stopped)
        except BrokenPart:
            self._store.note_broken_part(session, job.id)
            raise


def _outcome(done: Performed, note: str) -> JobOutcome:
    return JobOutcome(JobState.SUCCESS, num_records=done.valid_records, cmdout=note)
