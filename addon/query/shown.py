"""Which columns a table shows to SQL: what the customer declared, then what was detected.

The files keep what came; a declaration says how it is read. So declaring another type takes effect at once,
for old rows too, and brings back values that did not fit the detected type.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from addon.models.tables import Column, Snapshot, TableRef
from addon.warehouse.view import view_sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.catalog import DeclaredColumn, TableInfo

_KINDS: Mapping[str, str] = {
    "int": "long",
    "long": "long",
    "float": "double",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
}
_NESTED = re.compile(r"^(array|map)<[a-z<>, ]{1,100}>$")
_TIME = Column("time", "long")
_DAY_S = 86_400


def column_kind(declared_type: str) -> str | None:
    """Return the kind of column that a Treasure Data type stands for; None when there is no such type."""
    if _NESTED.match(declared_type):
        return "json"
    return _KINDS.get(declared_type)


def visible_columns(info: TableInfo, detected: Sequence[Column]) -> list[Column]:
    """Return the columns that SQL sees, ``time`` first; ``detected`` are those that the files hold."""
    known = {column.name: column for column in detected}
    declared = [_declared(column, known.get(column.name)) for column in info.declared]
    hidden = {"time", *(column.name for column in info.declared), *(column.name for column in declared)}
    rest = [column for column in detected if column.name not in hidden] if info.detect_schema else []
    return [known.get("time", _TIME), *declared, *rest]


def _declared(wanted: DeclaredColumn, detected: Column | None) -> Column:
    base = detected or Column(wanted.name, column_kind(wanted.type) or "string")
    return replace(
        base,
        name=wanted.alias or wanted.name,
        type=column_kind(wanted.type) or base.type,
        original=base.original or base.name,
        stored=base.stored or ((base.name, base.type),),
    )


def table_view(
    info: TableInfo,
    snapshot: Snapshot | None,
    paths: Sequence[str],
    *,
    since: int | None = None,
    places: tuple[str, str] | None = None,
) -> str:
    """Return the SELECT that shows a table; ``snapshot`` is None while nothing was ever imported.

    ``since`` and ``places`` are those of :func:`addon.warehouse.view.view_sql`.
    """
    if snapshot is None:
        snapshot = Snapshot(TableRef(0, info.database, info.name), 0, (), (), 0, 0)
    shown = replace(snapshot, columns=visible_columns(info, snapshot.columns))
    return view_sql(shown, paths, since=since, places=places)


def expired_before(info: TableInfo, now: int) -> int | None:
    """Return the Unix second before which a table's rows have expired; None where none does."""
    return None if info.expire_days is None else now - info.expire_days * _DAY_S
