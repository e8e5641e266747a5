"""Parquet bodies to Arrow, within limits that are looked at before anything is unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits

MAX_ROWS = 2_000_000
_FLAT_ROWS, _NESTED_ROWS = 8_192, 512
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
        return _within(body, file.schema_arrow, limits.inflated_bytes)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(
            f"The body is not readable as Parquet: {str(error)[:200]}.", hint="Send a whole Parquet file."
        ) from error


def _within(body: bytes, schema: pa.Schema, limit: int) -> pa.Table:
    """Read batch by batch: a file that says less than it unpacks to is stopped on the way.

    Texts are read as dictionaries first, since one long text that a thousand rows share lies there only once.
    """
    texts = [item.name for item in schema if _is_text(item.type)]
    nested = any(pa.types.is_nested(item.type) for item in schema)
    file = pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts, page_checksum_verification=True)
    batches, size = [], 0
    for batch in file.iter_batches(batch_size=_NESTED_ROWS if nested else _FLAT_ROWS, use_threads=False):
        size += sum(map(_size, batch.columns))
        if size > limit:
            raise TooLarge(f"The file unpacks to over {limit} bytes.", hint=_HINT)
        batches.append(pa.table(list(map(_plain, batch.columns)), batch.schema.names))
    if not batches:
        return schema.empty_table()
    return pa.concat_tables(batches).combine_chunks()


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _size(column: pa.Array) -> int:
    """Return a column's bytes, a dictionary's counted as often as its values are there."""
    if not isinstance(column, pa.DictionaryArray) or not _is_text(column.type.value_type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return 4 * len(column) + int(pc.sum(lengths).as_py() or 0)


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(column.type.value_type) if isinstance(column, pa.DictionaryArray) else column
