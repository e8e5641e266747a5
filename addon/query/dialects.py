"""From a Trino, Presto, Hive or DuckDB query to the DuckDB text that a worker runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.errors import SqlglotError

from addon.query.deletes import parse_delete, set_target_apart
from addon.query.gate import bind_tables, check_final, check_functions, parse_query
from addon.query.pruning import time_ranges
from addon.query.td_functions import Times, rewrite_td_functions
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from addon.models.tables import TableRef
    from addon.query.as_of import AsOf
    from addon.query.pruning import Ranges
    from addon.query.saved_runs import RunRef

DIALECTS = {"trino": "trino", "presto": "presto", "hive": "hive", "duckdb": "duckdb"}
"""What a job's type is called, and sqlglot's name for it."""
_WHOLE_DIVISION = frozenset({"trino", "presto"})
_UNNAMED = {"trino": "_col", "presto": "_col", "hive": "_c"}
_PRESTO_TYPES = {
    "TINYINT": "tinyint", "SMALLINT": "smallint", "INTEGER": "integer", "BIGINT": "bigint",
    "HUGEINT": "bigint", "UTINYINT": "smallint", "USMALLINT": "integer", "UINTEGER": "bigint",
    "UBIGINT": "bigint", "UHUGEINT": "bigint", "FLOAT": "real", "DOUBLE": "double", "BOOLEAN": "boolean",
    "VARCHAR": "varchar", "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone", "BLOB": "varbinary", "JSON": "json",
    "UUID": "uuid",
}  # fmt: skip
_HIVE_TYPES = {
    **_PRESTO_TYPES, "INTEGER": "int", "USMALLINT": "int", "VARCHAR": "string", "FLOAT": "float",
    "JSON": "string", "BLOB": "binary", "UUID": "string", "TIMESTAMP WITH TIME ZONE": "timestamp",
}  # fmt: skip
_DECIMAL = re.compile(r"^DECIMAL\((\d+),\s*(\d+)\)$")


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """DuckDB's text of a query, and the tables it reads by the view name that the text uses."""

    sql: str
    views: Mapping[str, TableRef]
    ranges: Mapping[str, Ranges] = field(default_factory=dict)
    """The times that a view is read in; a view that is not named is read in all."""
    target: str | None = None
    """The view that a DELETE takes rows from; the query is then of their places."""
    everything: bool = False
    """A DELETE without a condition."""
    as_of: Mapping[str, AsOf] = field(default_factory=dict)
    """The views that show another version than the newest."""
    runs: Mapping[str, RunRef] = field(default_factory=dict)
    """The views that show an output of a finished analysis."""


def compile_query(  # noqa: PLR0917  (everything a query's meaning depends on)
    sql: str,
    dialect: str,
    account_id: int,
    database: str,
    exists: Callable[[TableRef], bool],
    times: Times,
    *,
    deleting: bool = False,
) -> CompiledQuery:
    """Check and translate one query; takes up to some 100 ms for long texts, so call it in a thread.

    With ``deleting``, the statement is a DELETE, and what comes out asks for the places of its rows.

    Raises:
        UserError: the query is refused, wrong, or reads what is not there; see :mod:`addon.query.gate`.
    """
    if dialect not in DIALECTS:
        raise InvalidInput(
            f"The query type {dialect[:40]!r} is not known.", hint="Use trino, presto, hive or duckdb."
        )
    tree = parse_delete(sql, DIALECTS[dialect]) if deleting else parse_query(sql, DIALECTS[dialect])
    check_functions(tree)
    if dialect in _UNNAMED:
        _name_columns(tree, _UNNAMED[dialect])
    if DIALECTS[dialect] not in _WHOLE_DIVISION:
        _divide_with_fraction(tree)
    gated = bind_tables(rewrite_td_functions(tree, times), account_id, database, exists)
    target = set_target_apart(gated) if deleting else None
    try:
        text = gated.tree.sql(dialect="duckdb", comments=False)
    except (SqlglotError, RecursionError) as error:
        raise InvalidInput(
            "The query cannot be translated: it is nested too deeply or uses an unknown form."
        ) from error
    check_final(text, {*gated.views, *gated.runs})
    ranges = time_ranges(gated.tree, gated.views)
    everything = deleting and gated.tree.args.get("where") is None
    return CompiledQuery(text, gated.views, ranges, target, everything, gated.as_of, gated.runs)


def _name_columns(tree: exp.Query, prefix: str) -> None:
    """Name the unnamed columns of the result as the dialect does, instead of by their DuckDB text."""
    select: exp.Expr = tree
    while isinstance(select, (exp.SetOperation, exp.Subquery)):
        select = select.this
    if not isinstance(select, exp.Select):
        return
    for index, column in enumerate(select.expressions):
        if not isinstance(column, (exp.Alias, exp.Aliases, exp.Column)) and not column.is_star:
            select.expressions[index].replace(exp.alias_(column.copy(), f"{prefix}{index}", quoted=True))


def _divide_with_fraction(tree: exp.Query) -> None:
    """Divide as doubles, by zero to NULL; the workers themselves divide as Trino does (``worker_main``)."""
    for node in list(tree.find_all(exp.Div)):
        if not isinstance(node.this, exp.Interval):
            # Built by hand: sqlglot's own makers copy, and the divisions inside would stay as they are.
            node.set("this", exp.Cast(this=node.this, to=exp.DataType.build("DOUBLE")))
            node.set("expression", exp.Nullif(this=node.expression, expression=exp.Literal.number(0)))


def result_type(duckdb_type: str, dialect: str) -> str:
    """Return how the dialect calls a DuckDB type, nested ones included."""
    names = _HIVE_TYPES if dialect == "hive" else _PRESTO_TYPES
    if dialect == "duckdb":
        return duckdb_type.lower()
    if duckdb_type.endswith("]"):
        inner = result_type(duckdb_type[: duckdb_type.rindex("[")], dialect)
        return f"array<{inner}>" if dialect == "hive" else f"array({inner})"
    decimal = _DECIMAL.match(duckdb_type)
    if decimal:
        return f"decimal({decimal[1]},{decimal[2]})"
    if duckdb_type.startswith(("MAP(", "STRUCT(", "ENUM(", "UNION(")):
        return "string" if dialect == "hive" else "json"
    if duckdb_type.startswith("TIMESTAMP_"):
        return "timestamp"
    return names.get(duckdb_type, "string" if dialect == "hive" else "varchar")
