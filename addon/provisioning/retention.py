"""How long rows stay: a table's ``expire_days`` by their own time, the plan's retention by when they came.

Queries do not show rows over a table's ``expire_days`` from that second on. A round (one an hour) takes them
out of the table: whole files at once, parts of files at most once a day each. The bytes go when the last
version that has them leaves the kept history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from addon.models.tables import TableRef
    from addon.store.accounts import AccountStore
    from addon.store.catalog import SqlCatalog
    from addon.warehouse.retention import Expiry
    from platform_core.base.clock import Clock

ROWS_EXPIRED = "rows_expired"
EXPIRY_FAILED = "rows_expiry_failed"
_DAY_S = 86_400
_log = get_logger(__name__)


class Retention:
    """Runs the rounds over all accounts' tables; blocking."""

    def __init__(self, accounts: AccountStore, catalog: SqlCatalog, expiry: Expiry, clock: Clock) -> None:
        """Take what knows the limits, and what takes rows out."""
        self._accounts = accounts
        self._catalog = catalog
        self._expiry = expiry
        self._clock = clock

    def round(self) -> None:
        """Expire what is over its limit; a table that fails is tried again in the next round."""
        for account in self._accounts.active():
            for ref, days in self._catalog.expire_days(account.id).items():
                try:
                    self._expire(ref, days, account.plan.retention_s)
                except (SluiceError, OSError):
                    _log.exception(EXPIRY_FAILED, database=ref.database, table=ref.table)

    def _expire(self, ref: TableRef, days: int | None, retention_s: int) -> None:
        now = self._clock.now()
        kept = now - retention_s
        rows = self._expiry.whole_files(ref, int(kept), written_before=kept)
        if days is not None:
            rows += self._expiry.rows(ref, int(now) - days * _DAY_S, now)
        if rows:
            self._catalog.record_removal(ref, rows)
            _log.info(ROWS_EXPIRED, account=ref.account_id, database=ref.database, table=ref.table, rows=rows)
