"""Parquet bodies to Arrow, within limits that are looked at before anything is unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits

MAX_ROWS = 2_000_000
_HINT = "Use `sluice import`, which sends a file in pieces."


def read_parquet(body: bytes, limits: IngestLimits) -> pa.Table:
    """Return a body's rows.

    Raises:
        InvalidInput: it is no Parquet file, or a damaged one.
        TooLarge: it has too many rows, or unpacks to too much.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True)
        facts = file.metadata
        unpacked = sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))
        if facts.num_rows > MAX_ROWS or unpacked > limits.inflated_bytes:
            raise TooLarge(
                f"The file has {facts.num_rows} rows of {unpacked} bytes;"
                f" an upload takes {MAX_ROWS} and {limits.inflated_bytes}.",
                hint=_HINT,
            )
        return _within(file, limits.inflated_bytes)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(
            f"The body is not readable as Parquet: {str(error)[:200]}.", hint="Send a whole Parquet file."
        ) from error


def _within(file: pq.ParquetFile, limit: int) -> pa.Table:
    """Read batch by batch: a file that says less than it unpacks to is stopped on the way."""
    batches, size = [], 0
    for batch in file.iter_batches(batch_size=8_192, use_threads=False):
        size += batch.nbytes
        if size > limit:
            raise TooLarge(f"The file unpacks to over {limit} bytes.", hint=_HINT)
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow).combine_chunks()
