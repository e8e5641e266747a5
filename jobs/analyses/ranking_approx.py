"""Approximate top items: a mergeable Misra-Gries summary with a bound on what it lost.

The rows are cut into parts by the minute of their time, the same on every engine. Each part keeps at most
`slots` items: the count of the next one is taken off all, and what is left at 0 goes. Summaries are added up
and cut again in the same way. What was taken off, in all, is the most by which a count can be too low. It is
no more than total / (slots + 1): each time, slots + 1 items lose that much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.contracts.errors import InputError
from jobs.engine.text import query

if TYPE_CHECKING:
    from jobs.analyses.ranking import Parameters
    from jobs.engine.port import Engine

_PARTS = 16


def summarize(engine: Engine, parameters: Parameters, relation: str) -> None:
    """Make `ranking_metrics` from the placed rows, with bounds and the exact total."""
    weight = "CAST(1 AS BIGINT)" if parameters.metric == "count" else "value"
    if parameters.metric == "sum":
        bad = engine.collect(query("ranking", "negative_values", relation=relation)).to_pylist()[0]["n"]
        if bad:
            raise InputError(
                f"items: {bad} rows have a negative value; approx can bound sums of none below 0"
            )
    parts = query("ranking", "approx_parts", weight=weight, relation=relation, parts=str(_PARTS))
    engine.materialize("ranking_parts", parts)
    slots = str(parameters.slots)
    engine.materialize("ranking_part_summaries", query("ranking", "approx_part_summaries", slots=slots))
    engine.materialize("ranking_summary", query("ranking", "approx_summary", slots=slots))
    engine.view("ranking_metrics", query("ranking", "approx_metrics"))


def bounds(engine: Engine, parameters: Parameters, period_start: str) -> None:
    """Make `ranking_bounds`: the listed items' bounds, and which of them are certainly in the top."""
    engine.view(
        "ranking_bounds",
        query("ranking", "bounds", period_start=period_start, top=str(parameters.top)),
    )
