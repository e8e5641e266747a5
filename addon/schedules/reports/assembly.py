"""Builds the rooms of reports and wires them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.schedules.deliveries.egress import Egress
from addon.schedules.deliveries.files import FileDelivery
from addon.schedules.deliveries.mail import MailDelivery, SmtpServer
from addon.schedules.deliveries.postgres import PostgresDelivery
from addon.schedules.deliveries.table import QuotaCheck, TableDelivery
from addon.schedules.deliveries.webhook import WebhookDelivery
from addon.schedules.reports.computing import ReportComputation
from addon.schedules.reports.execution import ReportExecution
from addon.schedules.reports.folders import ReportFolders
from addon.schedules.reports.outbox import Outbox
from addon.schedules.reports.rendering import Renderer
from addon.schedules.reports.secrets import SecretBox
from addon.schedules.reports.service import Reports
from addon.store.deliveries import DeliveryStore
from addon.store.reports import ReportStore

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.ingest import Ingestor, Warehouse
    from addon.query.books import Books
    from addon.query.service import QueryService
    from addon.schedules.deliveries.port import Delivery
    from addon.store.accounts import AccountStore
    from addon.store.catalog import SqlCatalog
    from addon.store.database import Database
    from addon.store.jobs import JobStore
    from platform_core.base.clock import Clock
    from platform_core.base.sandbox.spec import Sandbox

EXPORTS = "exports"
"""Of the same folder: what deliveries leave in files, one sub-folder per account id."""
FOLDER = "reports"
"""Of the folder that all nodes share: finished runs, one sub-folder per account id."""


@dataclass(frozen=True, slots=True)
class ReportPlaces:
    """Where reports are kept and made, and how they leave."""

    shared: Path
    scratch: Path
    public_url: str
    secret: str
    """256 bits, hex: seals the secrets of deliveries."""
    smtp: SmtpServer | None
    smtp_authorities: str | None
    smtp_domains: str
    egress_allow: str


@dataclass(frozen=True, slots=True)
class ReportRooms:
    """What others need of reports."""

    reports: Reports
    store: ReportStore
    outbox: Outbox
    folders: ReportFolders
    execution: ReportExecution
    folders_of_accounts: tuple[Path, ...]
    """They hold one sub-folder per account id."""


def assemble_reports(  # noqa: PLR0917  (the ports of one room)
    database: Database,
    clock: Clock,
    accounts: AccountStore,
    catalog: SqlCatalog,
    ingestor: Ingestor,
    warehouse: Warehouse,
    query: QueryService,
    sandbox: Sandbox,
    books: Books | None,
    jobs: JobStore,
    check_quota: QuotaCheck,
    places: ReportPlaces,
) -> ReportRooms:
    """Return the rooms of reports.

    Raises:
        InvalidInput: the operator's list of origins is malformed.
    """
    root = places.shared / FOLDER
    root.mkdir(exist_ok=True, mode=0o700)
    egress = Egress(places.egress_allow)
    found: tuple[Delivery, ...] = (
        MailDelivery(egress, places.smtp, places.smtp_authorities, places.smtp_domains),
        WebhookDelivery(egress, clock),
        TableDelivery(ingestor, catalog, clock, check_quota),
        PostgresDelivery(egress),
        FileDelivery(egress, places.shared / EXPORTS),
    )
    ways = {one.type: one for one in found}
    store, folders = ReportStore(database, clock), ReportFolders(root)
    reports = Reports(store, ways, SecretBox(places.secret), folders, catalog, places.public_url)
    outbox = Outbox(DeliveryStore(database, clock), store, accounts, reports, folders, ways, clock)
    execution = ReportExecution(
        reports,
        store,
        ReportComputation(query, ingestor, warehouse, catalog, sandbox, books),
        Renderer(sandbox),
        outbox,
        folders,
        jobs,
        places.scratch,
    )
    return ReportRooms(reports, store, outbox, folders, execution, (root, places.shared / EXPORTS))
