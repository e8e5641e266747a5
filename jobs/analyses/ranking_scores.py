"""What items are ranked by: the metrics and scores as SQL aggregates, and the rows that they cannot use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.contracts.errors import InputError
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.analyses.ranking import Parameters

METRICS = ("sum", "count", "count_distinct", "last", "score")
SCORES = ("decay", "trending", "hn", "reddit_hot", "wilson_low", "bayes")
#: Scores that look at how long ago something was.
AGEING = ("decay", "hn")
#: Metrics of which a part and the rest make the whole; only these have shares.
_ADDITIVE = ("sum", "count", "count_distinct", "last", "decay")


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric as SQL.

    Attributes:
        aggregate: over the rows of one item, segment and period; a double.
        needs: the columns that must be there and not NULL.
        optional: columns that must not be NULL where they are there.
        has_shares: whether the sum over items means anything.
    """

    aggregate: str
    needs: tuple[str, ...]
    optional: tuple[str, ...] = ()
    has_shares: bool = True


def measure(parameters: Parameters) -> Measure:
    """The metric, or the score, that the parameters name. `trending` measures what it compares over time."""
    name = parameters.score if parameters.metric == "score" else parameters.metric
    if name == "trending":
        name = parameters.base
    return _measure(str(name), parameters)


def has_shares(parameters: Parameters) -> bool:
    """Whether the result's shares mean anything."""
    return (parameters.score or parameters.metric) in _ADDITIVE


def _measure(name: str, parameters: Parameters) -> Measure:
    as_of = literal(parameters.as_of)
    # Rounding first, so that noise breaks no tie.
    found = {
        "sum": Measure("ROUND(CAST(SUM(value) AS DOUBLE), 9)", ("value",)),
        "count": Measure("CAST(COUNT(*) AS DOUBLE)", ("item",)),
        "count_distinct": Measure("CAST(COUNT(DISTINCT user_id) AS DOUBLE)", ("user_id",)),
        "last": Measure("ROUND(CAST(MAX(value) AS DOUBLE), 9)", ("value", "time")),
        "decay": Measure(
            query("ranking", "decay", as_of=as_of, half_life=literal(float(parameters.half_life))),
            ("time",),
            ("value",),
        ),
        "hn": Measure(
            query("ranking", "hn", as_of=as_of, gravity=literal(parameters.gravity)), ("ups", "created")
        ),
        "reddit_hot": Measure(query("ranking", "reddit_hot"), ("ups", "downs", "created")),
        "wilson_low": Measure(query("ranking", "wilson_low", z=literal(parameters.z)), ("ups", "downs")),
        "bayes": Measure(query("ranking", "bayes", prior=literal(parameters.prior)), ("value",)),
    }
    return found[name]


def check_columns(parameters: Parameters, columns: frozenset[str]) -> None:
    """Refuse an input without a column that the metric needs."""
    asked = parameters.metric if parameters.metric != "score" else f"score {parameters.score}"
    for column in measure(parameters).needs:
        if column not in columns:
            raise InputError(
                f"items: column {column} is missing; metric {asked} needs it"
                f" (rename with --map items.{column}=NAME)"
            )


def unusable(parameters: Parameters, columns: frozenset[str], placed_by: str | None) -> list[tuple[str, str]]:
    """Rows that cannot be ranked: (reason, SQL condition), the first that holds counts.

    Args:
        parameters: metric, score and as_of.
        columns: those that the input has.
        placed_by: the column that says in which period a row is; None when all are in one.
    """
    reasons = [] if placed_by is None else [("null_period", f"{placed_by} IS NULL")]
    chosen = measure(parameters)
    names = [*chosen.needs, *(name for name in chosen.optional if name in columns)]
    reasons += [(f"null_{name}", f"{name} IS NULL") for name in names if name != "item"]
    reasons += [(f"negative_{name}", f"{name} < 0") for name in ("ups", "downs") if name in chosen.needs]
    if parameters.score in AGEING:
        column = "created" if parameters.score == "hn" else "time"
        reasons.append(("after_as_of", f"{column} > {literal(parameters.as_of)}"))
    return reasons
