"""How rows are printed: a table on a terminal, tab-separated values in a pipe, JSON or CSV on request."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Format(StrEnum):
    """The forms of output."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSON = "json"


def choose_format(*, as_json: bool, as_csv: bool) -> Format:
    """Return the format asked for; without a wish it depends on who reads.

    Raises:
        Failure: both were asked for.
    """
    if as_json and as_csv:
        raise Failure("--json and --csv exclude each other", "", "Give one of them.", Exit.USAGE)
    if as_json:
        return Format.JSON
    if as_csv:
        return Format.CSV
    return Format.TABLE if sys.stdout.isatty() else Format.TSV


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: Format, out: TextIO) -> None:
    """Print rows under their columns as they come; JSON is one array of objects, an object a line."""
    if form is Format.JSON:
        _print_json(columns, rows, out)
    elif form is Format.TABLE:
        _print_table(columns, rows, out)
    else:
        dialect = "excel-tab" if form is Format.TSV else "excel"
        writer = csv.writer(out, dialect, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_plain(value) for value in row] for row in rows)


def _print_json(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO) -> None:
    ascii_only = (out.encoding or "utf-8").lower().replace("-", "") != "utf8"
    out.write("[")
    for number, row in enumerate(rows):
        out.write(",\n " if number else "\n ")
        out.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=ascii_only))
    out.write("\n]\n")


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], out: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415  # only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table()
    for name in columns:
        table.add_column(Text(name))
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007  # the last count is the number of rows
        table.add_row(*(Text(_plain(value)) for value in row))
    console = Console(file=out)
    console.print(table)
    console.print(f"{count:,} rows", highlight=False)
