"""The ledger of upload ids: what makes a repeated import or drain frame count once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from addon.store.database import Database, insert_ignoring
from addon.store.schema import UPLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

KEEP_S = 7 * 86_400
"""An upload id is known for this long; Treasure Data promises one hour."""
_ROWS_PER_STATEMENT = 500


class SqlUploadLedger:
    """Implements :class:`addon.models.ingest.UploadLedger` in the metadata database."""

    def __init__(self, database: Database) -> None:
        """Read and write ``database``."""
        self._database = database

    def seen(self, account_id: int, database: str, table: str, upload_id: str) -> str | None:
        """Return the body's SHA-256 that came with this id, or None."""
        statement = sa.select(UPLOADS.c.body_sha256).where(
            UPLOADS.c.state == "stored",
            UPLOADS.c.account_id == account_id,
            UPLOADS.c.database_name == database,
            UPLOADS.c.table_name == table,
            UPLOADS.c.upload_id == upload_id,
        )
        with self._database.read() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def record(self, entries: Sequence[tuple[int, str, str, str, str]], now: float) -> None:
        """Keep (account, database, table, upload id, SHA-256) rows, ignore repeats; drop expired ones."""
        names = ("account_id", "database_name", "table_name", "upload_id", "body_sha256")
        rows = [{**dict(zip(names, entry, strict=True)), "recorded_at": now} for entry in entries]
        with self._database.write() as connection:
            connection.execute(sa.delete(UPLOADS).where(UPLOADS.c.recorded_at < now - KEEP_S))
            for start in range(0, len(rows), _ROWS_PER_STATEMENT):
                insert_ignoring(connection, UPLOADS, rows[start : start + _ROWS_PER_STATEMENT])

    def forget_account(self, account_id: int) -> None:
        """Drop the ids of a deprovisioned account."""
        with self._database.write() as connection:
            connection.execute(sa.delete(UPLOADS).where(UPLOADS.c.account_id == account_id))
