"""The engine port: what an analysis may ask of DuckDB or Spark."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from jobs.contracts.pinned import PinnedFile

#: How many rows a batch has where nobody asks for another number.
BATCH_ROWS = 1_000_000


class Kind(StrEnum):
    """What an engine's column type is to the contract."""

    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    BOOLEAN = "boolean"
    NOTHING = "nothing"
    """Never a value: what a writer makes of a column without any."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a relation as the engine sees it: its own type name, and its kind."""

    kind: Kind
    native: str


class Dialect(Protocol):
    """The few spots where the engines' SQL differs. Every method returns SQL text.

    Everything else in `jobs/sql/` is text that both engines read the same way.
    """

    @property
    def has_asof_join(self) -> bool:
        """Whether a faster text of a definition may use `ASOF JOIN`, list lambdas, 128-bit integers."""

    def identifier(self, name: str) -> str:
        """A column name from a file, quoted."""

    def ordered_concat(self, expression: str, separator: str, order: str) -> str:
        """The aggregate that joins strings by `separator` in `order`."""

    def split_table(self, relation: str, expression: str, separator: str) -> str:
        """A query: the relation's rows, once for each part of a string, with `part` and `place` (from 1).

        The separator is one character.
        """

    def replace_all(self, expression: str, pattern: str, replacement: str) -> str:
        """Every match of a regular expression replaced.

        The pattern is what RE2 and Java both read; the replacement has no backslash and no dollar sign.
        """

    def shift_left(self, number: str, places: str) -> str:
        """A 64-bit integer's bits moved up; places of 0..62 that lose no bit."""

    def shift_right(self, number: str, places: str) -> str:
        """A 64-bit integer's bits moved down; places of 0..62, of a number of at least 0."""

    def series(self, low: str, high: str) -> str:
        """A select item that yields one row for each integer of low..high, both included."""

    def month_index(self, day: str) -> str:
        """Months since year 0 of a day number (days since 1970-01-01)."""

    def month_start(self, index: str) -> str:
        """The day number of the first day of a month given by `month_index`."""

    def increases(self, column: str) -> str | None:
        """A condition that is TRUE in all rows only if each has a larger integer than the row read before.

        Whatever the order of reading, no two rows then hold the same one. None where the engine has no
        cheap way to ask.
        """

    def bitmap_count(self, column: str, low: int, high: int) -> str | None:
        """How many integers of low..high a column holds, by one bit for each; None without bitmaps."""

    def row_hash(self, columns: Sequence[str]) -> str:
        """A 64-bit hash of some columns: equal for equal values."""

    def surrogate(self, key: str) -> str:
        """A select item that numbers the rows of a materialized relation, or the key itself."""

    def try_cast(self, expression: str, type_name: str) -> str:
        """A cast that gives NULL where the text cannot be read."""


class Engine(Protocol):
    """Named relations in, Arrow tables out. One engine object runs one analysis at a time."""

    @property
    def name(self) -> str:
        """`duckdb` or `spark`, as it stands in the manifest."""

    @property
    def version(self) -> str:
        """The version of the engine's library."""

    @property
    def dialect(self) -> Dialect:
        """The engine's spelling of what differs."""

    @property
    def spare_memory(self) -> int:
        """Bytes that an analysis may hold itself while the engine only streams; 0 where nobody knows."""

    def register_parquet(self, name: str, files: Sequence[Path]) -> None:
        """Make Parquet files, read as one table, a relation. Raises InputError when they cannot be read."""

    def register_pinned(self, name: str, files: Sequence[PinnedFile], columns: Mapping[str, str]) -> None:
        """Make exactly these files of a warehouse table, few or none, one relation with these columns.

        `columns` holds BIGINT, DOUBLE, BOOLEAN or VARCHAR by name; a column that a file lacks is NULL there.
        Raises InputError when a file cannot be had.
        """

    def register_csv(self, name: str, files: Sequence[Path], delimiter: str = ",") -> None:
        """Make CSV files with a header a relation whose columns are all VARCHAR (RFC 4180 quotes, UTF-8)."""

    def register_arrow(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table a relation."""

    def columns(self, name: str) -> Mapping[str, SourceColumn]:
        """The columns of a relation, in order."""

    def view(self, name: str, sql: str) -> None:
        """Name a query. It replaces an earlier relation of that name and is evaluated when read."""

    def materialize(self, name: str, sql: str) -> None:
        """Name a query's result, computed at most once however often it is read."""

    def collect(self, sql: str) -> pa.Table:
        """Run a query and return its rows. Raises EngineError with the engine's own words."""

    def stream(self, sql: str, rows: int = BATCH_ROWS, *, ahead: bool = True) -> Iterator[pa.RecordBatch]:
        """Run a query and hand its rows over in batches of about so many; errors as in `collect`.

        With `ahead` the next batch may be computed while the reader works on this one; a reader that hands
        its batches to other threads is faster without.
        """

    def close(self) -> None:
        """Drop every relation of this engine object. A shared session or process stays up."""
