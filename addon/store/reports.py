"""Definitions of reports, and their runs: one run per job, fenced by the job's epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.reports import DeliveryState, ReportRun, RunState, Window
from addon.store.schema import REPORT_DELIVERIES, REPORT_RUNS, REPORTS
from platform_core.base.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.jobs import Job
    from addon.store.database import Database
    from platform_core.base.clock import Clock

_MOST_ERROR = 4_000
JOB_S = 60.0
"""The first attempts are the job's own for this long; after that anybody's, as the job may be dead."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report's row: the definition's JSON without secrets, and the sealed secrets."""

    name: str
    definition: Mapping[str, Any]
    secrets: str = field(repr=False)
    revision: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Planned:
    """A delivery to be made of a run."""

    name: str
    type: str
    target: str


def _stored(row: Any) -> StoredReport:
    return StoredReport(
        row.name, json.loads(row.definition), row.secrets, row.revision, row.created_at, row.updated_at
    )


def _run(row: Any) -> ReportRun:
    return ReportRun(
        id=row.id,
        account_id=row.account_id,
        report=row.report,
        job_id=row.job_id,
        epoch=row.epoch,
        revision=row.revision,
        slot=row.slot,
        window=Window(row.window_start, row.window_end, row.window_words),
        state=RunState(row.state),
        folder=row.folder,
        facts=json.loads(row.facts),
        error=row.error,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


class ReportStore:
    """Reports by account and name, and their runs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def put(self, account_id: int, name: str, definition: Mapping[str, Any], secrets: str) -> StoredReport:
        """Make a report, or give it another definition."""
        now = self._clock.now()
        mine = sa.and_(REPORTS.c.account_id == account_id, REPORTS.c.name == name)
        values = {"definition": json.dumps(dict(definition)), "secrets": secrets, "updated_at": now}
        again = sa.update(REPORTS).where(mine).values(**values, revision=REPORTS.c.revision + 1)
        first = {**values, "account_id": account_id, "name": name, "revision": 1, "created_at": now}
        try:
            with self._database.write() as connection:
                row = connection.execute(again.returning(REPORTS)).one_or_none()
                if row is None:
                    row = connection.execute(sa.insert(REPORTS).values(first).returning(REPORTS)).one()
        except sa.exc.IntegrityError as error:
            raise Conflict(f"The report {name!r} was made at the same moment.", hint="PUT again.") from error
        return _stored(row)

    def find(self, account_id: int, name: str) -> StoredReport | None:
        """Return a report; None without one."""
        mine = sa.and_(REPORTS.c.account_id == account_id, REPORTS.c.name == name)
        with self._database.read() as connection:
            row = connection.execute(sa.select(REPORTS).where(mine)).one_or_none()
        return None if row is None else _stored(row)

    def get(self, account_id: int, name: str) -> StoredReport:
        """Return a report.

        Raises:
            NotFound: the account has none of this name.
        """
        found = self.find(account_id, name)
        if found is None:
            raise NotFound(
                f"There is no report {name[:64]!r}.", hint="GET /api/reports lists those there are."
            )
        return found

    def list(self, account_id: int) -> Sequence[StoredReport]:
        """Return the account's reports by name."""
        mine = sa.select(REPORTS).where(REPORTS.c.account_id == account_id).order_by(REPORTS.c.name)
        with self._database.read() as connection:
            return [_stored(row) for row in connection.execute(mine)]

    def delete(self, account_id: int, name: str) -> None:
        """Delete a report with its runs; their folders are the caller's.

        Raises:
            NotFound: the account has none of this name.
        """
        mine = sa.and_(REPORTS.c.account_id == account_id, REPORTS.c.name == name)
        with self._database.write() as connection:
            if connection.execute(sa.delete(REPORTS).where(mine)).rowcount == 0:
                raise NotFound(f"There is no report {name[:64]!r}.")
            runs = sa.and_(REPORT_RUNS.c.account_id == account_id, REPORT_RUNS.c.report == name)
            _delete_runs(connection, runs)

    def begin(self, job: Job, revision: int, slot: int, window: Window) -> ReportRun:
        """Return the job's run, made when it has none; this execution of the job owns it from now on."""
        account_id = job.request.account_id
        mine = sa.and_(REPORT_RUNS.c.account_id == account_id, REPORT_RUNS.c.job_id == job.id)
        with self._database.write() as connection:
            row = connection.execute(sa.select(REPORT_RUNS).where(mine).with_for_update()).one_or_none()
            if row is None:
                values = {
                    "account_id": account_id,
                    "report": job.request.query,
                    "job_id": job.id,
                    "epoch": job.epoch,
                    "revision": revision,
                    "slot": slot,
                    "window_start": window.start,
                    "window_end": window.end,
                    "window_words": window.words,
                    "state": RunState.RUNNING.value,
                    "facts": "{}",
                    "error": "",
                    "started_at": self._clock.now(),
                }
                made = sa.insert(REPORT_RUNS).values(values).returning(REPORT_RUNS)
                return _run(connection.execute(made).one())
            if row.epoch >= job.epoch or row.state == RunState.SUCCESS.value:
                return _run(row)
            taken = {"epoch": job.epoch, "revision": revision, "state": RunState.RUNNING.value, "error": ""}
            update = sa.update(REPORT_RUNS).where(mine).values(taken).returning(REPORT_RUNS)
            return _run(connection.execute(update).one())

    def finish(
        self, run: ReportRun, folder: str, facts: Mapping[str, Any], planned: Sequence[Planned]
    ) -> bool:
        """Publish a rendered run and queue its deliveries; False when another execution owns the run."""
        now = self._clock.now()
        values = {
            "state": RunState.SUCCESS.value,
            "folder": folder,
            "facts": json.dumps(dict(facts)),
            "ended_at": now,
        }
        rows = [
            {
                "run_id": run.id,
                "name": one.name,
                "type": one.type,
                "target": one.target,
                "state": DeliveryState.PENDING.value,
                "attempts": 0,
                "next_at": now + JOB_S,
                "error": "",
            }
            for one in planned
        ]
        with self._database.write() as connection:
            done = connection.execute(sa.update(REPORT_RUNS).where(_owned(run)).values(values)).rowcount == 1
            if done and rows:
                connection.execute(sa.insert(REPORT_DELIVERIES), rows)
        return done

    def fail(self, run: ReportRun, error: str) -> None:
        """Note why a run failed; another execution of its job may begin it again."""
        values = {
            "state": RunState.ERROR.value,
            "error": error[:_MOST_ERROR],
            "ended_at": self._clock.now(),
        }
        with self._database.write() as connection:
            connection.execute(sa.update(REPORT_RUNS).where(_owned(run)).values(values))

    def run(self, account_id: int, report: str, run_id: int) -> ReportRun:
        """Return a run.

        Raises:
            NotFound: the report has no such run.
        """
        wanted = sa.and_(
            REPORT_RUNS.c.account_id == account_id,
            REPORT_RUNS.c.report == report,
            REPORT_RUNS.c.id == run_id,
        )
        with self._database.read() as connection:
            row = connection.execute(sa.select(REPORT_RUNS).where(wanted)).one_or_none()
        if row is None:
            raise NotFound(f"The report {report[:64]!r} has no run {run_id}.", hint="List its runs.")
        return _run(row)

    def run_of_job(self, account_id: int, job_id: int) -> ReportRun | None:
        """Return a job's run; None while it has not begun."""
        wanted = sa.and_(REPORT_RUNS.c.account_id == account_id, REPORT_RUNS.c.job_id == job_id)
        with self._database.read() as connection:
            row = connection.execute(sa.select(REPORT_RUNS).where(wanted)).one_or_none()
        return None if row is None else _run(row)

    def runs(self, account_id: int, report: str, most: int) -> Sequence[ReportRun]:
        """Return the newest runs, the newest first."""
        mine = sa.and_(REPORT_RUNS.c.account_id == account_id, REPORT_RUNS.c.report == report)
        page = sa.select(REPORT_RUNS).where(mine).order_by(REPORT_RUNS.c.id.desc()).limit(most)
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(page)]

    def previous(self, run: ReportRun) -> ReportRun | None:
        """Return the run to compare with: the newest successful one of an earlier time.

        An earlier time is an earlier period, or an earlier slot where the run is about all there is.
        """
        earlier = REPORT_RUNS.c.slot < run.slot
        order = REPORT_RUNS.c.slot.desc()
        if run.window.start is not None:
            earlier = REPORT_RUNS.c.window_start < run.window.start
            order = REPORT_RUNS.c.window_start.desc()
        wanted = sa.and_(
            REPORT_RUNS.c.account_id == run.account_id,
            REPORT_RUNS.c.report == run.report,
            REPORT_RUNS.c.state == RunState.SUCCESS.value,
            earlier,
        )
        newest = sa.select(REPORT_RUNS).where(wanted).order_by(order, REPORT_RUNS.c.id.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(newest).one_or_none()
        return None if row is None else _run(row)

    def expire(self, account_id: int, report: str, keep: int) -> Sequence[str]:
        """Delete the runs beyond the newest ``keep`` and return their folders; one that runs stays."""
        mine = sa.and_(
            REPORT_RUNS.c.account_id == account_id,
            REPORT_RUNS.c.report == report,
            REPORT_RUNS.c.state != RunState.RUNNING.value,
        )
        old = sa.select(REPORT_RUNS).where(mine).order_by(REPORT_RUNS.c.id.desc()).offset(keep)
        with self._database.write() as connection:
            rows = connection.execute(old).all()
            _delete_runs(connection, REPORT_RUNS.c.id.in_([row.id for row in rows]))
        return [row.folder for row in rows if row.folder]

    def forget_account(self, account_id: int) -> None:
        """Delete every report of a deprovisioned account; the folders go with the account's others."""
        with self._database.write() as connection:
            _delete_runs(connection, REPORT_RUNS.c.account_id == account_id)
            connection.execute(sa.delete(REPORTS).where(REPORTS.c.account_id == account_id))


def _owned(run: ReportRun) -> sa.ColumnElement[bool]:
    return sa.and_(
        REPORT_RUNS.c.id == run.id,
        REPORT_RUNS.c.epoch == run.epoch,
        REPORT_RUNS.c.state == RunState.RUNNING.value,
    )


def _delete_runs(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    ids = sa.select(REPORT_RUNS.c.id).where(which)
    connection.execute(sa.delete(REPORT_DELIVERIES).where(REPORT_DELIVERIES.c.run_id.in_(ids)))
    connection.execute(sa.delete(REPORT_RUNS).where(which))
