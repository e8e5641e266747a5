"""CSV bodies to typed JSON texts, the way Treasure Data reads CSV: numbers, booleans, nothing for empty.

A cell that spells a JSON number is that number, digit for digit; true and false in any case are booleans;
the rest is text. An empty cell is no value, a quoted empty one an empty text. A column in which whole numbers
begin with zeros, or in which other text is not rare, is text throughout.
"""

from __future__ import annotations

import io
import re
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
_QUOTES_HINT = "Check its quotes and delimiter."


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
    body, lines, broken = _readable(body if body.endswith(b"\n") else body + b"\n", options)
    wrong: dict[int, arrow_csv.InvalidRow] = {}

    def note(row: arrow_csv.InvalidRow) -> str:
        wrong[row.number] = row
        return "skip"

    positional = [f"c{place}" for place in range(len(names))]
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(body),
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
                column_types=dict.fromkeys(positional, pa.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            f"The body is not readable as CSV: {str(error)[:200]}.", hint=_QUOTES_HINT
        ) from error
    if len(lines) != table.num_rows + len(wrong):
        raise InvalidInput("The body is not readable as CSV: its records cannot be told.", hint=_QUOTES_HINT)
    kept = np.delete(np.arange(len(lines)), np.array([number - 1 for number in wrong], np.int64))
    bad = [
        BadLine(int(lines[number - 1]), _raw(row.text), f"has {row.actual_columns} fields, not {len(names)}")
        for number, row in wrong.items()
    ]
    cells = table.slice(skipped).combine_chunks()
    return CsvTable(names, cells, lines[kept[skipped:]]), sorted(bad + broken, key=lambda line: line.number)


def _raw(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _header(body: bytes, options: FileOptions) -> list[str]:
    """Return the names in the first row."""
    end = _record_ends(body, options.delimiter)
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


def _line_ends(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Lines:
    """Return the positions of all line feeds, and of carriage returns that none follows."""
    feeds, returns = data == ord("\n"), data == ord("\r")
    if returns.any():
        feeds[:-1] |= returns[:-1] & ~feeds[1:]
        feeds[-1:] |= returns[-1:]
    ends: Lines = np.flatnonzero(feeds)
    return ends


def _record_ends(body: bytes, delimiter: str) -> Lines:
    """Return the positions of the line ends that end a record: those outside quotes.

    A quote opens a cell's text only where the cell begins; elsewhere it is a character like any other, as in
    ``5" pipe``. So does the parser that reads the cells.
    """
    data = np.frombuffer(body, np.uint8)
    ends = _line_ends(data)
    quotes = np.flatnonzero(data == ord('"'))
    if not len(quotes):
        return ends
    outside: Lines
    opening = quotes[::2]
    before = data[np.maximum(opening - 1, 0)]
    doubled = np.concatenate([[False], opening[1:] == quotes[1:-1:2] + 1])
    begins = (opening == 0) | (before == ord(delimiter)) | (before == ord("\n")) | (before == ord("\r"))
    if (begins | doubled).all():
        outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
        return outside
    spans = [found.span() for found in _quoted(delimiter).finditer(body)]
    starts, stops = np.array(spans, np.int64).reshape(-1, 2).T
    place = np.searchsorted(starts, ends, side="right") - 1
    inside = (place >= 0) & (ends < stops[np.maximum(place, 0)]) if spans else np.zeros(len(ends), bool)
    outside = ends[~inside]
    return outside


def _quoted(delimiter: str) -> re.Pattern[bytes]:
    """Return what matches quoted texts, one after the other from the body's begin."""
    return re.compile(rb"(?:\A|(?<=[\r\n" + re.escape(delimiter.encode()) + rb']))"[^"]*+(?:""[^"]*+)*+"?')


def _readable(body: bytes, options: FileOptions) -> tuple[bytes, Lines, list[BadLine]]:
    """Return the records that are UTF-8, the line on which each begins, and the other ones.

    Lines count from ``first_line``; blank ones are no records. The body ends with a line feed.
    """
    ends = _record_ends(body, options.delimiter)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    length = ends - starts
    data = np.frombuffer(body, np.uint8)
    filled = (length > 1) | ((length == 1) & (data[starts] != ord("\r")))
    starts, ends = starts[filled], ends[filled]
    lines: Lines = np.searchsorted(_line_ends(data), starts) + options.first_line
    if _is_utf8(body):
        return body, lines, []
    good, bad = [], []
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        record = body[start:end]
        if _is_utf8(record):
            good.append(place)
        else:
            bad.append(BadLine(int(lines[place]), record.removesuffix(b"\r"), "not_utf8"))
    kept = b"".join(body[starts[place] : ends[place] + 1] for place in good)
    return kept, lines[good], bad


def _is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8, without a copy of them."""
    ends = pa.py_buffer(np.array([0, len(data)], np.int32))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


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
