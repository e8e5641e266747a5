"""Inputs of a run that is to come, given as tables: kept as they are, made into SQL when the run begins.

A schedule's run may be months away. Until then a table may get columns, or come to be with its first row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addon.query.analysis_inputs import FED, resolved_inputs
from addon.query.analysis_request import check_request, find_analysis
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.models.jobs import JobRequest
    from addon.store.catalog import SqlCatalog

_ANY_SQL = "SELECT 1"
"""Stands for a table while everything else of a request is checked."""


def kept_request(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as the job of a later run keeps it: with ``tables`` where some were given.

    Raises:
        NotFound: there is no such analysis.
        InvalidInput: a field is missing or malformed, or not what the analysis takes.
    """
    tables, inputs = body.get("tables"), body.get("inputs", {})
    rest = {field: value for field, value in body.items() if field != "tables"}
    if tables is None:
        return check_request(name, {**rest, "inputs": {}} if name in FED and not inputs else rest)
    if not isinstance(tables, dict) or not isinstance(inputs, dict):
        raise InvalidInput(
            "The fields inputs and tables must be objects.",
            hint='Write "inputs": {"events": "SELECT …"}, or "tables": {"events": "shop.views"}.',
        )
    checked = check_request(name, {**rest, "inputs": {**dict.fromkeys(tables, _ANY_SQL), **inputs}})
    return {**checked, "inputs": inputs, "tables": tables}


def check_tables(
    name: str, body: Mapping[str, Any], catalog: SqlCatalog, account_id: int, database: str
) -> None:
    """Check what is known of the tables now; one that is not there may come with its first row.

    Raises:
        NotFound: there is no such analysis.
        InvalidInput: an input is not one of the analysis, or a table that is there lacks a column.
    """
    analysis = find_analysis(name)
    for table, given in body.get("tables", {}).items():
        others = {**body.get("inputs", {}), **dict.fromkeys(set(body["tables"]) - {table}, _ANY_SQL)}
        try:
            resolved_inputs(
                analysis, {**body, "inputs": others, "tables": {table: given}}, catalog, account_id, database
            )
        except NotFound:
            continue


def begun(request: JobRequest, catalog: SqlCatalog) -> dict[str, Any]:
    """Return the params of a run that begins now, every input as SQL.

    Raises:
        NotFound: a table is not there.
        InvalidInput: it lacks a column, or the analysis takes something else now.
    """
    params = request.params
    name = params["name"]
    body = {field: value for field, value in params.items() if field not in {"name", "snapshots"}}
    resolved = resolved_inputs(find_analysis(name), body, catalog, request.account_id, request.database)
    checked = check_request(name, resolved)
    return {**checked, "snapshots": params["snapshots"]} if "snapshots" in params else checked
