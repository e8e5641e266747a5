"""The table that a batch is for, and its number, which the batch carries through renames and deletions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from addon.models.ingest import TABLE_ID

if TYPE_CHECKING:
    from addon.models.moves import Located
    from addon.models.tables import TableRef
    from addon.store.catalog import SqlCatalog


async def located(catalog: SqlCatalog, ref: TableRef) -> Located | None:
    """Return the table of this name, None without one; the event loop does not wait for the database."""
    return catalog.remembered(ref) or await asyncio.to_thread(catalog.locate, ref)


def meta_of(table: Located) -> dict[str, str]:
    """Return what a batch for the table carries."""
    return {TABLE_ID: str(table.id)}
