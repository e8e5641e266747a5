"""Where a segment's batches go: to the tables that they were accepted for, whatever those are named by now.

A batch carries the number of its table, which no other table ever has. So it follows its table through
renames and swaps, and when the table was deleted it never lands in one that was made again under its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from addon.models.ingest import TABLE_ID
from addon.models.moves import follow
from addon.models.tables import TableRef
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.record import Record
    from addon.models.ingest import Batch, Catalog
    from addon.models.moves import Located, TableMove

ROWS_DISCARDED = "rows_of_missing_table_discarded"

log = get_logger(__name__)


@dataclass(slots=True)
class Addressed:
    """Batches with the names that their tables have now, and where those lie."""

    records: list[Record] = field(default_factory=list)
    places: dict[TableRef, str] = field(default_factory=dict)
    gone: set[TableRef] = field(default_factory=set)
    """The names of deleted tables whose batches are left out."""


def addressed(records: Sequence[Record], catalog: Catalog) -> Addressed:
    """Look up where the records go.

    Log lines name their tables themselves, which are made when missing: they stay as they are. A batch
    without a number, of an older program, goes by the moves of names and their times.
    """
    ids = {number for record in records if (number := _number(record.batch)) is not None}
    there = catalog.locate_ids(ids)
    found = Addressed(places={one.ref: one.place for one in there.values()})
    moves: Sequence[TableMove] | None = None
    for record in records:
        batch, number = record.batch, _number(record.batch)
        if number is not None:
            _to_its_table(record, there.get(number), found)
        elif not batch.table:
            found.records.append(record)
        else:
            if moves is None:
                moves = catalog.moves(frozenset(one.batch.account_id for one in records))
            found.records.append(_moved(record, moves, catalog))
    for ref in found.gone:
        log.warning(ROWS_DISCARDED, account=ref.account_id, database=ref.database, table=ref.table)
    return found


def _number(batch: Batch) -> int | None:
    number = batch.meta.get(TABLE_ID, "")
    return int(number) if number.isascii() and number.isdigit() else None


def _to_its_table(record: Record, table: Located | None, found: Addressed) -> None:
    batch = record.batch
    if table is None or table.ref.account_id != batch.account_id:
        found.gone.add(TableRef(batch.account_id, batch.database, batch.table))
    else:
        found.records.append(_named(record, table.ref))


def _moved(record: Record, moves: Sequence[TableMove], catalog: Catalog) -> Record:
    batch = record.batch
    ref = TableRef(batch.account_id, batch.database, batch.table)
    return _named(record, follow(ref, batch.received_at, moves, catalog.table_exists))


def _named(record: Record, ref: TableRef) -> Record:
    batch = record.batch
    if (batch.database, batch.table) == (ref.database, ref.table):
        return record
    return replace(record, batch=replace(batch, database=ref.database, table=ref.table))
