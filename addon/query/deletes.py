"""SQL DELETE as a query: which rows of which files its condition is true of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from addon.query.gate import parse_statement
from platform_core.base.errors import Forbidden

if TYPE_CHECKING:
    from addon.query.gate import Gated

FILE, ROW = "sluice file", "sluice row"
"""Columns of the target's view: the file's path, the row's number in it. No sender's column has a space."""
_BEFORE = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_PLAIN = frozenset({"this", "where"})


def is_delete(sql: str) -> bool:
    """Tell whether a statement begins as a DELETE; comments may come before."""
    match = _BEFORE.match(sql)
    return sql[match.end() if match else 0 :][:7].lower() in {"delete", "delete ", "delete\n", "delete\t"}


def parse_delete(sql: str, dialect: str) -> exp.Select:
    """Return a DELETE as the query of its rows' places, ``FILE`` and ``ROW``.

    Raises:
        InvalidInput, TooLarge: it does not parse, or is too long.
        Forbidden: it is something else than ``DELETE FROM table [WHERE condition]``.
    """
    tree = parse_statement(sql, dialect)
    plain = (
        isinstance(tree, exp.Delete) and isinstance(tree.this, exp.Table) and "version" not in tree.this.args
    )
    extra = next((key for key, value in tree.args.items() if value and key not in _PLAIN), None)
    if not plain or extra is not None:
        raise Forbidden(
            f"This form of DELETE is not supported{f' ({extra})' if extra else ''}.",
            hint="Write DELETE FROM table WHERE condition.",
        )
    places = [exp.column(exp.to_identifier(name, quoted=True)) for name in (FILE, ROW)]
    query = exp.Select(expressions=places).from_(tree.this.copy(), copy=False)
    where = tree.args.get("where")
    if where is not None:
        query.set("where", where.copy())
    return query


def set_target_apart(gated: Gated) -> str:
    """Give the table that rows are deleted from a view of its own, which shows their places; return its name.

    The condition may read the same table once more, as it is shown to everybody.

    Raises:
        Forbidden: it is an output of a run.
    """
    table = gated.tree.args["from_"].this
    view = table.name
    if view in gated.runs:
        raise Forbidden("A run is what it was when it ended: its rows cannot be deleted.")
    target = f"{view} to delete from"
    table.set("this", exp.to_identifier(target, quoted=True))
    gated.views[target] = gated.views[view]
    if not any(other.name == view for other in gated.tree.find_all(exp.Table)):
        del gated.views[view]
    return target


def places_query(sql: str) -> str:
    """Return the query of the places in order: file name, row number."""
    return f'SELECT parse_filename(s.f) AS file, s.r AS "row" FROM ({sql}\n) AS s(f, r) ORDER BY 1, 2'  # noqa: S608  (gated)
