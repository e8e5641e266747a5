"""The plans' limits, enforced: what an account may store.

Both limits stop new data only: imports and log drains are answered with 429 and a Retry-After of an hour, so
that senders that can wait do (Treasure Data's fluentd plugin and log routers retry a 429; a log router that
gives up counts what it drops). Queries, downloads and deletions go on as before.

- Rows: those stored since the start of the UTC month, counted at each flush, looked at again every 5 s.
- Bytes: the files that the newest versions of the account's tables are made of, looked at again every 30 s.

So an account may overshoot by what it sends within these times; what was acknowledged is kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import UserError

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.models.ingest import Warehouse
    from addon.store.catalog import SqlCatalog
    from platform_core.base.clock import Clock

ROWS_FRESH_S = 5.0
BYTES_FRESH_S = 30.0


class QuotaExceeded(UserError):
    """The plan's quota is used up."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account used of its plan; rows of the current UTC month, bytes as they are stored."""

    rows: int
    rows_limit: int
    bytes: int
    bytes_limit: int


@dataclass(frozen=True, slots=True)
class _Count:
    rows: int
    rows_at: float
    bytes: int
    bytes_at: float


class Quotas:
    """Knows what each account used; a count may be some seconds old."""

    def __init__(self, catalog: SqlCatalog, warehouse: Warehouse, clock: Clock) -> None:
        """Read usage from ``catalog`` and ``warehouse``."""
        self._catalog = catalog
        self._warehouse = warehouse
        self._clock = clock
        self._counts: dict[int, _Count] = {}
        self._counting: dict[int, asyncio.Task[_Count]] = {}

    def usage(self, account: Account) -> Usage:
        """Return the account's usage, counted anew where it is old. Blocking."""
        count = self._count(account.id)
        self._counts[account.id] = count
        return _usage(account, count)

    async def check(self, account: Account, *, rows: int = 0, bytes_: int = 0) -> None:
        """Refuse more data once a quota of the plan is used up; costs nothing while counts are fresh.

        ``rows`` and ``bytes_`` are what is about to be stored at once, where that is known.

        Raises:
            QuotaExceeded: it is; the message says which and how far.
        """
        known = self._counts.get(account.id)
        if known is None or not self._fresh(known):
            known = await self._count_once(account.id)
        usage = _usage(account, known)
        if usage.rows + max(rows, 1) > usage.rows_limit:
            raise QuotaExceeded(
                f"The plan {account.plan.name} stores {usage.rows_limit:,} rows a month;"
                f" {usage.rows:,} are stored{f', and these are {rows:,}' if rows else ''}.",
                hint="Take a larger plan, or wait for the next month (UTC).",
            )
        if usage.bytes + max(bytes_, 1) > usage.bytes_limit:
            raise QuotaExceeded(
                f"The plan {account.plan.name} stores {_gib(usage.bytes_limit)};"
                f" {_gib(usage.bytes)} are stored{f', and these are {_gib(bytes_)}' if bytes_ else ''}.",
                hint="Delete tables, or take a larger plan.",
            )

    def _fresh(self, count: _Count) -> bool:
        now = self._clock.now()
        return now - count.rows_at <= ROWS_FRESH_S and now - count.bytes_at <= BYTES_FRESH_S

    async def _count_once(self, account_id: int) -> _Count:
        """Count in a thread; requests that come meanwhile share the count."""
        task = self._counting.get(account_id)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._count, account_id))
            self._counting[account_id] = task
            task.add_done_callback(lambda _: self._counting.pop(account_id, None))
        count = self._counts[account_id] = await asyncio.shield(task)
        return count

    def _count(self, account_id: int) -> _Count:
        now = self._clock.now()
        known = self._counts.get(account_id)
        if known is not None and now - known.bytes_at <= BYTES_FRESH_S:
            stored, stored_at = known.bytes, known.bytes_at
        else:
            snapshots = map(self._warehouse.snapshot, self._catalog.table_refs(account_id))
            stored, stored_at = sum(one.bytes for one in snapshots if one is not None), now
        return _Count(self._catalog.rows_this_month(account_id), now, stored, stored_at)


def _usage(account: Account, count: _Count) -> Usage:
    return Usage(count.rows, account.plan.rows_per_month, count.bytes, account.plan.stored_bytes)


def _gib(count: int) -> str:
    return f"{count / (1 << 30):,.2f} GiB"
