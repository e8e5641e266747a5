"""Files that no version of a table names, also where nobody writes or reads: a slow walk over all tables.

A process sweeps the tables that it uses by itself. What a crash left in the others, a bulk import's staged
files for example, is found here: each round looks at the next few hundred tables in the order of their
numbers, and begins anew after the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from addon.store.catalog import SqlCatalog
    from addon.warehouse.store import DeltaWarehouse

MOST = 500
"""Tables that one round looks at; each is one listing and one reading of its log."""
TABLES_SWEPT = "tables_swept"
SWEEP_FAILED = "table_sweep_failed"
_log = get_logger(__name__)


class Sweeps:
    """Runs the rounds; blocking."""

    def __init__(self, catalog: SqlCatalog, warehouse: DeltaWarehouse, most: int = MOST) -> None:
        """Take what knows the tables, and what deletes their orphaned files."""
        self._catalog = catalog
        self._warehouse = warehouse
        self._most = most
        self._after = 0

    def round(self) -> None:
        """Sweep the next tables; one that fails is tried again when its turn comes again."""
        tables = self._catalog.following(self._after, self._most)
        deleted = 0
        for table in tables:
            ref = table.ref
            try:
                deleted += self._warehouse.sweep_table(ref, table.place)
            except (SluiceError, OSError):
                _log.exception(SWEEP_FAILED, account=ref.account_id, database=ref.database, table=ref.table)
        self._after = tables[-1].id if len(tables) == self._most else 0
        if deleted:
            _log.info(TABLES_SWEPT, tables=len(tables), deleted=deleted)
