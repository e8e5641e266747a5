"""What queries cost, counted in memory and added to the meters every few seconds.

A process that is killed loses the counts of its last seconds, in the customers' favour; what came into tables
is counted with the rows themselves.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from addon.store.meters import MeterStore, Use, hour_of
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.models.tables import TableRef

_FLUSH_S = 5.0
_NOTHING = Use(0, 0, 0.0)
_log = get_logger(__name__)


class Metering:
    """Counts on the event loop; ``start`` it to have the counts kept."""

    def __init__(self, store: MeterStore) -> None:
        """Add to ``store``."""
        self._store = store
        self._uses: dict[tuple[int, int, str, str], Use] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to add what was counted, every five seconds."""
        self._task = asyncio.create_task(self._rounds())

    async def close(self) -> None:
        """Add what is left."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    def note(self, account_id: int, read: Mapping[TableRef, int], cpu_s: float) -> None:
        """Count a query that read so many bytes of each table.

        Its processor time goes to the tables in proportion, in equal parts where it read nothing.
        """
        hour, whole = hour_of(self._store.now()), sum(read.values())
        parts = {
            (ref.database, ref.table): (size, size / whole if whole else 1 / len(read))
            for ref, size in read.items()
        }
        for (database, table), (size, share) in (parts or {("", ""): (0, 1.0)}).items():
            key = (account_id, hour, database, table)
            queries, scanned, spent = self._uses.get(key, _NOTHING)
            self._uses[key] = Use(queries + 1, scanned + size, spent + cpu_s * share)

    async def flush(self) -> None:
        """Add what was counted; it stays counted here when the database is away."""
        uses, self._uses = self._uses, {}
        try:
            await asyncio.to_thread(self._store.add_uses, uses)
        except Exception:  # noqa: BLE001  (the next round tries again)
            _log.exception("uses_not_metered")
            for key, (queries, scanned, spent) in uses.items():
                now = self._uses.get(key, _NOTHING)
                self._uses[key] = Use(now.queries + queries, now.bytes_scanned + scanned, now.cpu_s + spent)

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            if self._uses:
                await self.flush()
