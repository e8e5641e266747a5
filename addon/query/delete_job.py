"""A DELETE as a job: its rows' places by a sandboxed worker, then one commit of the files without them.

The condition is judged on one version of the table, after the flush barrier: rows that come later stay. When
a file that it names was replaced meanwhile by another process, everything is done anew on the newest version.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from addon.query.service import Query, QueryService
from addon.query.worker import QueryFailed, Reply
from platform_core.base.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from addon.models.accounts import Account
    from addon.models.jobs import Job
    from addon.models.tables import Snapshot, TableRef
    from addon.store.audit import AuditLog
    from addon.store.catalog import SqlCatalog
    from addon.warehouse.rewriting import Rewriter

_ATTEMPTS = 5
_ROWS = 1 << 18
_NO_NUMBERS = "file_row_number"
"""A column of this name hides the row numbers that DuckDB gives."""


class Deleter:
    """Runs DELETE jobs."""

    def __init__(
        self, service: QueryService, rewriter: Rewriter, catalog: SqlCatalog, audit: AuditLog, scratch: Path
    ) -> None:
        """Take what evaluates conditions, what rewrites files, and where the places are kept meanwhile."""
        self._service = service
        self._rewriter = rewriter
        self._catalog = catalog
        self._audit = audit
        self._scratch = scratch

    async def run(self, account: Account, job: Job, kill: asyncio.Event) -> Reply:
        """Delete the rows; the reply's ``rows`` are how many.

        Raises:
            UserError: the statement is refused.
            QueryFailed: it failed, or was killed; nothing was deleted.
            Unavailable: the table kept changing.
        """
        request = job.request
        query = Query(
            request.query,
            request.type,
            request.database,
            "parquet",
            request.scheduled_time,
            deleting=True,
        )
        began = time.monotonic()
        for _ in range(_ATTEMPTS):
            done = await self._attempt(account, query, kill)
            if done is not None:
                ref, count = done
                subject = f"{ref.database}.{ref.table} rows={count} job={job.id}"
                await asyncio.to_thread(self._audit.record, "job", "table.delete_rows", subject, account.id)
                await asyncio.to_thread(self._catalog.record_removal, ref, count)
                return Reply(count, 0, (("rows", "BIGINT"),), time.monotonic() - began)
        raise Unavailable("The table is being rewritten by others.", hint="Issue the job again.")

    async def _attempt(
        self, account: Account, query: Query, kill: asyncio.Event
    ) -> tuple[TableRef, int] | None:
        """Return the table and how many rows were deleted; None when it must be done anew."""
        ref = (await self._service.prepare(account, query)).target
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, self._rewriter.alone(ref))
            prepared = await self._service.prepare(account, query)
            snapshot = prepared.snapshot(ref)
            if snapshot is None:
                return ref, 0
            if prepared.compiled.everything:
                names = [path.name for path in snapshot.files]
                gone = await asyncio.to_thread(self._rewriter.drop_files, ref, names)
                return (ref, snapshot.rows) if gone else None
            _check_columns(snapshot)
            file = stack.enter_context(tempfile.TemporaryFile(dir=self._scratch))
            await self._service.run_prepared(account, prepared, file.fileno(), kill)
            if kill.is_set():
                raise QueryFailed("killed", "The DELETE was killed; nothing was deleted.")
            count = await asyncio.to_thread(self._rewriter.delete_rows, ref, _places(file))
        return None if count is None else (ref, count)


def _check_columns(snapshot: Snapshot) -> None:
    """Refuse what would take a sender's values for row numbers."""
    if any(name == _NO_NUMBERS for column in snapshot.columns for name, _ in column.stored):
        raise InvalidInput(
            f"Rows of a table with a column {_NO_NUMBERS} cannot be deleted one by one.",
            hint="Delete all of them, or the table.",
        )


def _places(file: IO[bytes]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield each file's name with the numbers of its rows, from a result that is in their order."""
    file.seek(0)
    name: str | None = None
    parts: list[NDArray[np.int64]] = []
    for batch in pq.ParquetFile(file, read_dictionary=["file"]).iter_batches(_ROWS):
        numbers = batch["file"].indices.to_numpy()
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        rows = batch["row"].to_numpy()
        for begin, end in pairwise(bounds):
            here = batch["file"][begin].as_py()
            if name is not None and here != name:
                yield name, np.concatenate(parts)
                parts = []
            name = here
            parts.append(rows[begin:end])
    if name is not None:
        yield name, np.concatenate(parts)
