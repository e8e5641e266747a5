"""What the routes work with: one frozen object, made by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from addon.bulk.service import BulkService
    from addon.models.ingest import Ingestor, UploadLedger, Warehouse
    from addon.models.receivers import ReceiverStats
    from addon.provisioning.drops import Drops
    from addon.provisioning.provider import Provider
    from addon.provisioning.quotas import Quotas
    from addon.provisioning.sso import SignOn
    from addon.query.runner import JobRunner
    from addon.query.saved_runs import SavedRuns
    from addon.query.service import QueryService
    from addon.schedules.reports.assembly import ReportRooms
    from addon.schedules.scheduler import Scheduler
    from addon.schedules.service import Schedules
    from addon.store.accounts import AccountStore
    from addon.store.audit import AuditLog
    from addon.store.catalog import SqlCatalog
    from addon.store.jobs import JobStore
    from addon.store.resources import ResourceStore
    from addon.store.table_moves import TableMoves
    from addon.warehouse.versions import Versions
    from platform_core.base.clock import Clock


@dataclass(frozen=True, slots=True)
class Services:
    """The rooms below, as the routes see them."""

    accounts: AccountStore
    resources: ResourceStore
    catalog: SqlCatalog
    moves: TableMoves
    drops: Drops
    jobs: JobStore
    audit: AuditLog
    runner: JobRunner
    bulk: BulkService
    schedules: Schedules
    scheduler: Scheduler
    reports: ReportRooms
    query: QueryService
    saved: SavedRuns
    ingestor: Ingestor
    uploads: UploadLedger
    warehouse: Warehouse
    versions: Versions
    quotas: Quotas
    provider: Provider
    sign_on: SignOn
    results: Path
    scratch: Path
    clock: Clock
    public_url: str
    """Where customers' clients reach the HTTP listener, without a trailing slash."""
    receivers: Mapping[str, ReceiverStats]
    """The counters of the ways in over TCP."""
    forward_key: Callable[[int], str]
    """An account's shared key for the forward protocol."""
