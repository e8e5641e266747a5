"""An analysis' inputs from tables: by their names and a map of columns, instead of by SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from addon.models.tables import TableRef
from addon.query.dialects import DIALECTS
from addon.query.shown import visible_columns
from jobs.contracts.errors import UserError
from jobs.contracts.parameters import parse
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.store.catalog import SqlCatalog
    from jobs.analyses.analysis import Analysis
    from jobs.contracts.tables import Column, InputTable

FED = frozenset({"usage"})
"""Analyses whose inputs, where none are given, are the add-on's own books."""


def resolved_inputs(
    analysis: Analysis, body: Mapping[str, Any], catalog: SqlCatalog, account_id: int, database: str
) -> dict[str, Any]:
    """Return the body with every input as SQL.

    ``tables`` maps inputs to tables: ``"shop.views"``, ``"views"``, or ``{"table": "views", "columns":
    {"user_id": "visitor"}}``. With neither ``tables`` nor ``inputs``, each input is the database's table of
    the same name, where there is one.

    Raises:
        InvalidInput: an input is not one of the analysis, or a column that it needs is not there.
        NotFound: a table is not there.
    """
    inputs, tables = body.get("inputs", {}), body.get("tables", {})
    if not isinstance(inputs, dict) or not isinstance(tables, dict):
        raise InvalidInput(
            "The fields inputs and tables must be objects.",
            hint='Send "inputs": {"events": "SELECT …"}, or "tables": {"events": "shop.views"}.',
        )
    rest = {name: value for name, value in body.items() if name != "tables"}
    if not inputs and not tables:
        if analysis.name in FED:
            return {**rest, "inputs": {}}
        tables = _of_the_same_name(analysis, catalog, account_id, database)
    dialect = DIALECTS.get(str(body.get("dialect", "duckdb")), "duckdb")
    made = dict(inputs)
    for name, given in tables.items():
        if name in inputs:
            raise InvalidInput(f"The input {name} is given twice, as SQL and as a table.")
        contract = _contract(analysis, name)
        ref, columns = _read(name, given, account_id, database)
        there = [column.name for column in _visible(catalog, ref)]
        wanted = (*contract.columns, *_more(analysis, body).get(name, ()))
        made[name] = _select(contract, wanted, ref, columns, there).sql(dialect=dialect)
    return {**rest, "inputs": made}


def _of_the_same_name(
    analysis: Analysis, catalog: SqlCatalog, account_id: int, database: str
) -> dict[str, str]:
    names = [table.name for table in analysis.inputs]
    found = {name: name for name in names if catalog.table_exists(TableRef(account_id, database, name))}
    if not found:
        raise InvalidInput(
            f"{analysis.name} was given no inputs, and database {database[:140]!r} has no table of the name"
            f" of one: {', '.join(names)}.",
            hint='Give "inputs" as SQL, or "tables" as names.',
        )
    return found


def _contract(analysis: Analysis, name: str) -> InputTable:
    known = {table.name: table for table in analysis.inputs}
    if name not in known:
        raise InvalidInput(f"{analysis.name} has no input {name[:80]}.", hint=f"It reads {', '.join(known)}.")
    return known[name]


def _read(name: str, given: Any, account_id: int, database: str) -> tuple[TableRef, dict[str, str]]:
    """Read what an input is given as: the table, and the table's names of the input's columns."""
    place, columns = (
        (given.get("table"), given.get("columns", {})) if isinstance(given, dict) else (given, {})
    )
    strange = set(given) - {"table", "columns"} if isinstance(given, dict) else set()
    if not isinstance(place, str) or not place or strange or not _is_map(columns):
        raise InvalidInput(
            f"The table of the input {name} is given as {str(given)[:80]!r}.",
            hint='Write "views", "shop.views" or {"table": "views", "columns": {"user_id": "visitor"}}.',
        )
    left, dot, right = place.partition(".")
    return TableRef(account_id, *((left, right) if dot else (database, place))), columns


def _is_map(columns: Any) -> bool:
    return isinstance(columns, dict) and all(isinstance(name, str) for name in columns.values())


def _visible(catalog: SqlCatalog, ref: TableRef) -> list[Any]:
    if not catalog.table_exists(ref):
        raise NotFound(
            f"Table '{ref.database[:140]}.{ref.table[:140]}' does not exist.",
            hint="List the tables to see their names.",
        )
    info = catalog.table(ref)
    return visible_columns(info, info.detected)


def _more(analysis: Analysis, body: Mapping[str, Any]) -> Mapping[str, tuple[Column, ...]]:
    """Return the columns that the parameters ask for; wrong parameters are refused later, with all else."""
    try:
        return analysis.more_columns(parse(analysis.parameters, body.get("params") or {}))
    except (UserError, TypeError, AttributeError):
        return {}


def _select(
    contract: InputTable,
    wanted: tuple[Column, ...],
    ref: TableRef,
    columns: Mapping[str, str],
    there: list[str],
) -> exp.Select:
    known = [column.name for column in wanted]
    for name in columns:
        if name not in known:
            raise InvalidInput(
                f"The input {contract.name} has no column {name[:80]!r}.", hint=f"It has {', '.join(known)}."
            )
    chosen = []
    for column in wanted:
        named = columns.get(column.name)
        spelt = next((name for name in (column.name, *column.aliases) if name in there), column.name)
        source = named or spelt
        if source in there:
            chosen.append(exp.alias_(_quoted(source), column.name, quoted=True))
        elif column.required or named is not None:
            raise InvalidInput(
                f"The input {contract.name} needs {column.name} ({column.type}), and table"
                f" {ref.database}.{ref.table} has no column {source[:80]!r}.",
                hint=f"It has {', '.join(there)[:500]}. Map it in columns, or give the input as SQL.",
            )
    table = exp.table_(_identifier(ref.table), db=_identifier(ref.database))
    return exp.Select(expressions=chosen).from_(table, copy=False)


def _quoted(name: str) -> exp.Column:
    return exp.column(_identifier(name))


def _identifier(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=True)
