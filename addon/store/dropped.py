"""Places of deleted tables: known until their files are gone, so that no crash brings them back.

A new table of the name must not lie there meanwhile, or it would have the old one's rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from addon.store.database import Database, insert_ignoring
from addon.store.schema import DROPPED_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable


def note_dropped(connection: sa.Connection, account_id: int, places: Iterable[str], now: float) -> None:
    """Note, with the deletion of their tables, that these places are to be emptied."""
    rows = [{"account_id": account_id, "place": place, "dropped_at": now} for place in places]
    insert_ignoring(connection, DROPPED_PLACES, rows)


def is_dropped(connection: sa.Connection, account_id: int, place: str) -> bool:
    """Tell whether a place is still to be emptied."""
    same = sa.and_(DROPPED_PLACES.c.account_id == account_id, DROPPED_PLACES.c.place == place)
    return connection.execute(sa.select(DROPPED_PLACES.c.place).where(same)).first() is not None


class DroppedPlaces:
    """The places that are to be emptied."""

    def __init__(self, database: Database) -> None:
        """Read and write ``database``."""
        self._database = database

    def left(self, before: float) -> list[tuple[int, str]]:
        """Return (account, place) of those whose tables were deleted before a time (Unix seconds)."""
        old = sa.select(DROPPED_PLACES).where(DROPPED_PLACES.c.dropped_at < before)
        with self._database.read() as connection:
            rows = connection.execute(old).all()
        return [(row.account_id, row.place) for row in rows]

    def emptied(self, account_id: int, place: str) -> None:
        """Note that nothing is left at a place."""
        same = sa.and_(DROPPED_PLACES.c.account_id == account_id, DROPPED_PLACES.c.place == place)
        with self._database.write() as connection:
            connection.execute(sa.delete(DROPPED_PLACES).where(same))
