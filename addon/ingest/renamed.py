"""Batches whose table got another name after they were accepted: they go where their table went."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from addon.models.moves import follow
from addon.models.tables import TableRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.record import Record
    from addon.models.ingest import Catalog
    from addon.models.moves import TableMove


def renamed(records: Sequence[Record], catalog: Catalog) -> Sequence[Record]:
    """Return the records with the names that their tables have now.

    Log lines name their tables themselves, which are made when missing: they stay as they are.
    """
    moves = catalog.moves(frozenset(record.batch.account_id for record in records))
    if not moves:
        return records
    return [_moved(record, moves, catalog) for record in records]


def _moved(record: Record, moves: Sequence[TableMove], catalog: Catalog) -> Record:
    batch = record.batch
    if not batch.table:
        return record
    ref = TableRef(batch.account_id, batch.database, batch.table)
    now = follow(ref, batch.received_at, moves, catalog.table_exists)
    if now == ref:
        return record
    return replace(record, batch=replace(batch, database=now.database, table=now.table))
