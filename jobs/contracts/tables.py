"""Input and output tables as data: column names, types, units, keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: The largest time an input may carry: 9999-12-31T23:59:59Z. Milliseconds of any date after 1978 lie beyond
#: it.
MAX_TIME = 253_402_300_799


class ColumnType(StrEnum):
    """The types of the contract. Integers inside: money and time are never floating point."""

    BIGINT = "BIGINT"
    INTEGER = "INTEGER"
    DOUBLE = "DOUBLE"
    VARCHAR = "VARCHAR"
    BOOLEAN = "BOOLEAN"
    #: Input only: BIGINT when the file holds integers, else DOUBLE.
    NUMBER = "NUMBER"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: the name in the contract; `--map` renames a file's column to it.
        type: the type that the analysis sees.
        nullable: for an input, whether rows with NULL here are kept. Rows with NULL in a column that is not
            nullable are excluded and counted under `null_<name>`.
        required: whether an input without the column is refused; an optional column that is absent reads as
            NULL.
        unit: seconds, minor currency units, a fraction; None for names and plain counts.
        is_time: whether values outside 0..MAX_TIME are excluded and counted under `<name>_out_of_range`.
        aliases: other names that a file may use for it, without `--map`.
    """

    name: str
    type: ColumnType
    nullable: bool = False
    required: bool = True
    unit: str | None = None
    is_time: bool = False
    doc: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputTable:
    """An input table. Columns that are not listed are ignored.

    Attributes:
        unique: rows that repeat these columns are dropped but one (the smallest in column order), and
            counted.
        required: False for a table that the analysis can do without.
    """

    name: str
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    required: bool = True
    doc: str = ""


@dataclass(frozen=True, slots=True)
class OutputTable:
    """An output table.

    Attributes:
        key: the columns that no two rows share; the result hash is taken in this order.
        order: the SQL order in which the rows are written, for people to read.
        noted: whether its rows also stand in the manifest's notes: a few rows on how the run went.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order: str
    doc: str = ""
    noted: bool = False


def varchar(
    name: str,
    doc: str = "",
    *,
    nullable: bool = False,
    required: bool = True,
    aliases: tuple[str, ...] = (),
) -> Column:
    """Text."""
    return Column(name, ColumnType.VARCHAR, nullable, required, doc=doc, aliases=aliases)


def bigint(
    name: str, doc: str = "", *, nullable: bool = False, required: bool = True, unit: str | None = None
) -> Column:
    """A 64-bit integer."""
    return Column(name, ColumnType.BIGINT, nullable, required, unit, doc=doc)


def integer(name: str, doc: str = "", *, nullable: bool = False, unit: str | None = None) -> Column:
    """A 32-bit integer."""
    return Column(name, ColumnType.INTEGER, nullable, unit=unit, doc=doc)


def double(
    name: str, doc: str = "", *, nullable: bool = False, required: bool = True, unit: str | None = None
) -> Column:
    """A 64-bit float: credits, shares, scores; never money or time that came in."""
    return Column(name, ColumnType.DOUBLE, nullable, required, unit, doc=doc)


def boolean(name: str, doc: str = "", *, nullable: bool = False) -> Column:
    """True or false."""
    return Column(name, ColumnType.BOOLEAN, nullable, doc=doc)


def seconds(name: str, doc: str = "", *, nullable: bool = False, required: bool = True) -> Column:
    """A time in Unix seconds, UTC; values outside 0..MAX_TIME are excluded and counted."""
    return Column(name, ColumnType.BIGINT, nullable, required, "Unix seconds", is_time=True, doc=doc)
