"""What SQL may say: one query over the account's own tables, nothing else.

The gate is the first of several walls. The worker checks the statement's type again with DuckDB's own parser,
runs with its configuration locked, and in a sandbox that shows it one account's files, read-only.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import traverse_scope

from addon.models.tables import TableRef
from addon.query.as_of import AsOf, take_as_of
from addon.query.saved_runs import RunRef, take_run
from platform_core.base.errors import Forbidden, InvalidInput, NotFound, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_SQL_BYTES = 1 << 20
MAX_NESTING = 400
"""Deeper brackets than anybody writes; a parser that recurses would run out of stack."""
# sqlglot tells of every odd form; what cannot be run is an error of the query, not an event of ours.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
_CATALOGS = frozenset({"", "td", "td-presto"})
_TABLE_FUNCTIONS = frozenset(
    {"unnest", "explode", "posexplode", "range", "generate_series", "sequence", "json_each", "json_tree"}
)
_SOURCES = (exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.Values)
_FORBIDDEN_PREFIXES = (
    "read_",
    "pragma_",
    "duckdb_",
    "pg_",
    "parquet_",
    "sniff_",
    "iceberg_",
    "delta_",
    "sqlite_",
)
_FORBIDDEN_SUFFIXES = ("_scan", "_secret", "_secrets")
_FORBIDDEN_FUNCTIONS = frozenset(
    {
        "glob", "query", "query_table", "getenv", "getvariable", "current_setting", "set_config", "nextval",
        "currval", "txid_current", "json_execute_serialized_sql", "sql_auto_complete", "add_parquet_key",
        "checkpoint", "force_checkpoint", "seq_scan", "test_all_types", "summary", "repeat_row", "reflect",
        "java_method", "try_reflect", "input_file_name", "from_substrait", "load_aws_credentials",
    }
)  # fmt: skip
_WRITES = (
    exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Alter, exp.Merge, exp.Command, exp.Copy,
    exp.Into, exp.Set, exp.Pragma, exp.Attach, exp.Detach, exp.Use, exp.Transaction, exp.TruncateTable,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gated:
    """A query that passed, and the tables it reads by the name of the view that stands for each."""

    tree: exp.Query
    views: dict[str, TableRef]
    as_of: dict[str, AsOf] = field(default_factory=dict)
    """The views that show a version of their own."""
    runs: dict[str, RunRef] = field(default_factory=dict)
    """The views that show an output of a finished analysis."""


def parse_query(sql: str, dialect: str) -> exp.Query:
    """Parse one query.

    Raises:
        TooLarge: the text is over :data:`MAX_SQL_BYTES`.
        InvalidInput: it does not parse, or is not exactly one statement.
        Forbidden: it is a statement other than a query.
    """
    tree = parse_statement(sql, dialect)
    bad: exp.Expr = tree
    if isinstance(tree, exp.Query):
        write = next(tree.find_all(*_WRITES), None)
        if write is None:
            return tree
        bad = write
    raise Forbidden(
        f"{_statement_name(bad)} statements are not supported here: only queries (SELECT) are.",
        hint="Create tables and load rows through the table and import calls of the API;"
        " a DELETE is run as a job.",
    )


def parse_statement(sql: str, dialect: str) -> exp.Expr:
    """Parse one statement of any kind.

    Raises:
        TooLarge: the text is over :data:`MAX_SQL_BYTES`.
        InvalidInput: it does not parse, or is not exactly one statement.
    """
    if len(sql.encode(errors="replace")) > MAX_SQL_BYTES:
        raise TooLarge(
            "The query text is over 1 MiB.", hint="Load long lists of values into a table and join it."
        )
    if "\0" in sql or _nesting(sql) > MAX_NESTING:
        raise InvalidInput("The query cannot be parsed: it holds a NUL or too many nested brackets.")
    try:
        statements = [one for one in sqlglot.parse(sql, read=dialect) if one is not None]
    except SqlglotError as error:
        raise InvalidInput(f"The query does not parse: {_plain(error)}") from error
    except RecursionError as error:
        raise InvalidInput("The query is nested too deeply.") from error
    if len(statements) != 1:
        raise InvalidInput(f"Exactly one statement is run at a time, not {len(statements)}.")
    return statements[0]


def check_functions(tree: exp.Expr) -> None:
    """Refuse functions that read files, settings or other statements.

    Raises:
        Forbidden: the query calls one; the message names it.
    """
    for function in tree.find_all(exp.Func):
        name = _function_name(function)
        bad = name in _FORBIDDEN_FUNCTIONS or name.startswith(_FORBIDDEN_PREFIXES)
        if bad or name.endswith(_FORBIDDEN_SUFFIXES):
            raise Forbidden(f"The function {name[:140]} is not available.")


def bind_tables(tree: exp.Query, account_id: int, database: str, exists: Callable[[TableRef], bool]) -> Gated:
    """Replace each table by a view's name; what is neither the account's table nor a CTE is refused.

    Raises:
        NotFound: a table does not exist in the account.
        Forbidden: a table function, or a catalog of another kind.
    """
    gated = Gated(tree, {})
    within_scopes: set[int] = set()
    for scope in traverse_scope(tree):
        for table in scope.tables:
            within_scopes.add(id(table))
            if table.db or table.name not in scope.cte_sources:
                _bind(table, account_id, database, exists, gated)
    for table in list(tree.find_all(exp.Table)):
        if id(table) not in within_scopes:
            _bind(table, account_id, database, exists, gated)
    _unqualify(tree, gated)
    return gated


def check_final(sql: str, views: Iterable[str]) -> None:
    """Parse the text that goes to DuckDB once more and check what it really reads.

    Raises:
        Forbidden: it reads something else than the bound views, its CTEs and harmless table functions.
    """
    tree = parse_query(sql, "duckdb")
    check_functions(tree)
    check_sources(tree)
    known = {*views, *(cte.alias for cte in tree.find_all(exp.CTE))}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            _check_table_function(table.this)
        elif table.db or table.catalog or table.name not in known:
            raise Forbidden(f"The table {table.name[:140]!r} cannot be read.")


def check_sources(tree: exp.Expr) -> None:
    """Refuse whatever stands where a table may stand and is not known to be harmless there.

    Raises:
        Forbidden: the query reads from it; the message names it.
    """
    for clause in tree.find_all(exp.From, exp.Join):
        if not isinstance(clause.this, _SOURCES):
            raise Forbidden(f"A query cannot read from {_function_name(clause.this)[:140]}.")
    for lateral in tree.find_all(exp.Lateral):
        if not isinstance(lateral.this, (exp.Subquery, exp.Unnest)):
            _check_table_function(lateral.this)


def _bind(
    table: exp.Table,
    account_id: int,
    database: str,
    exists: Callable[[TableRef], bool],
    gated: Gated,
) -> None:
    if isinstance(table.this, exp.Func):
        _check_table_function(table.this)
        return
    run = take_run(table)
    if run is not None:
        gated.runs[run.view] = run
        _stand_for(table, run.view)
        return
    if table.catalog.lower() not in _CATALOGS:
        raise Forbidden(f"The catalog {table.catalog[:140]!r} does not exist.", hint="Write database.table.")
    ref = TableRef(account_id, (table.db or database).lower(), table.name.lower())
    if not exists(ref):
        raise NotFound(
            f"Table '{ref.database[:140]}.{ref.table[:140]}' does not exist.",
            hint="List the tables to see their names.",
        )
    view = f"{ref.database}.{ref.table}"
    as_of = take_as_of(table)
    if as_of is not None:
        view += as_of.suffix
        gated.as_of[view] = as_of
    gated.views[view] = ref
    _stand_for(table, view)


def _stand_for(table: exp.Table, view: str) -> None:
    """Put a view in a table's place, under the name that the query knows the table by."""
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    table.set("this", exp.to_identifier(view, quoted=True))
    table.set("db", None)
    table.set("catalog", None)


