"""A pinned version of a table as a relation with its logical columns, the same on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.engine.text import query

if TYPE_CHECKING:
    from jobs.contracts.pinned import Pinned, PinnedColumn
    from jobs.engine.port import Dialect, Engine

_SQL_TYPES = {"VARCHAR": "STRING"}


def register_pinned(engine: Engine, name: str, pinned: Pinned) -> None:
    """Make a pinned table, with the columns it has here, the relation `name`.

    Raises:
        InputError: a file cannot be read.
    """
    files = f"{name}__files"
    engine.register_pinned(files, pinned.files, pinned.physical)
    items = ", ".join(_item(engine.dialect, column) for column in pinned.columns)
    engine.view(name, query("staging", "pinned", items=items, relation=files, condition=_condition(pinned)))


def _item(dialect: Dialect, column: PinnedColumn) -> str:
    """The value is in the newest part that has one: a widened column's values moved on, part by part."""
    kind = _SQL_TYPES.get(column.type, column.type)
    casts = [
        dialect.identifier(part) if stored == column.type else f"CAST({dialect.identifier(part)} AS {kind})"
        for part, stored in reversed(column.stored)
    ]
    value = casts[0] if len(casts) == 1 else f"COALESCE({', '.join(casts)})"
    return f"{value} AS {dialect.identifier(column.name)}"


def _condition(pinned: Pinned) -> str:
    """Written over the physical column, which every table has, so that engines can pass over files by it."""
    bounds = [
        f"time {sign} {bound}"
        for sign, bound in ((">=", pinned.first), ("<=", pinned.last))
        if bound is not None
    ]
    return " AND ".join(bounds) or "TRUE"
