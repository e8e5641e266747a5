"""``sluice fsck``: log, tables, files, hashes and database against each other; nothing is changed.

It may run beside the service: what moves while it looks is looked at again before it is called an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.models.tables import TableRef
from addon.store.audit import AuditLog
from addon.store.catalog import SqlCatalog
from addon.store.transfer import sound
from addon.upkeep.findings import Report, Severity
from addon.upkeep.log_check import LogState, check_log
from addon.upkeep.table_check import Tables, check_tables
from platform_core.base.clock import SystemClock

if TYPE_CHECKING:
    from addon.upkeep.place import Place


def fsck(place: Place, *, quick: bool = False) -> Report:
    """Check everything; ``quick`` looks at names and sizes of the data files and does not read them."""
    report = Report()
    _check_database(place, report)
    log = check_log(place.wal, report)
    tables = check_tables(place.objects, report, quick=quick)
    _check_catalog(place, tables, log, report)
    return report


def _check_database(place: Place, report: Report) -> None:
    wrong = sound(place.database)
    if wrong:
        report.error("addon.db", wrong, "Restore it: sluice restore BACKUP --home NEW.")
        return
    broken = AuditLog(place.database, SystemClock()).verify()
    if broken is not None:
        report.error(
            "addon.db",
            f"the audit log was changed at its row {broken}",
            "Compare it with a backup's; somebody who can write the database did this.",
        )


def _check_catalog(place: Place, tables: Tables, log: LogState, report: Report) -> None:
    catalog = SqlCatalog(place.database, SystemClock())
    counted = {_folder(ref, catalog.place(ref)): rows for ref, rows in catalog.row_counts().items()}
    for ref, version in tables.versions.items():
        if ref not in counted:
            report.add(
                Severity.WARNING,
                _shown(ref),
                f"the warehouse has {version.rows} rows of it, the catalog has no such table",
                "Create the table to see them, or delete its folder.",
            )
        elif counted[ref] != version.rows and not log.batches:
            report.add(
                Severity.NOTE,
                _shown(ref),
                f"it has {version.rows} rows; {counted[ref]} were counted into it",
                "Only the number that is shown is off; queries count the rows themselves.",
            )
    for ref, rows in counted.items():
        if rows and ref not in tables.versions:
            report.error(
                _shown(ref),
                f"the catalog counts {rows} rows of it, the warehouse has no such table",
                "Restore it from a backup, or drop the table.",
            )
    report.count("rows", sum(version.rows for version in tables.versions.values()))


def _folder(ref: TableRef, place: str) -> TableRef:
    """Return the name that a table's folder has; the table may have got another one since."""
    database, _, table = place.partition("/")
    return TableRef(ref.account_id, database, table)


def _shown(ref: TableRef) -> str:
    return f"table {ref.account_id}/{ref.database}.{ref.table}"
