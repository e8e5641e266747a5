"""Deleted tables' files: deleted with the call, and by upkeep once more when nothing comes late any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.models.tables import TableRef
from platform_core.base import failpoints

if TYPE_CHECKING:
    from addon.models.ingest import Warehouse
    from addon.store.dropped import DroppedPlaces
    from platform_core.base.clock import Clock

_CALL_S = 3_600.0
"""Longer than any call deletes, and than a flush that was committing to the table takes."""


class Drops:
    """Empties the places of tables that have left the catalog; blocking."""

    def __init__(self, places: DroppedPlaces, warehouse: Warehouse, clock: Clock) -> None:
        """Take what knows the places, and what deletes the files."""
        self._clock = clock
        self._places = places
        self._warehouse = warehouse

    def finish(self, ref: TableRef, place: str) -> None:
        """Delete what is at the place of a table that was deleted."""
        failpoints.hit("table.drop.files")
        self._warehouse.drop(ref, place)

    def finish_all(self) -> None:
        """Delete what interrupted calls left, and flushes that were just committing to the table.

        Not what a call may be deleting now.
        """
        now = self._clock.now()
        for account_id, place in self._places.left(now - _CALL_S):
            self.finish(TableRef(account_id, *place.split("/", 1)), place)
            self._places.emptied(account_id, place, now)
