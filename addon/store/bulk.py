"""Bulk import sessions and their parts; each change is one transaction that looks at the state first."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.bulk import (
    Action,
    BulkPart,
    BulkSession,
    BulkState,
    Performed,
    StagedFile,
    check_action,
)
from addon.models.jobs import JobState
from addon.models.tables import TableRef
from addon.store.database import insert_ignoring
from addon.store.jobs import insert_job
from addon.store.schema import BULK_PARTS, BULK_SESSIONS, JOBS, TABLES
from addon.store.stored_rows import count_rows
from platform_core.base.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.jobs import Job, JobRequest
    from addon.models.tables import Column
    from addon.store.database import Database
    from platform_core.base.clock import Clock

_FINAL = [state.value for state in JobState if state.final]


def _performed(text: str | None) -> Performed | None:
    if text is None:
        return None
    values = json.loads(text)
    files = tuple(StagedFile(**one) for one in values.pop("files"))
    return Performed(files=files, **values)


def _session(row: Any) -> BulkSession:
    return BulkSession(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        token=row.token,
        database=row.database_name,
        table=row.table_name,
        state=BulkState(row.state),
        frozen=row.frozen,
        job_id=row.job_id,
        error_parts=row.error_parts,
        performed=_performed(row.performed),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class BulkStore:
    """Sessions by account and name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    # The session

    def create(self, ref: TableRef, name: str, *, most: int) -> BulkSession:
        """Create a session.

        Raises:
            Conflict: the account has one of this name, or ``most`` sessions already.
        """
        now = self._clock.now()
        row = {
            "account_id": ref.account_id,
            "name": name,
            "token": uuid.uuid4().hex,
            "database_name": ref.database,
            "table_name": ref.table,
            "state": BulkState.UPLOADING.value,
            "frozen": False,
            "error_parts": 0,
            "created_at": now,
            "updated_at": now,
        }
        count = sa.select(sa.func.count()).where(BULK_SESSIONS.c.account_id == ref.account_id)
        with self._database.write() as connection:
            if connection.execute(count).scalar_one() >= most:
                raise Conflict(
                    f"The account has {most} bulk import sessions already.",
                    hint="Delete those that are committed or not needed.",
                )
            if insert_ignoring(connection, BULK_SESSIONS, [row]) == 0:
                raise Conflict(
                    f"The bulk import session {name!r} exists already.", hint="Choose another name."
                )
        return self.get(ref.account_id, name)

    def get(self, account_id: int, name: str) -> BulkSession:
        """Return a session; one whose perform ended without a result is open for a new one.

        Raises:
            NotFound: the account has no such session.
        """
        with self._database.read() as connection:
            row = connection.execute(sa.select(BULK_SESSIONS).where(_named(account_id, name))).one_or_none()
        if row is None:
            raise _no_session(name)
        session = _session(row)
        return self._settled(session) if session.state is BulkState.PERFORMING else session

    def by_token(self, token: str) -> BulkSession | None:
        """Return the session with this token, None when it was deleted."""
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(BULK_SESSIONS).where(BULK_SESSIONS.c.token == token)
            ).one_or_none()
        return None if row is None else _session(row)

    def sessions(self, account_id: int) -> list[BulkSession]:
        """Return the account's sessions, newest first."""
        mine = sa.select(BULK_SESSIONS).where(BULK_SESSIONS.c.account_id == account_id)
        with self._database.read() as connection:
            rows = connection.execute(mine.order_by(BULK_SESSIONS.c.id.desc())).all()
        sessions = map(_session, rows)
        return [self._settled(one) if one.state is BulkState.PERFORMING else one for one in sessions]

    def _settled(self, session: BulkSession) -> BulkSession:
        """Take a session back whose job was killed or failed, wherever that happened."""
        job = sa.select(JOBS.c.state).where(JOBS.c.id == session.job_id)
        with self._database.write() as connection:
            row = connection.execute(_locked(BULK_SESSIONS.c.id == session.id)).one_or_none()
            if row is None:
                raise _no_session(session.name)
            state = connection.execute(job).scalar_one_or_none()
            mine = row.state == BulkState.PERFORMING.value and row.job_id == session.job_id
            if mine and (state is None or state in _FINAL):
                return self._change(connection, row.id, state=BulkState.UPLOADING.value)
            return _session(row)

    # Parts

    def parts(self, session_id: int) -> list[BulkPart]:
        """Return the session's parts by name."""
        mine = sa.select(BULK_PARTS).where(BULK_PARTS.c.session_id == session_id).order_by(BULK_PARTS.c.name)
        with self._database.read() as connection:
            rows = connection.execute(mine).all()
        return [BulkPart(row.name, row.file, row.size, row.records) for row in rows]

    def stored_bytes(self, account_id: int) -> int:
        """Return how many bytes the parts of the account's sessions take that are not committed."""
        waiting = sa.and_(
            BULK_SESSIONS.c.account_id == account_id, BULK_SESSIONS.c.state != BulkState.COMMITTED.value
        )
        total = sa.select(sa.func.coalesce(sa.func.sum(BULK_PARTS.c.size), 0)).join(
            BULK_SESSIONS, BULK_SESSIONS.c.id == BULK_PARTS.c.session_id
        )
        with self._database.read() as connection:
            return int(connection.execute(total.where(waiting)).scalar_one())

    def check(self, account_id: int, name: str, action: Action) -> BulkSession:
        """Return a session when the action is allowed now; it may not be a moment later.

        Raises:
            NotFound: the account has no such session.
            WrongState: the action is not allowed.
        """
        session = self.get(account_id, name)
        check_action(name, session.state, frozen=session.frozen, action=action)
        return session

    def put_part(self, session: BulkSession, part: BulkPart, *, most: int) -> str | None:
        """Add a part whose file is durable, or replace one; return the file that it replaced.

        Raises:
            NotFound, WrongState: the session is gone, or takes no parts any more.
            Conflict: it has ``most`` parts.
        """
        mine = sa.and_(BULK_PARTS.c.session_id == session.id, BULK_PARTS.c.name == part.name)
        count = sa.select(sa.func.count()).where(BULK_PARTS.c.session_id == session.id)
        with self._database.write() as connection:
            self._allowed(connection, session, Action.UPLOAD_PART)
            before = connection.execute(sa.select(BULK_PARTS.c.file).where(mine)).scalar_one_or_none()
            if before is None and connection.execute(count).scalar_one() >= most:
                raise Conflict(f"The session has {most} parts already.", hint="Upload fewer, larger parts.")
            connection.execute(sa.delete(BULK_PARTS).where(mine))
            connection.execute(sa.insert(BULK_PARTS).values(session_id=session.id, **asdict(part)))
            self._change(connection, session.id)
        return before

    def delete_part(self, account_id: int, name: str, part: str) -> tuple[BulkSession, str]:
        """Delete a part's entry; return the session and the file that held it.

        Raises:
            NotFound: there is no such session or part.
            WrongState: the session's parts cannot be changed.
        """
        session = self.get(account_id, name)
        mine = sa.and_(BULK_PARTS.c.session_id == session.id, BULK_PARTS.c.name == part)
        with self._database.write() as connection:
            self._allowed(connection, session, Action.DELETE_PART)
            file = connection.execute(sa.select(BULK_PARTS.c.file).where(mine)).scalar_one_or_none()
            if file is None:
                raise NotFound(
                    f"The session {name[:140]!r} has no part {part[:140]!r}.", hint="List its parts."
                )
            connection.execute(sa.delete(BULK_PARTS).where(mine))
            return self._change(connection, session.id), str(file)

    # The way to the commit

    def freeze(self, account_id: int, name: str) -> BulkSession:
        """Close a session for parts.

        Raises:
            NotFound, WrongState: there is none, or it is committed or about to be.
        """
        session = self.get(account_id, name)
        with self._database.write() as connection:
            self._allowed(connection, session, Action.FREEZE)
            return self._change(connection, session.id, frozen=True)

    def unfreeze(self, account_id: int, name: str) -> BulkSession:
        """Open a session for parts; what was performed is dropped.

        Raises:
            NotFound, WrongState: there is none, or it is being performed or committed.
        """
        session = self.get(account_id, name)
        fresh = {"state": BulkState.UPLOADING.value, "performed": None, "job_id": None}
        with self._database.write() as connection:
            self._allowed(connection, session, Action.UNFREEZE)
            return self._change(connection, session.id, frozen=False, **fresh)

    def begin_perform(self, session: BulkSession, request: JobRequest) -> Job:
        """Queue the job and mark the session, in one step.

        Raises:
            NotFound, WrongState: the session is gone, not frozen, or being performed already.
        """
        with self._database.write() as connection:
            self._allowed(connection, session, Action.PERFORM)
            job = insert_job(connection, request, self._clock.now())
            begun = {
                "state": BulkState.PERFORMING.value,
                "job_id": job.id,
                "error_parts": 0,
                "performed": None,
            }
            self._change(connection, session.id, **begun)
        return job

    def finish_perform(self, session: BulkSession, job_id: int, done: Performed) -> bool:
        """Publish what the job made; False when the session is not that job's any more."""
        values = {"state": BulkState.READY.value, "performed": json.dumps(asdict(done))}
        return self._as_job(session, job_id, **values)

    def note_broken_part(self, session: BulkSession, job_id: int) -> bool:
        """Count a part that cannot be read, for which the job gives up; the session is open for a new one."""
        return self._as_job(session, job_id, state=BulkState.UPLOADING.value, error_parts=1)

    def _as_job(self, session: BulkSession, job_id: int, **values: Any) -> bool:
        with self._database.write() as connection:
            row = connection.execute(_locked(BULK_SESSIONS.c.id == session.id)).one_or_none()
            if row is None or row.state != BulkState.PERFORMING.value or row.job_id != job_id:
                return False
            self._change(connection, session.id, **values)
        return True

    def begin_commit(self, account_id: int, name: str) -> BulkSession:
        """Mark a session as committing; one that is so already, or committed, stays as it is.

        Raises:
            NotFound, WrongState: there is none, or it was not performed.
        """
        session = self.get(account_id, name)
        with self._database.write() as connection:
            row = self._allowed(connection, session, Action.COMMIT)
            if row.state != BulkState.READY.value:
                return _session(row)
            return self._change(connection, session.id, state=BulkState.COMMITTING.value)

    def cancel_commit(self, session: BulkSession) -> None:
        """Put a session back to ready whose rows cannot go into its table; nothing of it is visible."""
        with self._database.write() as connection:
            row = connection.execute(_locked(BULK_SESSIONS.c.id == session.id)).one_or_none()
            if row is not None and row.state == BulkState.COMMITTING.value:
                self._change(connection, session.id, state=BulkState.READY.value)

    def restage(self, session: BulkSession, done: Performed) -> None:
        """Replace what was performed by the same rows in the table's newer schema, within a commit."""
        with self._database.write() as connection:
            row = connection.execute(_locked(BULK_SESSIONS.c.id == session.id)).one_or_none()
            if row is not None and row.state == BulkState.COMMITTING.value:
                self._change(connection, session.id, performed=json.dumps(asdict(done)))

    def finish_commit(
        self, session: BulkSession, columns: Sequence[Column], rows: int, newest: int | None
    ) -> bool:
        """Note that the rows are in the table, and count them, once; False when it was noted before."""
        now = self._clock.now()
        with self._database.write() as connection:
            row = connection.execute(_locked(BULK_SESSIONS.c.id == session.id)).one_or_none()
            if row is None or row.state != BulkState.COMMITTING.value:
                return False
            self._change(connection, session.id, state=BulkState.COMMITTED.value)
            parts = sa.select(sa.func.coalesce(sa.func.sum(BULK_PARTS.c.size), 0)).where(
                BULK_PARTS.c.session_id == session.id
            )
            sent = int(connection.execute(parts).scalar_one())
            at = _named_now(connection, row)
            count_rows(connection, at, columns, rows, last_time=newest, now=now, size=sent)
        return True

    def committing(self) -> list[BulkSession]:
        """Return every session whose commit was begun and not finished."""
        begun = sa.select(BULK_SESSIONS).where(BULK_SESSIONS.c.state == BulkState.COMMITTING.value)
        with self._database.read() as connection:
            return [_session(row) for row in connection.execute(begun).all()]

    # Deleting

    def delete(self, account_id: int, name: str) -> BulkSession:
        """Delete a session and its parts' entries; the caller removes its folder.

        Raises:
            NotFound, WrongState: there is none, or it is being performed or committed.
        """
        session = self.get(account_id, name)
        with self._database.write() as connection:
            self._allowed(connection, session, Action.DELETE)
            _delete(connection, BULK_SESSIONS.c.id == session.id)
        return session

    def expire(self, before: float) -> list[BulkSession]:
        """Delete the sessions that nobody touched since ``before``, and return them; none that is at work."""
        idle = [state.value for state in (BulkState.UPLOADING, BulkState.READY, BulkState.COMMITTED)]
        old = sa.and_(BULK_SESSIONS.c.updated_at < before, BULK_SESSIONS.c.state.in_(idle))
        with self._database.write() as connection:
            sessions = [
                _session(row) for row in connection.execute(sa.select(BULK_SESSIONS).where(old)).all()
            ]
            if sessions:
                _delete(connection, BULK_SESSIONS.c.id.in_([one.id for one in sessions]))
        return sessions

    def forget_account(self, account_id: int) -> None:
        """Delete every session of a deprovisioned account."""
        with self._database.write() as connection:
            _delete(connection, BULK_SESSIONS.c.account_id == account_id)

    # Within a transaction

    def _allowed(self, connection: sa.Connection, session: BulkSession, action: Action) -> Any:
        """Lock a session's row, check that the action is allowed, and return the row."""
        row = connection.execute(_locked(BULK_SESSIONS.c.id == session.id)).one_or_none()
        if row is None:
            raise _no_session(session.name)
        check_action(row.name, BulkState(row.state), frozen=row.frozen, action=action)
        return row

    def _change(self, connection: sa.Connection, session_id: int, **values: Any) -> BulkSession:
        change = sa.update(BULK_SESSIONS).where(BULK_SESSIONS.c.id == session_id)
        change = change.values(updated_at=self._clock.now(), **values)
        return _session(connection.execute(change.returning(BULK_SESSIONS)).one())


def _named(account_id: int, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(BULK_SESSIONS.c.account_id == account_id, BULK_SESSIONS.c.name == name)


def _locked(which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the SELECT that keeps others from changing the row until the transaction ends."""
    return sa.select(BULK_SESSIONS).where(which).with_for_update()


def _delete(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    gone = sa.select(BULK_SESSIONS.c.id).where(which)
    connection.execute(sa.delete(BULK_PARTS).where(BULK_PARTS.c.session_id.in_(gone)))
    connection.execute(sa.delete(BULK_SESSIONS).where(which))


def _named_now(connection: sa.Connection, row: Any) -> TableRef:
    """Return the name of a session's table, which may have got another one in the middle of the commit."""
    session = _session(row)
    if session.performed is not None:
        named = sa.select(TABLES.c.database_name, TABLES.c.name).where(
            TABLES.c.id == session.performed.table_id
        )
        found = connection.execute(named).one_or_none()
        if found is not None:
            return TableRef(session.account_id, found.database_name, found.name)
    return session.ref


def _no_session(name: str) -> NotFound:
    return NotFound(
        f"The bulk import session {name[:140]!r} does not exist.", hint="List them, or create it."
    )
