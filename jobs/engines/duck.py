"""DuckDB behind the engine port: in this process, in memory."""

from __future__ import annotations

import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from jobs.contracts.errors import OVERFLOW, EngineError, InputError
from jobs.engine.port import BATCH_ROWS, Kind, SourceColumn
from jobs.engine.text import text_literal
from jobs.engines.links import fetched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobs.contracts.pinned import PinnedFile

#: In bytes. With what a run holds beside DuckDB it stays inside 4 GiB; more hardly makes it faster.
DEFAULT_MEMORY = 2_500 << 20
_OVERFLOWN = re.compile(r"out of range for the destination type INT64|Overflow in \w+ of INT64")
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50}
_INTEGERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "HUGEINT",
}


def _kind(native: str) -> Kind:
    if native in _INTEGERS:
        return Kind.INTEGER
    if native in {"DOUBLE", "FLOAT"}:
        return Kind.FLOAT
    if native.startswith("DECIMAL"):
        return Kind.DECIMAL
    if native == "BOOLEAN":
        return Kind.BOOLEAN
    if native == '"NULL"':
        return Kind.NOTHING
    return Kind.TEXT if native == "VARCHAR" or native.startswith("ENUM") else Kind.OTHER


def _default_memory() -> int:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(DEFAULT_MEMORY, machine * 3 // 5)


class DuckDialect:
    """DuckDB's spelling of what differs."""

    has_asof_join = True

    def identifier(self, name: str) -> str:
        """A quoted name."""
        return '"' + name.replace('"', '""') + '"'

    def ordered_concat(self, expression: str, separator: str, order: str) -> str:
        """Join strings in order."""
        return f"string_agg({expression}, {text_literal(separator)} ORDER BY {order})"

    def split_table(self, relation: str, expression: str, separator: str) -> str:
        """One row for each part, with its place from 1."""
        parts = f"string_split({expression}, {text_literal(separator)})"
        items = f"*, unnest({parts}) AS part, generate_subscripts({parts}, 1) AS place"
        return f"SELECT {items} FROM {relation}"  # noqa: S608 - names and quoted literals only

    def replace_all(self, expression: str, pattern: str, replacement: str) -> str:
        """Every match replaced."""
        return f"regexp_replace({expression}, {text_literal(pattern)}, {text_literal(replacement)}, 'g')"

    def shift_left(self, number: str, places: str) -> str:
        """Bits moved up."""
        return f"(({number}) << ({places}))"

    def shift_right(self, number: str, places: str) -> str:
        """Bits moved down."""
        return f"(({number}) >> ({places}))"

    def series(self, low: str, high: str) -> str:
        """One row for each integer of low..high."""
        return f"unnest(generate_series({low}, {high}))"

    def month_index(self, day: str) -> str:
        """Months since year 0."""
        date = f"(DATE '1970-01-01' + CAST({day} AS INTEGER))"
        return f"CAST(year({date}) * 12 + month({date}) - 1 AS BIGINT)"

    def month_start(self, index: str) -> str:
        """Day number of a month's first day."""
        year, month = f"CAST(FLOOR({index} / 12) AS BIGINT)", f"CAST({index} % 12 + 1 AS BIGINT)"
        return f"CAST(make_date({year}, {month}, 1) - DATE '1970-01-01' AS BIGINT)"

    def increases(self, column: str) -> str | None:
        """Compares with the row before, in whatever order the rows stream by."""
        lowest = "CAST('-9223372036854775808' AS BIGINT)"
        return f"COALESCE({column} > LAG({column}, 1, {lowest}) OVER (), FALSE)"

    def bitmap_count(self, column: str, low: int, high: int) -> str | None:
        """A bit string of low..high."""
        return f"bit_count(bitstring_agg({column}, {low}, {high}))"

    def row_hash(self, columns: Sequence[str]) -> str:
        """DuckDB's own hash."""
        return f"hash({', '.join(columns)})"

    def surrogate(self, key: str) -> str:  # noqa: ARG002 - a number is cheaper to sort and join than a name
        """A number for each row."""
        return "ROW_NUMBER() OVER ()"

    def try_cast(self, expression: str, type_name: str) -> str:
        """NULL where the text cannot be read."""
        return f"TRY_CAST({expression} AS {type_name})"


class DuckEngine:
    """An engine on its own in-memory DuckDB database.

    Args:
        threads: how many threads a query may use; DuckDB's own choice when None.
        memory_limit: DuckDB's spelling, e.g. `2GB`; `DEFAULT_MEMORY`, or less on a small machine, when None.
            What does not fit goes to files in a folder of the system's temporary folder, which is removed on
            close.
    """

    name = "duckdb"
    version: str = duckdb.__version__

    def __init__(self, *, threads: int | None = None, memory_limit: str | None = None) -> None:
        """Open the database."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "TimeZone": "UTC",
            "autoinstall_known_extensions": "false",
        }
        self._spill = tempfile.TemporaryDirectory(prefix="sluice-spill-", ignore_cleanup_errors=True)
        config["temp_directory"] = self._spill.name
        if threads is not None:
            config["threads"] = threads
        config["memory_limit"] = memory_limit or f"{_default_memory() >> 20}MiB"
        try:
            self._connection = duckdb.connect(":memory:", config=config)
        except duckdb.Error as error:
            raise InputError(f"DuckDB's settings: {error}") from error
        self._dialect = DuckDialect()
        self._names: dict[str, str] = {}  # what is a view, and what a table

    @property
    def dialect(self) -> DuckDialect:
        """DuckDB's spelling of what differs."""
        return self._dialect

    @property
    def spare_memory(self) -> int:
        """Three quarters of what the database may use."""
        # In DuckDB's spelling, like `2.4 GiB`.
        limit = self._execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
        number, unit = str(limit).split()
        return int(float(number) * _UNITS[unit]) * 3 // 4

    def register_parquet(self, name: str, files: Sequence[Path]) -> None:
        """Read Parquet files as one table; columns are matched by name."""
        listing = ", ".join(text_literal(str(file)) for file in files)
        self._register(name, f"FROM read_parquet([{listing}], union_by_name = true)", files)

    def register_pinned(self, name: str, files: Sequence[PinnedFile], columns: Mapping[str, str]) -> None:
        """Read exactly these files, those of a store after fetching them beside the spilled rows."""
        if not files:
            items = ", ".join(
                f"NULL::{kind} AS {self._dialect.identifier(one)}" for one, kind in columns.items()
            )
            self.view(name, f"SELECT {items} WHERE FALSE")
            return
        folder = Path(tempfile.mkdtemp(prefix="fetched-", dir=self._spill.name))
        paths = fetched(files, folder)
        listing = ", ".join(text_literal(str(path)) for path in paths)
        described = ", ".join(
            f"{text_literal(one)}: {{name: {text_literal(one)}, type: '{kind}', default_value: NULL}}"
            for one, kind in columns.items()
        )
        self._register(name, f"FROM read_parquet([{listing}], schema = MAP {{{described}}})", paths)

    def register_csv(self, name: str, files: Sequence[Path], delimiter: str = ",") -> None:
        """Read CSV files with a header as text."""
        listing = ", ".join(text_literal(str(file)) for file in files)
        options = f"header = true, all_varchar = true, delim = {text_literal(delimiter)}"
        # Nothing is guessed: DuckDB would leave out the rows before the first ones of the usual width, and
        # rows that begin with #.
        options += ", quote = '\"', escape = '\"', skip = 0, comment = ''"
        self._register(name, f"FROM read_csv([{listing}], {options}, union_by_name = true)", files)

    def _register(self, name: str, sql: str, files: Sequence[Path]) -> None:
        try:
            self.view(name, sql)
        except EngineError as error:
            raise InputError(f"cannot read {', '.join(map(str, files))}: {error}") from error

    def register_arrow(self, name: str, table: pa.Table) -> None:
        """Put an Arrow table in place without a copy."""
        self._forget(name)
        self._connection.register(name, table)
        self._names[name] = "VIEW"

    def columns(self, name: str) -> Mapping[str, SourceColumn]:
        """The columns with DuckDB's type names."""
        rows = self._execute(f'DESCRIBE "{name}"').fetchall()
        return {row[0]: SourceColumn(_kind(row[1]), row[1]) for row in rows}

    def view(self, name: str, sql: str) -> None:
        """Name a query."""
        if self._names.get(name) != "VIEW":
            self._forget(name)
        self._execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS {sql}')
        self._names[name] = "VIEW"

    def materialize(self, name: str, sql: str) -> None:
        """Compute a query into a temporary table now."""
        self._forget(name)
        self._execute(f'CREATE TEMP TABLE "{name}" AS {sql}')
        self._names[name] = "TABLE"

    def _forget(self, name: str) -> None:
        if name in self._names:
            self._connection.execute(f'DROP {self._names.pop(name)} IF EXISTS "{name}"')

    def collect(self, sql: str) -> pa.Table:
        """Run a query."""
        try:
            return self._connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise EngineError(_first_line(error)) from error

    def stream(self, sql: str, rows: int = BATCH_ROWS, *, ahead: bool = True) -> Iterator[pa.RecordBatch]:
        """Run a query; one batch is computed ahead, no more than that."""
        try:
            reader = self._connection.sql(sql).to_arrow_reader(rows)
            if not ahead:
                yield from reader
                return
            with ThreadPoolExecutor(1, "duckdb-stream") as beside:
                coming = beside.submit(next, reader, None)
                while (batch := coming.result()) is not None:
                    coming = beside.submit(next, reader, None)
                    yield batch
        except (duckdb.Error, pa.ArrowException) as error:
            raise EngineError(_first_line(error)) from error

    def _execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(sql)
        except duckdb.Error as error:
            raise EngineError(_first_line(error)) from error

    def close(self) -> None:
        """Close the database; the engine cannot be used again."""
        self._connection.close()
        self._spill.cleanup()


def _first_line(error: Exception) -> str:
    """DuckDB's message without the statement that it quotes, or what it means where that is an overflow."""
    first = str(error).strip().split("\n", 1)[0]
    return OVERFLOW if _OVERFLOWN.search(first) else first
