"""Used single-sign-on tokens, and the audit log."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from addon.store.database import Database, Turn, insert_ignoring, take_turn
from addon.store.schema import AUDIT, SSO_TOKENS
from platform_core.base.ids import fingerprint

if TYPE_CHECKING:
    from platform_core.base.clock import Clock

_FIRST = "0" * 64


class SsoTokenStore:
    """Remembers sign-on tokens, so that each opens one session only."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock

    def use(self, token: str, *, keep_s: float) -> bool:
        """Mark ``token`` as used; False when it was used before. Tokens older than ``keep_s`` are dropped."""
        now = self._clock.now()
        row = {"fingerprint": fingerprint(token), "used_at": now}
        with self._database.write() as connection:
            connection.execute(sa.delete(SSO_TOKENS).where(SSO_TOKENS.c.used_at < now - keep_s))
            return insert_ignoring(connection, SSO_TOKENS, [row]) == 1


class AuditLog:
    """An append-only record of who did what; each row carries a hash over itself and the row before."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read and write ``database``."""
        self._database = database
        self._clock = clock
        self.broken: int | None = None
        """The first bad row that the last :meth:`verify` found."""

    def record(self, actor: str, action: str, subject: str, account_id: int | None = None) -> None:
        """Append one row; ``subject`` holds identifiers only, never secrets or data."""
        now = self._clock.now()
        newest = sa.select(AUDIT.c.chain).order_by(AUDIT.c.id.desc()).limit(1)
        with self._database.write() as connection:
            take_turn(connection, Turn.AUDIT)
            before = connection.execute(newest).scalar_one_or_none() or _FIRST
            row = {"at": now, "account_id": account_id, "actor": actor, "action": action, "subject": subject}
            row["chain"] = _link(before, now, account_id, actor, action, subject)
            connection.execute(sa.insert(AUDIT).values(row))

    def verify(self) -> int | None:
        """Return the id of the first row that was changed or follows a removed one; None when all is well.

        Rows cut off at the end leave no trace; only a copy of the newest hash, kept elsewhere, would tell.
        """
        self.broken = self._first_broken_link()
        return self.broken

    def _first_broken_link(self) -> int | None:
        before = _FIRST
        with self._database.read() as connection:
            for row in connection.execute(sa.select(AUDIT).order_by(AUDIT.c.id)):
                if row.chain != _link(before, row.at, row.account_id, row.actor, row.action, row.subject):
                    return int(row.id)
                before = row.chain
        return None


def _link(*fields: str | float | None) -> str:
    text = json.dumps(fields)
    return hashlib.sha256(text.encode()).hexdigest()
