"""The plans' limits, enforced: what an account may store in a month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import UserError

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.store.catalog import SqlCatalog
    from platform_core.base.clock import Clock

_FRESH_S = 5.0


class QuotaExceeded(UserError):
    """The plan's quota is used up."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account used of its plan; rows of the current UTC month."""

    rows: int
    rows_limit: int


class Quotas:
    """Knows what each account used; a count may be some seconds old."""

    def __init__(self, catalog: SqlCatalog, clock: Clock) -> None:
        """Read usage from ``catalog``."""
        self._catalog = catalog
        self._clock = clock
        self._counted: dict[int, tuple[float, int]] = {}

    def usage(self, account: Account) -> Usage:
        """Return the account's usage."""
        now = self._clock.now()
        at, rows = self._counted.get(account.id, (0.0, 0))
        if now - at > _FRESH_S:
            rows = self._catalog.rows_this_month(account.id)
            self._counted[account.id] = (now, rows)
        return Usage(rows, account.plan.rows_per_month)

    def check_rows(self, account: Account) -> None:
        """Refuse more rows once the month's quota is used up.

        Raises:
            QuotaExceeded: it is.
        """
        usage = self.usage(account)
        if usage.rows >= usage.rows_limit:
            raise QuotaExceeded(
                f"The plan {account.plan.name} stores {usage.rows_limit:,} rows a month; they are used up.",
                hint="Take a larger plan, or wait for the next month (UTC).",
            )
