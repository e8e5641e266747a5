"""The SELECT that shows a snapshot's logical columns over its Parquet files, in DuckDB's SQL.

The query room builds its views from this, so that every reader sees the same values: a widened column is put
together from its parts, a column declared with another type gets its misfits back from ``_overflow``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.warehouse.names import OVERFLOW, identifier, json_pointer, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import Column, Snapshot

SQL_TYPES = {
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "json": "VARCHAR",
}


def _parts(column: Column) -> Sequence[tuple[str, str]]:
    return column.stored or ((column.name, column.type),)


def _expression(column: Column) -> str:
    """Return the SQL of one logical column."""
    parts = _parts(column)
    wanted = SQL_TYPES[column.type]
    texts = []
    for name, kind in reversed(parts):
        plain = identifier(name)
        texts.append(plain if SQL_TYPES[kind] == wanted else f"try_cast({plain} as {wanted})")
    if all(SQL_TYPES[kind] != wanted for _, kind in parts):
        pointer = literal(json_pointer(column.original or column.name))
        misfit = f"json_extract_string({OVERFLOW}, {pointer})"
        texts.insert(0, f"case when {OVERFLOW} is not null then try_cast({misfit} as {wanted}) end")
    value = texts[0] if len(texts) == 1 else f"coalesce({', '.join(texts)})"
    return f"{value} as {identifier(column.name)}"


def view_sql(
    snapshot: Snapshot,
    path_list: Sequence[str],
    *,
    since: int | None = None,
    places: tuple[str, str] | None = None,
) -> str:
    """Return a SELECT over ``path_list``, the snapshot's files as the reading process sees them.

    The files' columns are matched by name and may be missing from any or all of them, so that the list may be
    pruned freely. With an empty list the SELECT has the right columns and no rows. Rows of before ``since``
    (Unix seconds) are not shown. ``places`` names two more columns: the file, and the row's number in it.
    """
    if not path_list:
        nothing = (
            f"null::{kind} as {identifier(name)}"
            for name, kind in [
                *((column.name, SQL_TYPES[column.type]) for column in snapshot.columns),
                *zip(places or (), ("VARCHAR", "BIGINT"), strict=False),
            ]
        )
        return f"select {', '.join(nothing)} where false"
    physical = [part for column in snapshot.columns for part in _parts(column)]
    described = ", ".join(
        f"{literal(name)}: {{name: {literal(name)}, type: {literal(SQL_TYPES[kind])}, default_value: null}}"
        for name, kind in [*physical, (OVERFLOW, "string")]
    )
    files = ", ".join(literal(path) for path in path_list)
    shown = ", ".join(_expression(column) for column in snapshot.columns)
    options = f"schema=MAP {{{described}}}"
    if places is not None:
        file, row = places
        shown += f", {identifier(file)}, file_row_number as {identifier(row)}"
        options += f", filename={literal(file)}"
    condition = "" if since is None else f' where "time" >= {since}'
    return f"select {shown} from read_parquet([{files}], {options}){condition}"  # noqa: S608 - every part is quoted above
