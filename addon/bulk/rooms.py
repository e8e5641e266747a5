"""What the work on sessions touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon.bulk.files import SessionFiles
    from addon.store.bulk import BulkStore
    from addon.store.catalog import SqlCatalog
    from addon.warehouse.store import DeltaWarehouse
    from platform_core.base.clock import Clock


@dataclass(frozen=True, slots=True)
class BulkRooms:
    """The sessions' rows, the tables' entries, the sessions' files, the tables' files, the time."""

    store: BulkStore
    catalog: SqlCatalog
    files: SessionFiles
    warehouse: DeltaWarehouse
    clock: Clock
