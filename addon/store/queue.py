"""Which job is next: fair between accounts, then by priority, then first in, first out.

An account whose jobs run least goes first, then the one whose last job was taken the longest ago: whoever
issues a hundred jobs, or gives all of them the highest priority, delays nobody's turn but their own. Of the
account whose turn it is, the job of the highest priority is taken, of equal ones the oldest. Between accounts
that are even (neither was ever served) the priority decides, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.jobs import JobState
from addon.store.database import Turn, insert_ignoring, take_turn
from addon.store.schema import JOB_TURNS, JOBS

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import FromClause


def is_due(jobs: FromClause, now: float) -> sa.ColumnElement[bool]:
    """Return the condition of the queued jobs whose time has come."""
    waits = sa.or_(jobs.c.not_before.is_(None), jobs.c.not_before <= now)
    return sa.and_(jobs.c.state == JobState.QUEUED.value, waits)


def take_next(connection: sa.Connection, worker: str, *, now: float, until: float) -> Any:
    """Give ``worker`` the next job whose account is below its limit; return its row, None without one.

    One statement takes it, so that no two workers have the same (job, epoch).
    """
    take_turn(connection, Turn.CLAIM_JOB)  # or two workers would count the running ones alike
    take = (
        sa.update(JOBS)
        .where(JOBS.c.id == _following(connection, now), JOBS.c.state == JobState.QUEUED.value)
        .values(
            state=JobState.RUNNING.value,
            worker=worker,
            lease_until=until,
            not_before=None,
            epoch=JOBS.c.epoch + 1,
            started_at=sa.func.coalesce(JOBS.c.started_at, now),
        )
        .returning(JOBS)
    )
    row = connection.execute(take).one_or_none()
    if row is not None:
        _note_turn(connection, row.account_id)
    return row


def _following(connection: sa.Connection, now: float) -> sa.ScalarSelect[Any]:
    """Return the select of the next job's number."""
    queued = JOBS.alias("queued")
    running = (
        sa.select(JOBS.c.account_id, sa.func.count().label("jobs"))
        .where(JOBS.c.state == JobState.RUNNING.value)
        .group_by(JOBS.c.account_id)
        .subquery("running")
    )
    busy = sa.func.coalesce(running.c.jobs, 0)
    following = (
        sa.select(queued.c.id)
        .outerjoin(running, running.c.account_id == queued.c.account_id)
        .outerjoin(JOB_TURNS, JOB_TURNS.c.account_id == queued.c.account_id)
        .where(is_due(queued, now), busy < queued.c.max_running)
        .order_by(busy, sa.func.coalesce(JOB_TURNS.c.turn, 0), queued.c.priority.desc(), queued.c.id)
        .limit(1)
    )
    if connection.dialect.name == "postgresql":
        following = following.with_for_update(skip_locked=True, of=queued)
    return following.scalar_subquery()


def _note_turn(connection: sa.Connection, account_id: int) -> None:
    """Put the account at the end of the line."""
    insert_ignoring(connection, JOB_TURNS, [{"account_id": account_id, "turn": 0}])
    others = JOB_TURNS.alias("others")
    last = sa.select(sa.func.max(others.c.turn) + 1).scalar_subquery()
    connection.execute(sa.update(JOB_TURNS).where(JOB_TURNS.c.account_id == account_id).values(turn=last))
