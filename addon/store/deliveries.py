"""The queue of deliveries: an attempt is claimed with a lease, and each says when the next one may begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from addon.models.reports import DeliveryState, RunDelivery
from addon.store.schema import REPORT_DELIVERIES, REPORT_RUNS
from platform_core.base.ids import new_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.store.database import Database
    from platform_core.base.clock import Clock

LEASE_S = 300.0
"""An attempt takes less; after that it counts as lost, and another one may begin."""
_MOST_ERROR = 2_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that is this process's to make."""

    delivery: RunDelivery
    account_id: int
    report: str
    holder: str


def _delivery(row: Any) -> RunDelivery:
    return RunDelivery(
        run_id=row.run_id,
        name=row.name,
        type=row.type,
        target=row.target,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        next_at=row.next_at,
        error=row.error,
        delivered_at=row.delivered_at,
    )


class DeliveryStore:
    """Deliveries by run, and the queue of those to be made."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def of(self, *run_ids: int) -> Sequence[RunDelivery]:
        """Return the deliveries of runs, by run and name."""
        table = REPORT_DELIVERIES
        wanted = sa.select(table).where(table.c.run_id.in_(run_ids)).order_by(table.c.run_id, table.c.name)
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(wanted)]

    def claim(self, run_id: int | None = None) -> Claimed | None:
        """Take an attempt that may begin now, of one run or of any; None when there is none.

        The attempt is counted at once, so that one which kills its process is counted, too.
        """
        now, table, holder = self._clock.now(), REPORT_DELIVERIES, new_uuid()
        free = sa.or_(table.c.lease_until.is_(None), table.c.lease_until < now)
        due: sa.ColumnElement[bool] = table.c.next_at <= now
        ready = [table.c.state == DeliveryState.PENDING.value, free]
        if run_id is not None:  # the run's job, whose first attempts they are
            ready.append(table.c.run_id == run_id)
            due = sa.or_(due, table.c.attempts == 0)
        ready.append(due)
        first = sa.select(table).where(*ready).order_by(table.c.next_at, table.c.run_id, table.c.name)
        with self._database.write() as connection:
            found = connection.execute(first.limit(1).with_for_update(skip_locked=True)).one_or_none()
            if found is None:
                return None
            one = sa.and_(table.c.run_id == found.run_id, table.c.name == found.name)
            mine = {"holder": holder, "lease_until": now + LEASE_S, "attempts": table.c.attempts + 1}
            row = connection.execute(sa.update(table).where(one).values(mine).returning(table)).one()
            runs = sa.select(REPORT_RUNS.c.account_id, REPORT_RUNS.c.report)
            run = connection.execute(runs.where(REPORT_RUNS.c.id == found.run_id)).one()
        return Claimed(_delivery(row), run.account_id, run.report, holder)

    def due(self) -> bool:
        """Tell whether an attempt may begin now; cheap, and takes no lock."""
        table = REPORT_DELIVERIES
        ready = sa.and_(table.c.state == DeliveryState.PENDING.value, table.c.next_at <= self._clock.now())
        with self._database.read() as connection:
            return connection.execute(sa.select(table.c.run_id).where(ready).limit(1)).first() is not None

    def delivered(self, claimed: Claimed) -> None:
        """Note a success; one that lost its lease tells it, too: the receiver has the report."""
        values = {"state": DeliveryState.DELIVERED.value, "delivered_at": self._clock.now(), "error": ""}
        self._settle(claimed, values, held=False)

    def failed(self, claimed: Claimed, error: str, next_at: float | None) -> None:
        """Note a failure, and when the next attempt is; None gives the delivery up."""
        state = DeliveryState.FAILED if next_at is None else DeliveryState.PENDING
        values = {"state": state.value, "error": error[:_MOST_ERROR], "next_at": next_at}
        self._settle(claimed, values, held=True)

    def _settle(self, claimed: Claimed, values: dict[str, Any], *, held: bool) -> None:
        table, one = REPORT_DELIVERIES, claimed.delivery
        mine = [table.c.run_id == one.run_id, table.c.name == one.name]
        if held:
            mine.append(table.c.holder == claimed.holder)
        free = {"holder": None, "lease_until": None}
        with self._database.write() as connection:
            connection.execute(sa.update(table).where(*mine).values(**values, **free))

    def again(self, run_id: int, name: str | None = None) -> int:
        """Queue what failed of a run once more, at once; return how many deliveries that are."""
        table = REPORT_DELIVERIES
        waiting = [state.value for state in (DeliveryState.FAILED, DeliveryState.PENDING)]
        wanted = [table.c.run_id == run_id, table.c.state.in_(waiting)]
        if name is not None:
            wanted.append(table.c.name == name)
        values = {"state": DeliveryState.PENDING.value, "next_at": self._clock.now(), "attempts": 0}
        with self._database.write() as connection:
            return connection.execute(sa.update(table).where(*wanted).values(values)).rowcount