def _unqualify(tree: exp.Query, gated: Gated) -> None:
    """Turn ``db.table.column`` into ``table.column``, since the table now goes by its own name alone."""
    names = {view.partition("@")[0] for view in gated.views}
    names |= {f"{run}{ref.run}.{ref.output}" for ref in gated.runs.values() for run in ("", "run_")}
    for column in tree.find_all(exp.Column):
        if column.db and f"{column.db}.{column.table}".lower() in names:
            column.set("db", None)
            column.set("catalog", None)


def _check_table_function(function: exp.Expr) -> None:
    name = _function_name(function)
    if name not in _TABLE_FUNCTIONS:
        raise Forbidden(
            f"The table function {name[:140]} is not available.", hint="Read tables by their name."
        )


def _function_name(function: exp.Expr) -> str:
    if isinstance(function, exp.Anonymous):
        return str(function.name).lower()
    if isinstance(function, exp.Func):
        return function.sql_name().lower()
    return type(function).__name__.lower()


def _statement_name(tree: exp.Expr) -> str:
    if isinstance(tree, exp.Command):
        return str(tree.this).upper()
    return type(tree).__name__.upper()


def _nesting(sql: str) -> int:
    depth = deepest = 0
    for character in sql:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


def _plain(error: SqlglotError) -> str:
    details = getattr(error, "errors", None)
    if details:
        first = details[0]
        what = str(first["description"]).partition("<Token")[0].strip()
        return f"line {first['line']}, column {first['col']}, near {first['highlight'][:40]!r}: {what}"
    return " ".join(str(error).split())[:500]
