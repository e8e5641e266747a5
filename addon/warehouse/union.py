"""Whether files that were typed for one schema fit a table whose schema has moved on, and what both make."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from addon.models.tables import Column
from addon.warehouse.schema import MAX_COLUMNS, TableSchema

if TYPE_CHECKING:
    from collections.abc import Sequence


def schema_text(schema: TableSchema) -> str:
    """Return a schema as JSON text, for :func:`schema_from_text`."""
    columns = schema.columns
    return json.dumps([[column.name, column.type, column.original, column.stored] for column in columns])


def schema_from_text(text: str) -> TableSchema:
    """Read a schema back."""
    return TableSchema(
        tuple(
            Column(name, kind, original, tuple((part, of) for part, of in stored))
            for name, kind, original, stored in json.loads(text)
        )
    )


def union(table: TableSchema, files: TableSchema) -> TableSchema | None:
    """Return the schema of the table with the files in it; None when a column means different things in them.

    The files fit when each of their columns is the table's own, as it was or as it was widened since, or one
    that the table has not, in no spelling.
    """
    columns = {column.name: column for column in table.columns}
    taken = {name for name, _ in table.physical()}
    folded = {key.lower() for key in table.keys()}  # noqa: SIM118 - no dict
    for added in files.columns:
        known = columns.get(added.name)
        if known is None:
            key = (added.original or added.name).lower()
            if key in folded or taken & {name for name, _ in added.stored}:
                return None
            columns[added.name] = added
            continue
        longer = _longer(known, added)
        if longer is None:
            return None
        columns[added.name] = longer
    return TableSchema(tuple(columns.values())) if len(columns) <= MAX_COLUMNS else None


def _longer(one: Column, other: Column) -> Column | None:
    """Return which of two forms of a column has grown from the other; None when neither has."""
    if one.original != other.original:
        return None
    if _begins(one.stored, other.stored):
        return one
    return other if _begins(other.stored, one.stored) else None


def _begins(longer: Sequence[tuple[str, str]], shorter: Sequence[tuple[str, str]]) -> bool:
    return tuple(longer[: len(shorter)]) == tuple(shorter)
