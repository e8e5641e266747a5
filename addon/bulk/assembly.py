"""The room put together: the routes' service and the job runner's execution share what is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.bulk.activity import Activity
from addon.bulk.commit import Committer
from addon.bulk.execution import PerformExecution
from addon.bulk.files import SessionFiles
from addon.bulk.rooms import BulkRooms
from addon.bulk.service import BulkService
from addon.bulk.staging import Staging

if TYPE_CHECKING:
    from addon.store.bulk import BulkStore
    from addon.store.catalog import SqlCatalog
    from addon.warehouse.store import DeltaWarehouse
    from platform_core.base.clock import Clock


def assemble(
    store: BulkStore, catalog: SqlCatalog, warehouse: DeltaWarehouse, clock: Clock
) -> tuple[BulkService, PerformExecution]:
    """Return the service and the execution of its jobs."""
    rooms = BulkRooms(store, catalog, SessionFiles(warehouse.objects), warehouse, clock)
    activity, staging = Activity(), Staging(rooms)
    return BulkService(rooms, Committer(rooms, staging), activity), PerformExecution(store, staging, activity)
