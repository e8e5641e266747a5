"""A whole body to its rows: the one entry of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.ingest.files.csv import cell_texts, read_csv
from addon.ingest.files.json_text import joined, texts_of
from addon.ingest.files.options import FileFormat, FileOptions, FileRows, TimeFormat
from addon.ingest.files.parquet import read_parquet
from addon.ingest.files.times import seconds_array, seconds_of
from addon.ingest.json_lines import BadLine, as_array, check, is_clean, longest
from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits

_TIME = "time"
_NO_TIME = "time_is_not_readable"
_SHOWN_BYTES = 8 << 10

Object = dict[str, msgspec.Raw]
Lines = np.ndarray[tuple[int], np.dtype[np.int64]]
_objects = msgspec.json.Decoder(Object)


def read_file(body: bytes, options: FileOptions, limits: IngestLimits) -> FileRows:
    """Return the rows of an uncompressed body; CPU work of about 1 s per 100 MB.

    Raises:
        InvalidInput: it cannot be read as a whole, or none of its rows can; the message says where.
        TooLarge: over a limit.
    """
    if options.format is FileFormat.NDJSON:
        found = _ndjson(body, options, limits)
    elif options.format is FileFormat.CSV:
        cells, bad = read_csv(body, options)
        _check_names(cells.names, cells.table.num_rows, len(body), limits)
        columns = {
            name: column.combine_chunks()
            for name, column in zip(cells.names, cells.table.columns, strict=True)
            if name  # pandas writes its index under an empty name
        }
        texts = [
            (name, cell_texts(column, text=options.all_text or name in options.text))
            for name, column in columns.items()
        ]
        found = _rows(columns, texts, cells.lines, bad=bad, options=options, limits=limits)
    else:
        table = read_parquet(body, limits)
        _check_names(table.column_names, table.num_rows, table.nbytes, limits)
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        texts = [(name, texts_of(column)) for name, column in columns.items()]
        lines = np.arange(table.num_rows, dtype=np.int64) + options.first_line
        found = _rows(columns, texts, lines, bad=[], options=options, limits=limits)
    if not found.rows and found.bad:
        first = found.bad[0]
        raise InvalidInput(f"Line {first.number}: {first.reason}; no other row is good either.", hint=_HINT)
    if not found.rows:
        raise InvalidInput("The body holds no rows.", hint="Send at least one row.")
    return found


_HINT = "Check the format, the delimiter and the time column."


def _check_names(names: list[str], rows: int, size: int, limits: IngestLimits) -> None:
    """Refuse what would grow without bound as JSON, where each row repeats the names.

    Raises:
        InvalidInput: a column is there twice.
        TooLarge: it would.
    """
    if len(set(names)) != len(names):
        raise InvalidInput("Two columns have the same name.", hint="Give each column its own name.")
    if size + rows * sum(len(name) + 4 for name in names) > 2 * limits.inflated_bytes:
        raise TooLarge(
            f"The rows' JSON would be over {2 * limits.inflated_bytes} bytes.",
            hint="Use `sluice import`, which sends a file in pieces.",
        )


def _rows(
    columns: dict[str, pa.Array],
    texts: list[tuple[str, pa.StringArray]],
    lines: Lines,
    *,
    bad: list[BadLine],
    options: FileOptions,
    limits: IngestLimits,
) -> FileRows:
    """Put columns together to rows, with the time from the time column."""
    rows = len(lines)
    source = options.time_column or _TIME
    wrong: dict[int, str] = {}
    as_sent = texts
    if source in columns:
        seconds, unreadable = seconds_array(columns[source], options.time_format)
        wrong = dict.fromkeys(unreadable, _NO_TIME)
        texts = [(_TIME, seconds.cast(pa.string())), *((name, text) for name, text in texts if name != _TIME)]
    elif options.time_column is not None:
        raise InvalidInput(
            f"There is no column {source[:80]!r}.", hint=f"The columns are {', '.join(columns)[:300]}."
        )
    objects = joined(texts, rows)
    sizes = pc.binary_length(objects).to_numpy(zero_copy_only=False)
    wrong |= dict.fromkeys(np.flatnonzero(sizes > limits.record_bytes).tolist(), "record_too_long")
    if wrong:
        places = pa.array(wrong, pa.int64())
        bodies = joined([(name, text.take(places)) for name, text in as_sent], len(wrong))
        faulty = [
            BadLine(int(lines[row]), str(body).encode()[:_SHOWN_BYTES], reason)
            for (row, reason), body in zip(wrong.items(), bodies, strict=True)
        ]
        bad = sorted(bad + faulty, key=lambda line: line.number)
        good = np.ones(rows, bool)
        good[list(wrong)] = False
        objects = objects.filter(pa.array(good))
    ended = pc.binary_join_element_wise(objects, pa.scalar("\n"), pa.scalar(""))
    return FileRows(_bytes_of(ended), len(objects), bad)


def _bytes_of(texts: pa.StringArray) -> bytes:
    """Return the texts one after the other."""
    if not len(texts):
        return b""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(texts.buffers()[2][int(offsets[0]) : int(offsets[-1])])


def clean_rows(body: bytes, options: FileOptions, limits: IngestLimits) -> FileRows | None:
    """Return the rows of an NDJSON body that can stay as it is, None for any other; 1 s per GB at most."""
    if options.format is not FileFormat.NDJSON or not _is_untouched(options) or not body.startswith(b"{"):
        return None
    ended = body if body.endswith(b"\n") else body + b"\n"
    lines = as_array(ended)
    if not is_clean(ended, lines) or longest(lines) > limits.record_bytes:
        return None
    return FileRows(body, len(lines), [], clean=True)


def _is_untouched(options: FileOptions) -> bool:
    return options.time_column is None and options.time_format is TimeFormat.AUTO


def _ndjson(body: bytes, options: FileOptions, limits: IngestLimits) -> FileRows:
    good, bad = check(body, limits.record_bytes)
    shift = options.first_line - 1
    bad = [BadLine(line.number + shift, line.body, line.reason) for line in bad]
    untouched = _is_untouched(options)
    if untouched and not bad and len(good) == body.count(b"\n") + (not body.endswith(b"\n")):
        return FileRows(body, len(good), bad, clean=True)
    kept = [line for line in body.split(b"\n") if line.strip()] if not bad else good.to_pylist()
    encoded = [line if isinstance(line, bytes) else line.encode() for line in kept]
    if untouched:
        return FileRows(b"\n".join(encoded) + b"\n" if encoded else b"", len(encoded), bad)
    return _timed(body, options, bad)


def _timed(body: bytes, options: FileOptions, bad: list[BadLine]) -> FileRows:
    """Set each line's time from its time column; the other members keep their own spelling."""
    source = options.time_column or _TIME
    out: list[bytes] = []
    bad = list(bad)
    known = {line.number for line in bad}
    for number, line in enumerate(body.split(b"\n"), start=options.first_line):
        if number in known or not line.strip():
            continue
        members = _objects.decode(line)
        raw = members.get(source)
        value = msgspec.json.decode(raw) if raw is not None else None
        seconds = seconds_of(value, options.time_format)
        if value is not None and seconds is None:
            bad.append(BadLine(number, line, _NO_TIME))
            continue
        members.pop(_TIME, None)
        if seconds is not None:
            members[_TIME] = msgspec.Raw(str(seconds).encode())
        out.append(msgspec.json.encode(members))
    return FileRows(
        b"\n".join(out) + b"\n" if out else b"", len(out), sorted(bad, key=lambda one: one.number)
    )
