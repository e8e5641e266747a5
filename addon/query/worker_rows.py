"""Writes a query's result into a file, inside the worker: Treasure Data's msgpack rows, Arrow, or Parquet.

DuckDB turns each column into what the format can hold first, in one projection: that is an order of magnitude
faster than doing it value by value in Python, and this is the tenant's own CPU time.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Any

import msgpack
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH_ROWS = 65_536
_GZIP = 31
"""zlib's window bits for a gzip header and trailer."""
_LEVEL = 1
_PLAIN = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
     "DOUBLE", "VARCHAR"}
)  # fmt: skip
_HUGE = frozenset({"HUGEINT", "UHUGEINT"})
_NESTED = ("STRUCT(", "MAP(", "UNION(")
_NESTED_DECIMAL = re.compile(r"DECIMAL\(\d+,\s*\d+\)")
_SECONDS = "'%Y-%m-%d %H:%M:%S.%g'"
_TD_VALUES = {
    "HUGEINT": "CAST({} AS BIGINT)",  # sum() of integers; Trino's is a bigint that errors on overflow
    "UHUGEINT": "CAST({} AS BIGINT)",
    "FLOAT": "CAST(CAST({} AS VARCHAR) AS DOUBLE)",  # else 0.1 would come out as 0.10000000149011612
    "TIMESTAMP": f"strftime({{}}, {_SECONDS})",
    "TIMESTAMP WITH TIME ZONE": f"strftime(timezone('UTC', {{}}), {_SECONDS}) || ' UTC'",
    "BLOB": "to_base64({})",
}


class ResultTooLarge(Exception):
    """The result is over the plan's limit."""


class CountingFile:
    """A file that counts, and refuses to grow beyond a limit."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        """Write to ``file``, at most ``limit`` bytes."""
        self._file = file
        self._limit = limit
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write ``data``.

        Raises:
            ResultTooLarge: it would go over the limit.
        """
        self.size += len(data)
        if self.size > self._limit:
            raise ResultTooLarge(f"The result is over {self._limit >> 20} MiB.")
        return self._file.write(data)

    def flush(self) -> None:
        """Hand everything to the kernel."""
        self._file.flush()

    def close(self) -> None:
        """Note that a writer is done; the file itself stays open."""
        self.closed = True

    def writable(self) -> bool:
        """Tell Arrow that it may write."""
        return True

    def tell(self) -> int:
        """Return how much was written."""
        return self.size


def td_value(column: str, kind: str) -> str:
    """Return the SQL that turns a column of DuckDB type ``kind`` into what a msgpack row holds."""
    if kind in _PLAIN:
        return column
    if kind.endswith("]") or kind.startswith(_NESTED):
        exact = _NESTED_DECIMAL.sub("VARCHAR", kind)  # to_json would print 1.50 as 1.5
        value = column if exact == kind else f"CAST({column} AS {exact})"
        return f"CAST(to_json({value}) AS VARCHAR)"
    if kind.startswith("TIMESTAMP_"):
        kind = "TIMESTAMP"
    return _TD_VALUES.get(kind, "CAST({} AS VARCHAR)").format(column)


def columnar_value(column: str, kind: str) -> str:
    """Return the SQL that turns a column into what Arrow and Parquet readers everywhere know."""
    if kind in _HUGE:
        return f"CAST({column} AS BIGINT)"
    if kind == "JSON" or kind.startswith(("INTERVAL", "UNION(", "ENUM(")):
        return f"CAST({column} AS VARCHAR)"
    return column


def write_td_rows(reader: pa.RecordBatchReader, file: CountingFile) -> int:
    """Write every row as a msgpack array into one gzip stream; return the number of rows."""
    packer = msgpack.Packer(autoreset=False)
    gzip = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    rows = 0
    for batch in reader:
        columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            packer.pack(row)
        rows += batch.num_rows
        file.write(gzip.compress(packer.getbuffer()))
        packer.reset()
    file.write(gzip.flush())
    return rows


def write_arrow(reader: pa.RecordBatchReader, file: CountingFile) -> int:
    """Write an Arrow IPC stream; return the number of rows."""
    rows = 0
    with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_parquet(reader: pa.RecordBatchReader, file: CountingFile) -> int:
    """Write a Parquet file; return the number of rows."""
    rows = 0
    with pq.ParquetWriter(pa.PythonFile(file, mode="w"), reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


WRITERS: dict[str, Callable[[pa.RecordBatchReader, CountingFile], int]] = {
    "td": write_td_rows,
    "arrow": write_arrow,
    "parquet": write_parquet,
}


def projection(form: str, names: Sequence[str], kinds: Sequence[str]) -> str:
    """Return the select list over columns c0, c1… that suits ``form``; names may repeat only in TD rows."""
    parts = []
    for index, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        if form == "td":
            parts.append(f"{td_value(f'c{index}', kind)} AS c{index}")
        else:
            quoted = name.replace('"', '""')
            parts.append(f'{columnar_value(f"c{index}", kind)} AS "{quoted}"')
    return ", ".join(parts)
