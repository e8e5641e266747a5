"""Which time ranges of its tables a query can read, from its conditions on ``time``: what prunes files.

The answer is a superset: a row whose time lies outside cannot take part in the query's result. A condition is
used only where that is plain: a table that stands directly in a SELECT's FROM or joins, conditions of that
SELECT's WHERE (and of ON, where every join is an inner one) that compare the table's ``time`` with constants.
Such a comparison is never true of a NULL, so that a row which an outer join pads with NULLs does not pass
either, whichever side the table is on. Everything else leaves the whole table to be read.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING

from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from addon.models.tables import Interval

Ranges = tuple["Interval", ...]
"""Disjoint closed intervals of Unix seconds, ascending."""
FIRST, LAST = -(2**63), 2**63 - 1
EVERYTHING: Ranges = ((FIRST, LAST),)
_MOST_RANGES = 64
"""More are drawn together; a list of moments can have thousands of values."""
_EXACT = 2**52
"""Beyond, comparisons with doubles round; no event has such a time."""
_NUMBER = re.compile(r"^\d{1,18}(\.\d{1,18})?$")
_SIDES, _KINDS = frozenset({"", "LEFT", "RIGHT", "FULL"}), frozenset({"", "INNER", "OUTER", "CROSS"})
_PLAIN_TABLE = frozenset({"this", "alias"})
_PLAIN_SELECT = frozenset(
    {"expressions", "from_", "where", "joins", "laterals", "group", "having", "order", "limit", "offset",
     "distinct", "with_", "windows", "qualify"}
)  # fmt: skip
_PLAIN_JOIN = frozenset({"this", "side", "kind", "on", "using"})
_WHOLE = (exp.DataType.Type.BIGINT, exp.DataType.Type.INT)


def time_ranges(tree: exp.Expr, views: Container[str]) -> dict[str, Ranges]:
    """Return the ranges that each view is read in; a view that no range is known for is not named.

    ``tree`` is a query whose tables have been bound to ``views`` and whose TD functions were folded.
    """
    found: dict[str, Ranges] = {}
    for table in tree.find_all(exp.Table):
        if table.name in views:
            found[table.name] = _union(found.get(table.name, ()), _scan(table))
    return {view: ranges for view, ranges in found.items() if ranges != EVERYTHING}


def _scan(table: exp.Table) -> Ranges:
    """Return the ranges that one mention of a table is read in."""
    clause = table.parent
    select = clause.parent if isinstance(clause, (exp.From, exp.Join)) else None
    if not isinstance(select, exp.Select) or not _understood(select) or not _has_only(table, _PLAIN_TABLE):
        return EVERYTHING
    alias = table.args.get("alias")
    if alias is None or alias.columns:  # ``t AS x(a, b)`` gives the columns other names
        return EVERYTHING
    alone = not select.args.get("joins") and not select.args.get("laterals")
    name = table.alias.lower()
    ranges = EVERYTHING
    for condition in _conditions(select):
        ranges = _intersection(ranges, _true_in(condition, name, alone=alone))
    return ranges


def _has_only(node: exp.Expr, known: Container[str]) -> bool:
    return all(key in known for key, value in node.args.items() if value)


def _understood(select: exp.Select) -> bool:
    """Tell whether nothing but the conditions decides which rows of the tables reach the result."""
    if not _has_only(select, _PLAIN_SELECT):
        return False
    return all(
        _has_only(join, _PLAIN_JOIN) and join.side.upper() in _SIDES and join.kind.upper() in _KINDS
        for join in select.args.get("joins") or ()
    )


def _conditions(select: exp.Select) -> Iterator[exp.Expr]:
    """Yield the conditions that every row of the select's result has passed."""
    where = select.args.get("where")
    if where is not None:
        yield where.this
    joins = select.args.get("joins") or ()
    if not any(join.side for join in joins):
        yield from (join.args["on"] for join in joins if join.args.get("on") is not None)


