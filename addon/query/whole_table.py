"""Queries that are a table's own columns, as stored: a Spark cluster reads those files itself.

Such a query names columns of one table, gives them other names at most, and bounds nothing but ``time``, by
whole numbers. Everything else, and columns whose declared type differs from the stored one, goes through
DuckDB, so that a value means the same whichever way it came.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from addon.query.shown import visible_columns
from addon.warehouse.view import SQL_TYPES
from jobs.contracts.pinned import Pinned, PinnedColumn, PinnedFile, is_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from addon.models.tables import Column
    from addon.query.service import Prepared

_SELECT = frozenset({"kind", "expressions", "from_", "where"})
_TABLE = frozenset({"this", "alias"})
_WHOLE = re.compile(r"-?\d{1,15}")
Bounds = tuple[int | None, int | None]


def pinned_table(prepared: Prepared, links: Callable[[Sequence[Path]], Sequence[str]]) -> Pinned | None:
    """Return the files and columns that a prepared query stands for; None where it is more than that.

    ``links`` gives the addresses of files that the executors read.
    """
    select = sqlglot.parse_one(prepared.compiled.sql, dialect="duckdb")
    table = _only_table(select)
    if table is None or table.name not in prepared.pinned or not isinstance(select, exp.Select):
        return None
    pinned = prepared.pinned[table.name]
    bounds = _bounds(select)
    if pinned.snapshot is None or bounds is None:
        return None
    files, sizes = prepared.files(table.name), pinned.snapshot.sizes_within(prepared.ranges(table.name))
    columns = _columns(select, table.alias_or_name, visible_columns(pinned.info, pinned.snapshot.columns))
    if columns is None or sizes is None:
        return None
    first = max((one for one in (bounds[0], pinned.since) if one is not None), default=None)
    return Pinned(
        f"{pinned.info.database}.{pinned.info.name}",
        pinned.snapshot.version,
        columns,
        tuple(
            PinnedFile(file.name, size, link)
            for file, size, link in zip(files, sizes, links(files) if files else (), strict=True)
        ),
        first,
        bounds[1],
    )


def _has_only(node: exp.Expr, known: frozenset[str]) -> bool:
    return all(key in known for key, value in node.args.items() if value)


def _only_table(select: exp.Expr) -> exp.Table | None:
    """Return the one table that a plain SELECT reads."""
    if not isinstance(select, exp.Select) or not _has_only(select, _SELECT):
        return None
    table = select.args["from_"].this if select.args.get("from_") is not None else None
    if not isinstance(table, exp.Table) or not _has_only(table, _TABLE):
        return None
    alias = table.args.get("alias")
    return None if alias is not None and alias.columns else table


def _columns(select: exp.Select, alias: str, visible: Sequence[Column]) -> tuple[PinnedColumn, ...] | None:
    """Return the result's columns; None where one is computed, or not read alike by every engine."""
    known, found = {column.name.lower(): column for column in visible}, {}
    for item in select.expressions:
        if isinstance(item, exp.Star) and _has_only(item, frozenset()):
            named = [(column.name, column) for column in visible]
        else:
            inner = item.this if isinstance(item, exp.Alias) else item
            if not isinstance(inner, exp.Column) or inner.table.lower() not in {"", alias.lower()}:
                return None
            if inner.name.lower() not in known:
                return None
            named = [(item.alias_or_name, known[inner.name.lower()])]
        for name, column in named:
            if name.lower() in found:
                return None
            found[name.lower()] = PinnedColumn(name, SQL_TYPES[column.type], _stored(column))
    plain = all(is_readable(column.type, column.stored) for column in found.values())
    # Rows are bounded by the stored time, so another column must not have taken its name.
    time = found.get("time")
    if not plain or (time is not None and time.stored != (("time", "BIGINT"),)):
        return None
    return tuple(found.values())


def _stored(column: Column) -> tuple[tuple[str, str], ...]:
    parts = column.stored or ((column.name, column.type),)
    return tuple((name, SQL_TYPES[kind]) for name, kind in parts)


def _bounds(select: exp.Select) -> Bounds | None:
    """Return the closed interval of time that the WHERE asks for; None where it asks for anything else."""
    where = select.args.get("where")
    low: int | None = None
    high: int | None = None
    for condition in _conjuncts(where.this) if where is not None else ():
        interval = _interval(condition)
        if interval is None:
            return None
        low = max((one for one in (low, interval[0]) if one is not None), default=None)
        high = min((one for one in (high, interval[1]) if one is not None), default=None)
    return low, high


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.this)
        yield from _conjuncts(condition.expression)
    else:
        yield condition


def _interval(condition: exp.Expr) -> Bounds | None:
    if not isinstance(condition.this, exp.Column) or condition.this.name.lower() != "time":
        return None
    if isinstance(condition, exp.Between) and not condition.args.get("symmetric"):
        low, high = _whole(condition.args["low"]), _whole(condition.args["high"])
        return None if low is None or high is None else (low, high)
    number = _whole(condition.args.get("expression"))
    if number is None:
        return None
    found: dict[type[exp.Expr], Bounds] = {
        exp.GTE: (number, None),
        exp.GT: (number + 1, None),
        exp.LTE: (None, number),
        exp.LT: (None, number - 1),
        exp.EQ: (number, number),
    }
    return found.get(type(condition))


def _whole(node: object) -> int | None:
    if not isinstance(node, exp.Expr) or (isinstance(node, exp.Literal) and node.is_string):
        return None
    text = node.sql()
    return int(text) if _WHOLE.fullmatch(text) else None
