"""JSON lines to typed columns, exactly: nothing rounds, drops or changes silently.

The compiled kernel (``scan``) takes the lines that hold no surprise; DuckDB takes the others, or all when
there is no kernel; its SQL is in ``typing_sql``. Nothing else in the add-on's own process imports duckdb.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.warehouse import key_count, typing_sql
from addon.warehouse.casting import cast
from addon.warehouse.duplicates import split_duplicates
from addon.warehouse.names import DUPLICATES, OVERFLOW
from addon.warehouse.scan.library import kernel
from addon.warehouse.scan.lines import scan_lines
from addon.warehouse.schema import TableSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.warehouse.casting import Cast, Flags

_ROUNDS = 4
_ROW = " row"
"""The row number's name beside physical columns, none of which can have a space."""
_SAMPLE_ROWS = 2_000
_MANY_ROWS = 500
_PIECE_BYTES, _PIECE_ROWS = 16 << 20, 1 << 17
"""Typed at a time: bounds the memory for what is between the lines and their columns."""
MAX_KEYS = 2_048
"""Keys of one row; the rest of a table's memory and time would go to a row with more."""
_SHORTEST_KEY = len('"":0')
_INT64_DIGITS = 19
_MAX_KEY = 1_000
_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that cannot be a row: its place in the input and why."""

    row: int
    reason: str


@dataclass(slots=True)
class Typed:
    """The outcome: a table of the schema's physical columns, in input order."""

    table: pa.Table
    schema: TableSchema
    rejected: list[Rejected] = field(default_factory=list)


def classify(first: str, *, fraction: bool) -> str:
    """Return the column type that a first value's JSON text sets; ``fraction``: a later value is a double."""
    if first[0] == '"':
        return "string"
    if first[0] in "{[":
        return "json"
    if first in {"true", "false"}:
        return "boolean"
    digits = first.lstrip("-")
    if not digits.isdigit():
        return "double"
    if len(digits) > _INT64_DIGITS or int(first) not in _INT64:
        return "string"  # a whole number that no column type keeps exactly
    return "double" if fraction else "long"


def is_column_key(key: str) -> bool:
    """Tell whether a key may become a column; the others stay in ``_overflow`` under their own name."""
    return 0 < len(key) <= _MAX_KEY and not any(char < " " or char in '"\\' for char in key)


