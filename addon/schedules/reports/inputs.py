"""What an analysis of a report reads, and the run's time in the places that wait for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from addon.query.analysis_inputs import resolved_inputs
from addon.query.analysis_request import check_request, find_analysis
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from addon.models.reports import ReportAnalysis, Window
    from addon.store.catalog import SqlCatalog

_PLACE = re.compile(r"\$\{([^}]*)\}")
_ANY_SQL = "SELECT 1"
FIELDS = frozenset({"inputs", "tables", "params", "engine", "dialect"})
"""Of the analyses' routes: those that a report takes, too."""


def asked_of(
    one: ReportAnalysis, window: Window, slot: int, catalog: SqlCatalog, account_id: int
) -> dict[str, Any]:
    """Return an analysis' request as its own route would keep it.

    Raises:
        InvalidInput: it is not one that the analysis takes.
        NotFound: there is no such analysis, or a table is not there.
    """
    analysis = find_analysis(one.analysis)
    body = placed(dict(one.request), window, slot)
    return check_request(one.analysis, resolved_inputs(analysis, body, catalog, account_id, one.database))


def check_asked(one: ReportAnalysis, window: Window, slot: int, catalog: SqlCatalog, account_id: int) -> None:
    """Check an analysis of a definition; tables may be missing still, as they come with their first row.

    Raises:
        InvalidInput: it is not one that the analysis takes.
        NotFound: there is no such analysis.
    """
    strange = sorted(set(one.request) - FIELDS)
    if strange:
        raise InvalidInput(
            f"unknown parameter {strange[0][:40]}; an analysis takes key, title, analysis, database,"
            f" {', '.join(sorted(FIELDS))}."
        )
    find_analysis(one.analysis)
    try:
        asked_of(one, window, slot, catalog, account_id)
    except NotFound:
        body = placed(dict(one.request), window, slot)
        names = dict.fromkeys(body.pop("tables", {}), _ANY_SQL)
        check_request(one.analysis, body | {"inputs": dict(body.get("inputs", {})) | names})


def placed(body: Any, window: Window, slot: int) -> Any:
    """Return the same with ``${from}``, ``${to}`` and ``${slot}`` as Unix seconds.

    A text that is nothing but a place becomes a number; within a text it becomes its digits.

    Raises:
        InvalidInput: a place is not known, or the report has no period that would fill it.
    """
    if isinstance(body, Mapping):
        return {key: placed(value, window, slot) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [placed(value, window, slot) for value in body]
    if not isinstance(body, str):
        return body
    values = {"from": window.start, "to": window.end, "slot": slot}
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
