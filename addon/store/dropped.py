"""Places of deleted tables: known until long after their files are gone, so that nothing brings them back.

No new table lies at such a place: it would have the old one's rows after a crash, or those of a flush that
was just committing to the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from addon.store.schema import DROPPED_PLACES

if TYPE_CHECKING:
    from collections.abc import Collection

    from addon.store.database import Database

KEEP_S = 30 * 86_400.0
"""How long an emptied place stays unused; a flush takes seconds."""


def note_dropped(connection: sa.Connection, account_id: int, places: Collection[str], now: float) -> None:
    """Note, with the deletion of their tables, that these places are to be emptied, maybe once more."""
    if not places:
        return
    same = sa.and_(DROPPED_PLACES.c.account_id == account_id, DROPPED_PLACES.c.place.in_(list(places)))
    connection.execute(sa.delete(DROPPED_PLACES).where(same))
    rows = [{"account_id": account_id, "place": place, "dropped_at": now} for place in places]
    connection.execute(sa.insert(DROPPED_PLACES).values(rows))


def is_dropped(connection: sa.Connection, account_id: int, place: str) -> bool:
    """Tell whether a deleted table lay at a place."""
    return (
        connection.execute(sa.select(DROPPED_PLACES.c.place).where(_is(account_id, place))).first()
        is not None
    )


def _is(account_id: int, place: str) -> sa.ColumnElement[bool]:
    return sa.and_(DROPPED_PLACES.c.account_id == account_id, DROPPED_PLACES.c.place == place)


class DroppedPlaces:
    """The places that are to be emptied, and those that were."""

    def __init__(self, database: Database) -> None:
        """Read and write ``database``."""
        self._database = database

    def left(self, before: float) -> list[tuple[int, str]]:
        """Return (account, place) of those not emptied whose tables were deleted before a time (Unix s)."""
        old = sa.select(DROPPED_PLACES).where(
            DROPPED_PLACES.c.dropped_at < before, DROPPED_PLACES.c.emptied_at.is_(None)
        )
        with self._database.read() as connection:
            rows = connection.execute(old).all()
        return [(row.account_id, row.place) for row in rows]

    def emptied(self, account_id: int, place: str, now: float) -> None:
        """Note that nothing is left at a place; forget those that were emptied long ago."""
        done = sa.update(DROPPED_PLACES).where(_is(account_id, place)).values(emptied_at=now)
        with self._database.write() as connection:
            connection.execute(done)
            connection.execute(sa.delete(DROPPED_PLACES).where(DROPPED_PLACES.c.emptied_at < now - KEEP_S))
