"""CSV bodies to typed JSON texts, the way Treasure Data reads CSV: numbers, booleans, nothing for empty.

A cell that spells a JSON number is that number, digit for digit; true and false in any case are booleans;
the rest is text. An empty cell is no value, a quoted empty one an empty text. A column in which whole numbers
begin with zeros, or in which other text is not rare, is text throughout.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from addon.ingest.files.json_text import quoted
from addon.ingest.json_lines import BadLine
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.ingest.files.options import FileOptions

Lines = np.ndarray[tuple[int], np.dtype[np.int64]]

_NUMBER = r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$"
_PADDED = r"^-?0\d"
_BOOLEAN = r"^(?i:true|false)$"
_STRAYS = 10
"""One cell in so many may be text in a column of numbers or booleans."""
_MAX_COLUMNS = 4_096
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A body's cells as text, by column, and the line on which each row begins."""

    names: list[str]
    table: pa.Table
    lines: Lines


def read_csv(body: bytes, options: FileOptions) -> tuple[CsvTable, list[BadLine]]:
    """Return a body's cells, and its rows that have too few or too many, or are no UTF-8.

    Raises:
        InvalidInput: the header is missing or not usable, or the quotes do not close.
    """
    body = body.removeprefix(_BOM)
    names = list(options.columns) or _header(body, options)
    skipped = 0 if options.columns else 1
    wrong: dict[int, arrow_csv.InvalidRow] = {}

    def note(row: arrow_csv.InvalidRow) -> str:
        wrong[row.number] = row
        return "skip"

    positional = [f"c{place}" for place in range(len(names))]
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(body if body.endswith(b"\n") else body + b"\n"),
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                column_names=positional,
                skip_rows=0,
                block_size=max(len(body) + 1, 1 << 20),
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(positional, pa.binary()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"The body is not readable as CSV: {str(error)[:200]}.", hint="Check its quotes and delimiter."
        ) from error
    lines = _record_lines(body) + (options.first_line - 1)
    kept = np.delete(np.arange(len(lines)), np.array([number - 1 for number in wrong], np.int64))
    bad = [
        BadLine(int(lines[number - 1]), _raw(row.text), f"has {row.actual_columns} fields, not {len(names)}")
        for number, row in wrong.items()
    ]
    table, kept = table.slice(skipped), kept[skipped:]
    table, kept, broken = _utf8(table.combine_chunks(), kept, lines, options.delimiter)
    return CsvTable(names, table, lines[kept]), sorted(bad + broken, key=lambda line: line.number)


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _header(body: bytes, options: FileOptions) -> list[str]:
    """Return the names in the first row."""
    end = _record_ends(body)
    first = body[: int(end[0])] if len(end) else body
    try:
        row = arrow_csv.read_csv(
            io.BytesIO(first.strip(b"\r\n") + b"\n"),
            read_options=arrow_csv.ReadOptions(use_threads=False, autogenerate_column_names=True),
            parse_options=arrow_csv.ParseOptions(delimiter=options.delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types={f"f{place}": pa.string() for place in range(_MAX_COLUMNS)}
            ),
        )
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            "The first line is no CSV header.", hint="Send a header of column names, or columns=a,b,c."
        ) from error
    names = [str(column[0].as_py() or "").strip() for column in row.columns]
    named = [name for name in names if name]
    twice = next((name for name in named if names.count(name) > 1), None)
    if twice is not None or not named or len(names) > _MAX_COLUMNS:
        what = (
            f"names {twice[:80]!r} twice" if twice else f"has {len(names)} columns, {len(named)} with a name"
        )
        raise InvalidInput(f"The CSV header {what}.", hint="Give each column its own name.")
    return names


def _record_ends(body: bytes) -> Lines:
    """Return the positions of the line feeds that end a record: those outside quotes."""
    data = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    quotes = np.flatnonzero(data == ord('"'))
    if not len(quotes):
        return ends
    inside = np.searchsorted(quotes, ends) % 2 == 1
    outside: Lines = ends[~inside]
    return outside


def _record_lines(body: bytes) -> Lines:
    """Return the line, from 1, on which each record begins; blank lines are no records."""
    if not body.endswith(b"\n"):
        body += b"\n"
    ends = _record_ends(body)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    length = ends - starts
    data = np.frombuffer(body, np.uint8)
    blank = (length == 0) | ((length == 1) & (data[starts] == ord("\r")))
    feeds = np.flatnonzero(data == ord("\n"))
    lines: Lines = np.searchsorted(feeds, starts[~blank]) + 1
    return lines


def _utf8(
    table: pa.Table,
    kept: Lines,
    lines: Lines,
    delimiter: str,
) -> tuple[pa.Table, Lines, list[BadLine]]:
    """Return the cells as text; rows that are no UTF-8 are taken out."""
    try:
        return pa.table([column.cast(pa.string()) for column in table.columns], table.column_names), kept, []
    except pa.ArrowInvalid:
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    joint = delimiter.encode()
    good, bad = [], []
    for place, row in enumerate(rows):
        try:
            for cell in row:
                (cell or b"").decode()
            good.append(place)
        except UnicodeDecodeError:
            raw = joint.join(cell or b"" for cell in row)
            bad.append(BadLine(int(lines[kept[place]]), raw, "not_utf8"))
    left = table.take(pa.array(good, pa.int64()))
    text = pa.table([column.cast(pa.string()) for column in left.columns], table.column_names)
    return text.combine_chunks(), kept[np.array(good, np.int64)], bad


def cell_texts(cells: pa.StringArray, *, text: bool) -> pa.StringArray:
    """Return a column's cells as JSON texts."""
    filled = len(cells) - cells.null_count
    if text or not filled:
        return quoted(cells)
    number = pc.match_substring_regex(cells, _NUMBER)
    truth = pc.match_substring_regex(cells, _BOOLEAN)
    plain = (pc.sum(number).as_py() or 0) + (pc.sum(truth).as_py() or 0)
    if plain == filled and not pc.any(truth).as_py():
        return cells
    strays = filled - plain
    if strays * _STRAYS > filled or (strays and pc.any(pc.match_substring_regex(cells, _PADDED)).as_py()):
        return quoted(cells)
    lowered = pc.if_else(truth, pc.ascii_lower(cells), cells)
    result: pa.StringArray = pc.if_else(pc.or_(number, truth), lowered, quoted(cells))
    return result