class Typer:
    """One DuckDB connection for typing; calls are serialised."""

    def __init__(self, threads: int = 1, memory_limit: str = "1GB", *, compiled: bool = True) -> None:
        """Open an in-memory DuckDB that may not touch anything outside itself.

        ``compiled``: use the compiled kernel where there is one.
        """
        self._lock = threading.Lock()
        self._kernel = kernel() if compiled else None
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "enable_external_access": False,
                "preserve_insertion_order": True,  # ``key_count`` takes rows as those of the lines
            },
        )

    def close(self) -> None:
        """Free the connection."""
        self._connection.close()

    def type_lines(self, lines: pa.StringArray, receipt: pa.Int64Array, schema: TableSchema) -> Typed:
        """Type JSON objects onto ``schema``, which grows; ``receipt`` is the time of rows without one."""
        pending = pa.table(
            {
                "rn": pa.array(np.arange(len(lines))),
                "rt": receipt,
                "l": lines,
                "d": pa.nulls(len(lines), pa.string()),
            }
        )
        out = Typed(schema.arrow().empty_table(), schema)
        tables = []
        with self._lock:
            pending, out.rejected = self._without_wide(pending)
            for first, last in itertools.pairwise(_pieces(pending["l"])):
                piece = self._type_safely(pending.slice(first, last - first), out.schema)
                tables.append(piece.table)
                out.schema = piece.schema
                out.rejected += piece.rejected
        out.table = pa.concat_tables([aligned(table, out.schema) for table in (out.table, *tables)])
        return out

    def misfits(self, table: pa.Table, schema: TableSchema) -> dict[str, int]:
        """Return how many values of typed rows did not fit, by column.

        Values of keys that have no column count as the column ``_overflow``, rows with a key twice as
        ``_duplicates``.
        """
        texts = table[OVERFLOW].drop_null()
        if not len(texts):
            return {}
        with self._lock:
            found = self._query(pa.table({"o": texts}), typing_sql.misfits())
        keys, counts = schema.keys(), Counter[str]()
        for key, count in zip(found["k"].to_pylist(), found["n"].to_pylist(), strict=True):
            column = keys.get(key)
            counts[column.name if column else DUPLICATES if key == DUPLICATES else OVERFLOW] += count
        return dict(counts)

    def _type_safely(self, lines: pa.Table, schema: TableSchema) -> Typed:
        """Type a batch; one that DuckDB refuses is halved until the lines to blame stand alone."""
        try:
            return self._type(lines, schema)
        except duckdb.Error as error:
            if lines.num_rows == 1:
                reason = f"not_readable: {type(error).__name__}"
                return Typed(schema.arrow().empty_table(), schema, [Rejected(lines["rn"][0].as_py(), reason)])
            middle = lines.num_rows // 2
        left = self._type_safely(lines.slice(0, middle), schema)
        right = self._type_safely(lines.slice(middle), left.schema)
        table = pa.concat_tables([aligned(left.table, right.schema), right.table])
        return Typed(table, right.schema, left.rejected + right.rejected)

    def _type(self, pending: pa.Table, schema: TableSchema) -> Typed:
        rejected: list[Rejected] = []
        parts: list[pa.Table] = []
        if pending.num_rows and len(schema.columns) == 1:
            schema = self._grown(pending.slice(0, _SAMPLE_ROWS), schema)
        for attempt in range(_ROUNDS):
            for way in (self._scanned, self._fast):
                if pending.num_rows:
                    good, pending = way(pending, schema)
                    parts.append(good)
            if not pending.num_rows:
                break
            if attempt == 0:
                pending = self._without_duplicates(pending)
            grown = self._grown(pending, schema)
            if grown == schema:
                break
            schema = grown
        if pending.num_rows:
            slow, rejected = self._slow(pending, schema)
            parts.append(slow)
        parts = [part for part in parts if part.num_rows] or parts[:1]
        table = pa.concat_tables([_physical(part, schema) for part in parts])
        if len(parts) > 1:
            table = table.take(pc.sort_indices(table[_ROW]))
        return Typed(table.drop_columns([_ROW]), schema, rejected)

    def _query(self, lines: pa.Table, sql: str, unknown: Sequence[str] = ()) -> pa.Table:
        self._connection.register("lt", lines)
        try:
            if unknown:
                self._connection.register("unknown", pa.table({"k": pa.array(unknown, pa.string())}))
            return self._connection.sql(sql).to_arrow_table()
        finally:
            if unknown:
                self._connection.unregister("unknown")
            self._connection.unregister("lt")

    def _without_wide(self, lines: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Set aside the lines with more keys than a row may have; most are too short to."""
        lengths = pc.binary_length(lines["l"])
        if not lines.num_rows or pc.max(lengths).as_py() <= _SHORTEST_KEY * MAX_KEYS:
            return lines, []
        suspects = lines.filter(pc.greater(lengths, _SHORTEST_KEY * MAX_KEYS))
        try:
            numbers = self._query(suspects, typing_sql.key_numbers())["k"]
        except duckdb.Error:
            return lines, []  # a malformed line among them: found and set aside later
        wide = pc.greater(numbers, MAX_KEYS)
        reason = f"too_many_columns: a row may have {MAX_KEYS}"
        rejected = [Rejected(row, reason) for row in suspects["rn"].filter(wide).to_pylist()]
        gone = pa.array([one.row for one in rejected], pa.int64())
        return lines.filter(pc.invert(pc.is_in(lines["rn"], value_set=gone))), rejected

    def _scanned(self, lines: pa.Table, schema: TableSchema) -> tuple[pa.Table, pa.Table]:
        """Return the rows that the kernel takes, and the lines of the others.

        A line that a key was taken out of is not for it: what was taken out belongs into the row's overflow.
        """
        whole = lines.filter(pc.is_null(lines["d"])) if lines["d"].null_count < lines.num_rows else lines
        if self._kernel is None or not whole.num_rows:
            return _named(lines["rn"].slice(0, 0), schema, ()), lines
        texts, receipt = _single(whole["l"]), _single(whole["rt"])
        found = scan_lines(self._kernel, texts, receipt, schema.columns)
        if len(found.rows) == lines.num_rows:
            return _named(lines["rn"], schema, found.values), lines.slice(0, 0)
        taken = pa.array(found.rows)
        good = _named(whole["rn"].take(taken), schema, found.values)
        return good, lines.filter(pc.invert(pc.is_in(lines["rn"], value_set=good[_ROW].combine_chunks())))

    def _fast(self, lines: pa.Table, schema: TableSchema) -> tuple[pa.Table, pa.Table]:
        """Return the rows that are surely right, and the lines of the others.

        A row is right when its values fit their columns exactly, and it has as many keys as found a column:
        an unknown key, or one that is there twice, makes the number of keys larger.
        """
        result = _single(self._query(lines, typing_sql.texts(schema.columns))["r"])
        found = cast(schema.columns, result.flatten())
        sure = np.zeros(len(found.fits), bool)
        if key_count.is_promising(lines["l"], schema.keys()):
            nested = [
                value
                for column, value in zip(schema.columns, found.values, strict=True)
                if typing_sql.stored_kind(column) == "json"
            ]
            sure = key_count.accounted(lines["l"], found.present, nested)
        self._settle(lines, sure, found, typing_sql.key_numbers())
        if np.count_nonzero(found.fits & ~sure) >= _MANY_ROWS:  # explicit nulls, mostly
            self._settle(lines, sure, found, typing_sql.key_numbers(schema.columns))
        right = found.fits & sure
        if lines["d"].null_count < len(right):
            right &= lines["d"].is_null().to_numpy()
        time = found.values[0]
        if time.null_count:
            time = pc.coalesce(time, _single(lines["rt"]))
        good = _named(lines["rn"], schema, [time, *found.values[1:]])
        if right.all():
            return good, lines.slice(0, 0)
        return good.filter(pa.array(right)), lines.filter(pa.array(~right))

    def _settle(self, lines: pa.Table, sure: Flags, found: Cast, sql: str) -> None:
        """Let DuckDB count the keys of the lines that may be right but are not sure; mark those that are."""
        open_ = np.flatnonzero(found.fits & ~sure)
        if len(open_):
            asked = lines if len(open_) == len(sure) else lines.take(pa.array(open_))
            numbers = self._query(asked, sql)["k"].to_numpy()
            sure[open_] = numbers == found.present[open_]

    def _slow(self, lines: pa.Table, schema: TableSchema) -> tuple[pa.Table, list[Rejected]]:
        there = self._keys(lines)
        known = schema.keys()
        columns = [
            column for key, column in known.items() if key in there or column.name == schema.columns[0].name
        ]
        unknown = [key for key in there if key not in known]
        result = self._query(lines, typing_sql.slow(columns, unknown=bool(unknown)), unknown)
        bad = result.filter(pc.is_valid(result["reason"]))
        rejected = [
            Rejected(row, reason)
            for row, reason in zip(bad["rn"].to_pylist(), bad["reason"].to_pylist(), strict=True)
        ]
        names = {f"c{n}": column.stored[-1][0] for n, column in enumerate(columns)}
        names |= {f"w{n}": column.stored[0][0] for n, column in enumerate(columns)}
        result = result.filter(pc.is_null(result["reason"])).drop_columns(["reason"])
        return result.rename_columns(
            [names.get(name, name) for name in ("rn", *result.column_names[1:])]
        ), rejected

    def _keys(self, lines: pa.Table) -> set[str]:
        return set(self._query(lines, typing_sql.keys())["k"].to_pylist())

    def _without_duplicates(self, lines: pa.Table) -> pa.Table:
        """Rewrite the lines that have a key twice, their earlier values moved to ``d``."""
        doubled = set(self._query(lines, typing_sql.doubled_keys())["rn"].to_pylist())
        if not doubled:
            return lines
        texts, earlier = lines["l"].to_pylist(), lines["d"].to_pylist()
        for index, row in enumerate(lines["rn"].to_pylist()):
            if row in doubled:
                texts[index], earlier[index] = split_duplicates(texts[index])
        return pa.table(
            {
                "rn": lines["rn"],
                "rt": lines["rt"],
                "l": pa.array(texts, pa.string()),
                "d": pa.array(earlier, pa.string()),
            }
        )

    def _grown(self, lines: pa.Table, schema: TableSchema) -> TableSchema:
        """Return the schema with the lines' new keys and with the long columns that must be double."""
        there, keys = self._keys(lines), schema.keys()
        unknown = [key for key in there if key not in keys]
        widen = typing_sql.widenings([column for key, column in keys.items() if key in there])
        if widen is not None:
            schema = schema.widened(keys[key].name for key in self._query(lines, widen)["k"].to_pylist())
        if not unknown:
            return schema
        found = self._query(lines, typing_sql.first_values(), unknown).to_pylist()
        return schema.with_columns(
            (row["k"], classify(row["first"], fraction=row["fraction"]))
            for row in found
            if is_column_key(row["k"])
        )


def _single(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _pieces(lines: pa.ChunkedArray) -> list[int]:
    """Return where to cut lines so that no piece has much more than ``_PIECE_BYTES`` or ``_PIECE_ROWS``."""
    edges, start, size = [0], 0, 0
    ends = pc.cumulative_sum(pc.binary_length(lines).cast(pa.int64())).to_numpy()
    while start < len(ends):
        size = int(ends[start - 1]) if start else 0
        start = max(start + 1, int(np.searchsorted(ends, size + _PIECE_BYTES, side="right")))
        start = min(start, edges[-1] + _PIECE_ROWS)
        edges.append(start)
    return edges


def aligned(table: pa.Table, schema: TableSchema) -> pa.Table:
    """Return ``table`` with the columns of ``schema`` in its order, absent ones as NULL."""
    wanted = schema.arrow()
    known = dict(zip(table.column_names, table.columns, strict=True))
    columns = [
        known[item.name] if item.name in known else pa.nulls(table.num_rows, item.type) for item in wanted
    ]
    return pa.table(columns, schema=wanted)


def _named(rows: pa.ChunkedArray, schema: TableSchema, values: Sequence[pa.Array]) -> pa.Table:
    """Return row numbers and the values of the columns under their physical names."""
    names = [column.stored[-1][0] for column in schema.columns]
    return pa.table([rows, *values], names=[_ROW, *names[: len(values)]])


def _physical(part: pa.Table, schema: TableSchema) -> pa.Table:
    """Return a part in the schema's order, absent columns as NULL, with the row number in front."""
    rows = part.rename_columns([_ROW, *part.column_names[1:]])
    return aligned(rows, schema).add_column(0, _ROW, rows[_ROW])
