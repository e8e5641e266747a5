"""Sessions as the routes see them: parts onto the disk, commits that go on after their request, upkeep."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from addon.bulk.blocks import count_objects
from addon.bulk.files import SWEEP_AFTER_S
from addon.models.bulk import (
    JOB_TYPE,
    Action,
    BulkPart,
    BulkSession,
    BulkState,
    check_part_name,
    check_session_name,
)
from addon.models.jobs import Job, JobRequest
from platform_core.base import failpoints
from platform_core.base.errors import InvalidInput, UserError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from addon.bulk.activity import Activity
    from addon.bulk.commit import Committer
    from addon.bulk.rooms import BulkRooms
    from addon.models.accounts import Account
    from addon.models.tables import TableRef

KEEP_S = 30 * 86_400.0
"""A session that nobody touched for so long is deleted; Treasure Data keeps them as long."""
MAX_SESSIONS = 1_000
"""Sessions of one account."""
MAX_PARTS = 10_000
"""Parts of one session."""
_RETRY_S = 2.0
COMMIT_FAILED = "bulk_commit_failed"
_log = get_logger(__name__)


class Stopping(Exception):
    """The work ends here."""


class BulkService:
    """Every call of a session but those that only read the store."""

    def __init__(self, rooms: BulkRooms, committer: Committer, activity: Activity) -> None:
        """Take the rooms that sessions touch."""
        self.store, self.files = rooms.store, rooms.files
        self._catalog, self._clock = rooms.catalog, rooms.clock
        self._committer = committer
        self._activity = activity
        self._commits: dict[str, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Go on with the commits that an earlier run began."""
        for session in await asyncio.to_thread(self.store.committing):
            self._begin(session)

    async def close(self) -> None:
        """Stop; a commit that is not finished goes on with the next start."""
        self._closing.set()
        for task in self._commits.values():
            task.cancel()
        await asyncio.gather(*self._commits.values(), return_exceptions=True)

    # Calls; blocking but for commit
    # ------------------------------------------------------------------------------------------------------

    def create(self, ref: TableRef, name: str) -> BulkSession:
        """Create a session for a table that exists.

        Raises:
            InvalidInput: the name breaks the rule.
            NotFound: there is no such table.
            Conflict: the account has such a session.
        """
        check_session_name(name)
        self._catalog.table(ref)
        return self.store.create(ref, name, most=MAX_SESSIONS)

    def may_upload(self, account_id: int, name: str, part: str) -> BulkSession:
        """Return the session when it would take the part, before the part's bytes are read.

        Raises:
            NotFound, WrongState, InvalidInput: it would not.
        """
        check_part_name(part)
        return self.store.check(account_id, name, Action.UPLOAD_PART)

    def keep_part(self, session: BulkSession, name: str, draft: Path) -> BulkPart:
        """Make a whole uploaded draft a part of the session, in place of one of the same name.

        Raises:
            InvalidInput, TooLarge: it is no gzip stream of msgpack records, or over a limit.
            NotFound, WrongState: the session does not take it any more.
        """
        records = count_objects(draft)
        size = draft.stat().st_size
        file = self.files.keep(session, draft)
        part = BulkPart(name, file, size, records)
        try:
            before = self.store.put_part(session, part, most=MAX_PARTS)
        except UserError:
            self.files.remove(session, [file])
            raise
        failpoints.hit("bulk.file.named")
        if before is not None:
            self.files.remove(session, [before])
        return part

    def delete_part(self, account_id: int, name: str, part: str) -> None:
        """Delete a part.

        Raises:
            NotFound, WrongState: there is none, or the session's parts cannot be changed.
        """
        session, file = self.store.delete_part(account_id, name, part)
        self.files.remove(session, [file])

    def begin_perform(self, account: Account, name: str, priority: int) -> Job:
        """Queue the job that performs a session.

        Raises:
            NotFound, WrongState: there is none, or it cannot be performed now.
            InvalidInput: it has no parts.
        """
        session = self.store.check(account.id, name, Action.PERFORM)
        self._catalog.table(session.ref)
        if not self.store.parts(session.id):
            raise InvalidInput(
                f"The bulk import session {name!r} has no parts.", hint="Unfreeze it and upload some."
            )
        request = JobRequest(
            account_id=account.id,
            type=JOB_TYPE,
            database=session.database,
            query=f"{session.database}.{session.table}",
            max_running=account.plan.concurrent_queries,
            params={"session": session.token, "name": session.name},
            priority=priority,
        )
        return self.store.begin_perform(session, request)

    async def commit(self, account_id: int, name: str, hold_s: float) -> BulkSession:
        """Begin a commit, or join one; return the session as it is when done or after ``hold_s``.

        Raises:
            NotFound, WrongState: there is no such session, its table is gone, or it was not performed.
        """
        session = await asyncio.to_thread(self.store.begin_commit, account_id, name)
        if session.state is BulkState.COMMITTING:
            task = self._begin(session)
            with suppress(TimeoutError):
                async with asyncio.timeout(hold_s):
                    await asyncio.shield(task)
        return await asyncio.to_thread(self.store.get, account_id, name)

    def delete(self, account_id: int, name: str) -> None:
        """Delete a session with all it kept.

        Raises:
            NotFound, WrongState: there is none, or it is being performed or committed.
        """
        session = self.store.delete(account_id, name)
        failpoints.hit("bulk.delete.files")
        self.files.remove_all(session)

    # Commits
    # ------------------------------------------------------------------------------------------------------

    def _begin(self, session: BulkSession) -> asyncio.Task[None]:
        task = self._commits.get(session.token)
        if task is None:
            task = self._commits[session.token] = asyncio.create_task(self._commit(session))
            task.add_done_callback(lambda done: self._ended(session.token, done))
        return task

    def _ended(self, token: str, task: asyncio.Task[None]) -> None:
        self._commits.pop(token, None)
        if not task.cancelled():
            task.exception()  # seen here, in case that nobody waits for it

    async def _commit(self, session: BulkSession) -> None:
        """Commit; what may pass by itself is tried again until it works."""
        with self._activity.working(session.account_id) as stop:
            while not stop.is_set() and not await self._try_to_commit(session, stop):
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S):
                        await self._closing.wait()

    async def _try_to_commit(self, session: BulkSession, stop: threading.Event) -> bool:
        """Commit; False when it may work later.

        Raises:
            UserError: it cannot; the session is ready again.
        """

        def stopped() -> None:
            if stop.is_set():
                raise Stopping

        try:
            await asyncio.to_thread(self._committer.commit, session.token, stopped)
        except asyncio.CancelledError:
            stop.set()  # the thread goes on otherwise
            raise
        except Stopping:
            return True
        except UserError:
            await asyncio.to_thread(self.store.cancel_commit, session)
            raise
        except Exception:  # noqa: BLE001  (disk, database or a bug: the rows wait, nothing is lost)
            _log.exception(COMMIT_FAILED, session=session.id, account=session.account_id)
            return False
        return True

    # Upkeep; blocking
    # ------------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Delete abandoned sessions, and files that a crash left."""
        gone = self.store.expire(self._clock.now() - KEEP_S)
        for session in gone:
            self.files.remove_all(session)
        left = self.files.sweep(self._named_files, self._clock.now() - SWEEP_AFTER_S)
        if gone or left:
            _log.info("bulk_sessions_expired", sessions=len(gone), leftover_files=left)

    def _named_files(self, token: str) -> set[str]:
        session = self.store.by_token(token)
        if session is None:
            return set()
        errors = session.performed.errors_file if session.performed is not None else None
        parts = () if session.state is BulkState.COMMITTED else self.store.parts(session.id)
        return {part.file for part in parts} | ({errors} if errors is not None else set())

    def erase(self, account_id: int) -> None:
        """Delete everything of a deprovisioned account; its work is stopped first.

        Raises:
            Unavailable: the work does not stop; call again.
        """
        self.store.forget_account(account_id)
        self._activity.stop(account_id)
        self.files.remove_account(account_id)
