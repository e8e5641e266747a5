"""JSON lines to typed columns, exactly: DuckDB reads, nothing rounds, drops or changes silently.

The only file of the add-on's own process that imports duckdb. What each tier does is in ``typing_sql``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.warehouse import key_count, typing_sql
from addon.warehouse.duplicates import split_duplicates
from addon.warehouse.names import OVERFLOW
from addon.warehouse.schema import ARROW_TYPES, TableSchema
from addon.warehouse.typing_sql import Keys

_ROUNDS = 4
_ROW = " row"
"""The row number's name beside physical columns, none of which can have a space."""
_SAMPLE_ROWS = 2_000
_MANY_ROWS = 500
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

    def __init__(self, threads: int = 1, memory_limit: str = "1GB") -> None:
        """Open an in-memory DuckDB that may not touch anything outside itself."""
        self._lock = threading.Lock()
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
        with self._lock:
            return self._type_safely(pending, schema)

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
        parts: list[tuple[pa.Table, TableSchema]] = []
        if pending.num_rows and len(schema.columns) == 1:
            schema = self._grown(pending.slice(0, _SAMPLE_ROWS), schema)
        for attempt in range(_ROUNDS):
            found, pending = self._fast(pending, schema)
            parts += [(good, schema) for good in found]
            if pending.num_rows >= _MANY_ROWS:  # explicit nulls, mostly; they need no slow query
                good, pending = self._parsed(pending, schema, Keys.NULLS)
                parts.append((good, schema))
            if not pending.num_rows:
                break
            if attempt == 0:
                pending = self._without_duplicates(pending)
            grown = self._grown(pending, schema)
            if grown == schema:
                break
            schema = grown
        if pending.num_rows:
            slow, bad = self._slow(pending, schema)
            parts.append((slow, schema))
            rejected = bad
        table = pa.concat_tables([_physical(part, known, schema) for part, known in parts])
        if len(parts) > 1:
            table = table.take(pc.sort_indices(table[_ROW]))
        return Typed(table.drop_columns([_ROW]), schema, rejected)

    def _query(self, lines: pa.Table, sql: str) -> pa.Table:
        self._connection.register("lt", lines)
        try:
            return self._connection.sql(sql).to_arrow_table()
        finally:
            self._connection.unregister("lt")

    def _fast(self, lines: pa.Table, schema: TableSchema) -> tuple[list[pa.Table], pa.Table]:
        """Return the rows that are surely right, in one or two tables, and the lines of the others."""
        if not key_count.is_promising(lines["l"], schema.keys()):
            good, rest = self._parsed(lines, schema, Keys.PARSED)
            return [good], rest
        result = self._query(lines, typing_sql.fast(schema.columns, Keys.COUNTED))
        nested = [
            result[f"c{n}"]
            for n, column in enumerate(schema.columns)
            if typing_sql.stored_kind(column) == "json"
        ]
        sure = key_count.accounted(lines["l"], result["present"], nested)
        good = result.drop_columns(["ok", "present"])
        ok = result["ok"].to_numpy() & sure
        if ok.all():
            return [good], lines.slice(0, 0)
        good, rest = good.filter(pa.array(ok)), lines.filter(pa.array(~ok & sure))
        if sure.all():
            return [good], rest
        second, wrong = self._parsed(lines.filter(pa.array(~sure)), schema, Keys.PARSED)
        return [good, second], pa.concat_tables([rest, wrong])

    def _parsed(self, lines: pa.Table, schema: TableSchema, keys: Keys) -> tuple[pa.Table, pa.Table]:
        """Return the rows that are surely right, and the lines of the others; each line is parsed twice."""
        result = self._query(lines, typing_sql.fast(schema.columns, keys))
        ok = result["ok"].combine_chunks()
        good = result.drop_columns(["ok"])
        if pc.all(ok).as_py() is not False:
            return good, lines.slice(0, 0)
        return good.filter(ok), lines.filter(pc.invert(ok))

    def _slow(self, lines: pa.Table, schema: TableSchema) -> tuple[pa.Table, list[Rejected]]:
        result = self._query(lines, typing_sql.slow(schema.columns))
        bad = result.filter(pc.is_valid(result["reason"]))
        rejected = [
            Rejected(row, reason)
            for row, reason in zip(bad["rn"].to_pylist(), bad["reason"].to_pylist(), strict=True)
        ]
        return result.filter(pc.is_null(result["reason"])).drop_columns(["reason"]), rejected

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
        found = self._query(lines, typing_sql.unknown_keys(schema.columns)).to_pylist()
        widen = typing_sql.widenings(schema.columns)
        if widen is not None:
            keys = schema.keys()
            schema = schema.widened(keys[key].name for key in self._query(lines, widen)["k"].to_pylist())
        return schema.with_columns(
            (row["k"], classify(row["first"], fraction=row["fraction"]))
            for row in found
            if is_column_key(row["k"])
        )


def aligned(table: pa.Table, schema: TableSchema) -> pa.Table:
    """Return ``table`` with the columns of ``schema`` in its order, absent ones as NULL."""
    wanted = schema.arrow()
    columns = [
        table[item.name] if item.name in table.column_names else pa.nulls(table.num_rows, item.type)
        for item in wanted
    ]
    return pa.table(columns, schema=wanted)


def _physical(part: pa.Table, known: TableSchema, final: TableSchema) -> pa.Table:
    """Name a query's positional columns physically, in the final schema's order, absent ones as NULL."""
    by_name = {column.stored[-1][0]: part[f"c{n}"] for n, column in enumerate(known.columns)}
    by_name |= {
        column.stored[0][0]: part[f"w{n}"]
        for n, column in enumerate(known.columns)
        if f"w{n}" in part.column_names
    }
    columns: dict[str, pa.ChunkedArray] = {_ROW: part["rn"]}
    for name, kind in final.physical():
        wanted = ARROW_TYPES[kind]
        values = by_name.get(name)
        columns[name] = pa.nulls(part.num_rows, wanted) if values is None else values.cast(wanted)
    has_misfits = OVERFLOW in part.column_names
    columns[OVERFLOW] = part[OVERFLOW] if has_misfits else pa.nulls(part.num_rows, pa.string())
    return pa.table(columns)
