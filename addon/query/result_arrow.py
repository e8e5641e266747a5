"""A stored result as an Arrow IPC stream: rows of msgpack in columns of the types that the job names."""

from __future__ import annotations

import io
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa

from addon.query.results import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BATCH = 16_384
_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "integer", "int", "bigint"), pa.int64()),
    **dict.fromkeys(("double", "real", "float"), pa.float64()),
    "boolean": pa.bool_(),
}
"""All else is text in a stored result: decimals, times, nested values as JSON."""


def arrow_stream(source: Path, schema: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    """Yield the stream; blocking, so iterate in a thread. Names may repeat, as a query's may."""
    fields = pa.schema([pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in schema])
    sink, left = io.BytesIO(), rows(source)
    with pa.ipc.new_stream(sink, fields) as writer:
        while batch := list(islice(left, _BATCH)):
            columns = zip(*batch, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=fields))
            yield taken(sink)
    yield taken(sink)


def taken(sink: io.BytesIO) -> bytes:
    """Return what a writer has put into the sink since the last call, and empty it."""
    piece = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return piece
