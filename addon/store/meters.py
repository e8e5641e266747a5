"""The meters: what each table took in, took up and cost, by the hour; what ``usage`` and a bill are made of.

Rows and bytes that come in are counted in the transaction that makes them part of the table, so they are
exact whatever happens. Bytes are those of the values in memory, before they are packed into a file; of a bulk
import, those of its parts as they were sent. What queries cost is added every few seconds, see
:mod:`addon.query.metering`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from addon.store.schema import ACCOUNTS, METERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.tables import TableRef
    from addon.store.database import Database
    from platform_core.base.clock import Clock

HOUR_S = 3_600
_COUNTS = ("rows_in", "bytes_in", "queries", "bytes_scanned", "cpu_s")


class Use(NamedTuple):
    """What queries read of a table within an hour, and their processor seconds; parts of a query count."""

    queries: int
    bytes_scanned: int
    cpu_s: float


class MeterRow(NamedTuple):
    """An hour of a table, or of no table where the names are empty; ``hour`` is its first Unix second."""

    account_id: int
    hour: int
    database: str
    table: str
    rows_in: int
    bytes_in: int
    bytes_stored: int | None
    queries: int
    bytes_scanned: int
    cpu_s: float


class Payer(NamedTuple):
    """Who an account is, for the operator; ``resource`` is empty for the local account."""

    account_id: int
    name: str
    resource: str
    plan: str


def hour_of(seconds: float) -> int:
    """Return the first second of the hour."""
    return int(seconds) // HOUR_S * HOUR_S


def count_in(connection: sa.Connection, ref: TableRef, rows: int, size: int, now: float) -> None:
    """Count rows that became part of a table, and their bytes, in the transaction of what made them so."""
    _add(connection, [_row(ref.account_id, now, ref.database, ref.table, rows_in=rows, bytes_in=size)])


class MeterStore:
    """Reads the meters, and adds what others measured."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def now(self) -> float:
        """Return the Unix second that the meters go by."""
        return self._clock.now()

    def add_uses(self, uses: Mapping[tuple[int, int, str, str], Use]) -> None:
        """Add what queries cost, by account, hour, database and table."""
        # In one order, so that two processes that add to the same rows do not wait for each other for ever.
        rows = [_row(key[0], key[1], key[2], key[3], **use._asdict()) for key, use in sorted(uses.items())]
        if rows:
            with self._database.write() as connection:
                _add(connection, rows)

    def note_sizes(self, sizes: Mapping[TableRef, int]) -> None:
        """Note how large tables are now; within an hour, the last measurement stands."""
        now = self._clock.now()
        rows = [
            {**_row(ref.account_id, now, ref.database, ref.table), "bytes_stored": size}
            for ref, size in sorted(sizes.items())
        ]
        if rows:
            with self._database.write() as connection:
                _add(connection, rows, size=True)

    def rows(self, account_id: int | None = None) -> Sequence[MeterRow]:
        """Return an account's meters, or everybody's for the operator, in the order of time."""
        wanted = sa.select(METERS).order_by(METERS.c.hour, METERS.c.database_name, METERS.c.table_name)
        if account_id is not None:
            wanted = wanted.where(METERS.c.account_id == account_id)
        with self._database.read() as connection:
            return [MeterRow(*row) for row in connection.execute(wanted)]

    def payers(self) -> Sequence[Payer]:
        """Return every account that there is or was."""
        wanted = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.name, ACCOUNTS.c.resource_uuid, ACCOUNTS.c.plan)
        with self._database.read() as connection:
            return [Payer(row[0], row[1], row[2] or "", row[3]) for row in connection.execute(wanted)]

    def expire(self, before: float) -> int:
        """Delete the hours before a Unix second; return how many rows went."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(METERS).where(METERS.c.hour < before)).rowcount


def _row(account_id: int, seconds: float, database: str, table: str, **counts: float) -> dict[str, Any]:
    zero: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    key = {"account_id": account_id, "hour": hour_of(seconds), "database_name": database, "table_name": table}
    return {**key, **zero, "bytes_stored": None, **counts}


def _add(connection: sa.Connection, rows: Sequence[dict[str, Any]], *, size: bool = False) -> None:
    """Insert hours, or add to those that are there; with ``size``, a new size takes the old one's place."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  (each deployment loads one dialect)
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415  (as above)
    statement = insert(METERS)
    new = statement.excluded
    changes: dict[str, Any] = {name: METERS.c[name] + new[name] for name in _COUNTS}
    if size:
        changes["bytes_stored"] = new.bytes_stored
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(METERS.primary_key), set_=changes), list(rows)
    )