def _true_in(condition: exp.Expr, table: str, *, alone: bool) -> Ranges:
    """Return ranges that hold every time for which the condition can be true."""
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, (exp.And, exp.Or)):
        left = _true_in(condition.this, table, alone=alone)
        right = _true_in(condition.expression, table, alone=alone)
        return _intersection(left, right) if isinstance(condition, exp.And) else _union(left, right)
    if _is_time(condition.this, table, alone=alone):
        return _of_time(condition)
    mirrored = _MIRRORED.get(type(condition))
    if mirrored is not None and _is_time(condition.expression, table, alone=alone):
        return _compared(mirrored, _constant(condition.this))
    return EVERYTHING


def _of_time(condition: exp.Expr) -> Ranges:
    """Return the ranges of a condition whose left side is the table's time."""
    if isinstance(condition, exp.Between) and not condition.args.get("symmetric"):
        low, high = _constant(condition.args["low"]), _constant(condition.args["high"])
        return _intersection(_compared(exp.GTE, low), _compared(exp.LTE, high))
    if isinstance(condition, exp.In):
        return _listed(condition)
    if type(condition) in _MIRRORED:
        return _compared(type(condition), _constant(condition.expression))
    return EVERYTHING


_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.EQ: exp.EQ,
}


def _is_time(node: object, table: str, *, alone: bool) -> bool:
    while isinstance(node, exp.Paren):
        node = node.this
    if not isinstance(node, exp.Column) or node.name.lower() != "time" or node.db:
        return False
    return node.table.lower() == table or (alone and not node.table)


def _compared(kind: type[exp.Expr], value: Fraction | None) -> Ranges:
    """Return the whole seconds that compare with ``value``; a bound within a second is rounded outwards."""
    if value is None:
        return EVERYTHING
    low, high = math.floor(value), math.ceil(value)
    if kind is exp.EQ:
        return ((low, high),)
    return ((low, LAST),) if kind in {exp.GT, exp.GTE} else ((FIRST, high),)


def _listed(condition: exp.In) -> Ranges:
    values = [_constant(value) for value in condition.expressions]
    if not values or condition.args.get("query") or condition.args.get("unnest"):
        return EVERYTHING
    exact = [value for value in values if value is not None]
    if len(exact) < len(values):
        return EVERYTHING
    return _drawn_together(sorted((math.floor(value), math.ceil(value)) for value in exact))


def _constant(node: exp.Expr) -> Fraction | None:
    """Return the value of a number, or of a sum or difference of numbers; None of anything else."""
    value: Fraction | None = None
    if isinstance(node, exp.Paren):
        value = _constant(node.this)
    elif isinstance(node, exp.Literal) and not node.is_string and _NUMBER.match(node.this):
        value = Fraction(node.this)
    elif isinstance(node, exp.Neg):
        inner = _constant(node.this)
        value = None if inner is None else -inner
    elif isinstance(node, exp.Cast) and node.to.this in _WHOLE:
        inner = _constant(node.this)
        value = inner if inner is not None and inner.denominator == 1 else None
    elif isinstance(node, (exp.Add, exp.Sub, exp.Mul)):
        value = _arithmetic(node)
    return value if value is not None and abs(value) < _EXACT else None


def _arithmetic(node: exp.Binary) -> Fraction | None:
    left, right = _constant(node.this), _constant(node.expression)
    if left is None or right is None:
        return None
    if isinstance(node, exp.Mul):
        return left * right
    return left + right if isinstance(node, exp.Add) else left - right


def _intersection(first: Ranges, second: Ranges) -> Ranges:
    return tuple(
        (max(low, other_low), min(high, other_high))
        for low, high in first
        for other_low, other_high in second
        if max(low, other_low) <= min(high, other_high)
    )


def _union(first: Ranges, second: Ranges) -> Ranges:
    return _drawn_together(sorted((*first, *second)))


def _drawn_together(ascending: Sequence[Interval]) -> Ranges:
    """Join what overlaps; of too many, the first and the last bound remain."""
    joined: list[Interval] = []
    for low, high in ascending:
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    if len(joined) > _MOST_RANGES:
        return ((joined[0][0], joined[-1][1]),)
    return tuple(joined)
