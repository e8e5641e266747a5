"""The inputs of the analysis ``usage`` from the add-on's own meters, as Parquet files: one account's only."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.base.errors import SluiceError
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from addon.models.ingest import Warehouse
    from addon.models.tables import TableRef
    from addon.query.metering import Metering
    from addon.store.catalog import SqlCatalog
    from addon.store.meters import MeterRow, MeterStore

KEEP_S = 400 * 86_400
"""How long the meters are kept: a year to compare with, and a month to write the bill in."""
MOST = 500
"""Tables that one round measures."""
_log = get_logger(__name__)
_WHERE = [("time", pa.int64()), ("database", pa.string()), ("table_name", pa.string())]
INGESTED = pa.schema([*_WHERE, ("rows_in", pa.int64()), ("bytes_in", pa.int64())])
STORED = pa.schema([*_WHERE, ("bytes_stored", pa.int64())])
QUERIED = pa.schema(
    [("query_id", pa.string()), *_WHERE, ("bytes_scanned", pa.int64()), ("cpu_s", pa.float64())]
)


class Books:
    """Writes an account's meters as the analysis reads them."""

    def __init__(
        self, meters: MeterStore, metering: Metering, catalog: SqlCatalog, warehouse: Warehouse
    ) -> None:
        """Read ``meters`` when ``metering`` has added what it counted, and tables were measured."""
        self._meters = meters
        self._metering = metering
        self._catalog = catalog
        self._warehouse = warehouse
        self._after = 0

    async def write(self, account_id: int, folder: Path) -> None:
        """Write ``ingested``, ``stored`` and ``queried``, all as of now."""
        await self._metering.flush()
        await asyncio.to_thread(self._write, account_id, folder)

    def _write(self, account_id: int, folder: Path) -> None:
        self._measure(self._catalog.table_refs(account_id))
        for name, table in meter_tables(self._meters.rows(account_id)).items():
            pq.write_table(table, folder / f"{name}.parquet")

    def round(self) -> None:
        """Measure the next tables of all accounts, and forget what is too old; blocking, once an hour.

        A size stands until the next measurement, so that it does no harm when a large installation's round
        trip takes some hours.
        """
        tables = self._catalog.following(self._after, MOST)
        self._measure([table.ref for table in tables])
        self._after = tables[-1].id if len(tables) == MOST else 0
        self._meters.expire(self._meters.now() - KEEP_S)

    def _measure(self, refs: Sequence[TableRef]) -> None:
        sizes = {}
        for ref in refs:
            try:
                snapshot = self._warehouse.snapshot(ref)
            except (SluiceError, OSError):  # dropped in this moment, or the store is away: later, then
                _log.exception("table_not_measured", account=ref.account_id, table=ref.table)
                continue
            sizes[ref] = 0 if snapshot is None else snapshot.bytes
        self._meters.note_sizes(sizes)


def meter_tables(
    rows: Sequence[MeterRow], database_of: Callable[[MeterRow], str] = lambda row: row.database
) -> dict[str, pa.Table]:
    """Return the meters as the analysis' inputs. ``database_of`` says under which name a row's database goes.

    An hour's ``n`` queries of a table are ``n`` rows, the first of which has all that they read and spent.
    """
    ingested = [row for row in rows if row.rows_in or row.bytes_in]
    stored = [row for row in rows if row.bytes_stored is not None]
    queried = [row for row in rows if row.queries]
    counts = [row.queries for row in queried]
    each = list(chain.from_iterable([row] * row.queries for row in queried))
    first = list(chain.from_iterable([True] + [False] * (count - 1) for count in counts))
    numbers = chain.from_iterable(range(count) for count in counts)
    ids = [
        f"{row.account_id}/{row.hour}/{row.database}/{row.table}/{n}"
        for row, n in zip(each, numbers, strict=True)
    ]
    return {
        "ingested": pa.table(
            [*_where(ingested, database_of), [r.rows_in for r in ingested], [r.bytes_in for r in ingested]],
            schema=INGESTED,
        ),
        "stored": pa.table(
            [*_where(stored, database_of), [row.bytes_stored for row in stored]], schema=STORED
        ),
        "queried": pa.table(
            [
                ids,
                *_where(each, database_of),
                [row.bytes_scanned if whole else 0 for row, whole in zip(each, first, strict=True)],
                [row.cpu_s if whole else 0.0 for row, whole in zip(each, first, strict=True)],
            ],
            schema=QUERIED,
        ),
    }


def _where(rows: Sequence[MeterRow], database_of: Callable[[MeterRow], str]) -> list[list[object]]:
    return [
        [row.hour for row in rows],
        [database_of(row) or None for row in rows],
        [row.table or None for row in rows],
    ]
