"""What an analysis of a report reads: tables and columns as SQL, and the run's time in its places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from addon.models.tables import check_name
from jobs.contracts.errors import UnknownAnalysisError
from jobs.registry import find
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.models.reports import ReportAnalysis, Window

_PLACE = re.compile(r"\$\{([^}]*)\}")
_COLUMN = re.compile(r"^[^\x00-\x1f\x7f\"]{1,128}$")


def with_inputs(one: ReportAnalysis) -> dict[str, Any]:
    """Return the analyses' route's body: ``tables`` and ``columns`` become SELECTs of their own.

    ``tables`` maps inputs to ``table`` or ``database.table``; ``columns`` maps ``INPUT.COLUMN`` to one of
    the table's. What ``columns`` does not name is read under its own name.

    Raises:
        InvalidInput: one of them is malformed.
    """
    body = dict(one.request)
    tables, columns = body.pop("tables", {}), body.pop("columns", {})
    if not isinstance(tables, dict) or not isinstance(columns, dict):
        raise InvalidInput("parameters tables and columns: give objects.")
    if not tables and not columns:
        return body
    inputs = dict(body.get("inputs") or {})
    for name, table in tables.items():
        if name in inputs:
            raise InvalidInput(f"parameter tables.{name}: the input is given as SQL, too; give one of them.")
        inputs[name] = _select(one, name, table, _mapped(columns, name))
    stray = sorted(
        set(columns) - {f"{name}.{column}" for name in tables for column in _mapped(columns, name)}
    )
    if stray:
        raise InvalidInput(f"parameter columns.{stray[0]}: give INPUT.COLUMN of an input in tables.")
    return {**body, "inputs": inputs, "dialect": body.get("dialect", "duckdb")}


def _mapped(columns: Mapping[str, Any], name: str) -> dict[str, str]:
    prefix = f"{name}."
    found = {key.removeprefix(prefix): value for key, value in columns.items() if key.startswith(prefix)}
    for column, source in found.items():
        if not isinstance(source, str) or not _COLUMN.match(source) or not _COLUMN.match(column):
            raise InvalidInput(f"parameter columns.{name}.{column}: give the name of a column.")
    return found


def _select(one: ReportAnalysis, name: str, table: Any, mapped: Mapping[str, str]) -> str:
    parts = table.split(".") if isinstance(table, str) else []
    if len(parts) not in {1, 2}:
        raise InvalidInput(f"parameter tables.{name}: give TABLE or DATABASE.TABLE.")
    for part in parts:
        check_name("table", part)
    source = ".".join(f'"{part}"' for part in parts)
    if not mapped:
        return f"SELECT * FROM {source}"  # noqa: S608  (the names are checked and quoted)
    known = {column.name for column in _columns(one.analysis, name)}
    unknown = sorted(set(mapped) - known)
    if unknown:
        raise InvalidInput(
            f"parameter columns.{name}.{unknown[0]}: the input {name} has no such column.",
            hint=f"It has {', '.join(sorted(known))}.",
        )
    renamed = ", ".join(f'"{source_}" AS "{column}"' for column, source_ in mapped.items())
    # A column of the table's own under a mapped name stands aside for the mapping.
    aside = ", ".join(f"'{column}'" for column in mapped)
    return f"SELECT COLUMNS(c -> c NOT IN ({aside})), {renamed} FROM {source}"  # noqa: S608  (as above)


def _columns(analysis: str, name: str) -> Any:
    try:
        tables = find(analysis).inputs
    except UnknownAnalysisError:
        return ()
    return next((table.columns for table in tables if table.name == name), ())


def placed(body: Any, window: Window, slot: int) -> Any:
    """Return the same with ``${from}``, ``${to}`` and ``${slot}`` as Unix seconds.

    A text that is nothing but a place becomes a number; within a text it becomes its digits.

    Raises:
        InvalidInput: a place is not known, or the report has no period that would fill it.
    """
    values = {"from": window.start, "to": window.end, "slot": slot}
    if isinstance(body, Mapping):
        return {key: placed(value, window, slot) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [placed(value, window, slot) for value in body]
    if not isinstance(body, str):
        return body
    whole = _PLACE.fullmatch(body)
    if whole is not None:
        return _value(values, whole[1])
    return _PLACE.sub(lambda found: str(_value(values, found[1])), body)


def _value(values: Mapping[str, int | None], name: str) -> int:
    if name not in values:
        raise InvalidInput(f"${{{name[:40]}}} is not known; there are ${{from}}, ${{to}} and ${{slot}}.")
    value = values[name]
    if value is None:
        raise InvalidInput(f"${{{name}}} needs a period: give period.unit.")
    return value
