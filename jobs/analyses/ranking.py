"""Rankings: the top items of each segment and period, with stated ties, and how they moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jobs.analyses import periods
from jobs.analyses.analysis import Analysis, Present, ReportRange
from jobs.analyses.inputs import ITEMS
from jobs.analyses.ranking_periods import place
from jobs.contracts.errors import InputError, ParameterError
from jobs.contracts.parameters import choice, flag, integer, listing, number, optional, parameter, text
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query, text_list

if TYPE_CHECKING:
    from jobs.engine.port import Engine

#: Tie method to (the rank that is shown, the rank that movement is taken from).
_TIES = {
    "min": ("rank_min", "rank_min"),
    "max": ("rank_max", "rank_max"),
    "dense": ("dense_rank", "dense_rank"),
    "average": ("rank_min", "avg_rank"),
    "ordinal": ("ordinal", "ordinal"),
}
#: Metric to (the aggregate, the input column that it needs). Rounding first, so that noise breaks no tie.
_METRICS = {
    "sum": ("ROUND(CAST(SUM(value) AS DOUBLE), 9)", "value"),
    "count": ("CAST(COUNT(*) AS DOUBLE)", "item"),
    "count_distinct": ("CAST(COUNT(DISTINCT user_id) AS DOUBLE)", "user_id"),
    "last": ("ROUND(CAST(MAX(value) AS DOUBLE), 9)", "value"),
}


@dataclass(frozen=True, kw_only=True)
class Parameters(ReportRange):
    """Parameters of `ranking`. With `period`, the report range selects the periods that start inside it."""

    PLANNED: ClassVar = ("approx", "as_of")
    metric: str = parameter("sum", choice(*_METRICS, planned=("score",)), "what items are ranked by")
    period: str | None = parameter(
        None,
        optional(choice(*periods.UNITS)),
        "the length of a period; when null the report range, else each period_start, else everything is one",
    )
    segments: tuple[str, ...] | None = parameter(
        None,
        optional(listing(text(), low=1, unique=True)),
        "only these segments; all when null",
        aliases=("segment", "segment_list"),
    )
    direction: str = parameter("desc", choice("desc", "asc"), "whether the largest or the smallest is first")
    ties: str = parameter(
        "min",
        choice(*_TIES),
        "which rank is shown and compared between periods",
        aliases=("tie_method", "tie"),
    )
    top: int | None = parameter(
        None,
        optional(integer(1)),
        "keep items whose min rank is at most this; all when null",
        aliases=("top_n", "n"),
    )
    strict_n: bool = parameter(False, flag(), "cut by the ordinal instead: never more than `top` rows")
    other: bool = parameter(False, flag(), "add a row (other) with what the cut left out")
    min_metric: float | None = parameter(None, optional(number()), "items below it are not ranked at all")

    def __post_init__(self) -> None:
        """Refuse a cut rule without a cut."""
        super().__post_init__()
        if self.top is None and (self.strict_n or self.other):
            raise ParameterError("parameters strict_n and other: they need top, the number of items to keep")


def _check_columns(parameters: Parameters, columns: frozenset[str]) -> None:
    needed = [_METRICS[parameters.metric][1]] + (["time"] if parameters.metric == "last" else [])
    for column in needed:
        if column not in columns:
            raise InputError(
                f"items: column {column} is missing; metric {parameters.metric} needs it"
                f" (rename with --map items.{column}=NAME)"
            )


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Rank the items of each segment and period, and compare with the period before.

    The metric is a sum, a count of rows, a count of distinct users, or the value of the latest row (the
    larger one when several share that second). Items without a metric or below `min_metric` are not ranked.
    Equal metrics, after rounding to 9 decimals, are ties: `rank` follows `ties` (min: 1 + items that are
    better; max: items that are better or equal; dense: 1 + distinct better values; ordinal: by metric, then
    item in byte order), `rank_max`, `dense_rank`, `avg_rank` and `ordinal` are there in any case. With
    `average` the column `rank` holds the min rank, and movement is the difference of the average ranks cut
    to a whole number.

    Periods are UTC hours, days, Monday weeks or calendar months, found from `period_start` or else
    `time`; rows without one are left out. Without `period` the report range is one period, compared with
    the range of the same length before it (the same number of calendar months, when both ends are month
    starts); rows are placed by `time` or else `period_start`. Without that too, each `period_start` is a
    period, compared with the one before at the same distance as all; where the distances differ, with the
    one before in the list. `movement` = previous rank - current rank, positive is up; status is new,
    dropped, up, down or same. Ranks compare before the cut: an item that fell out of the top is down, not
    dropped; a dropped item is listed when its previous rank was inside the cut. The first period has
    nothing before it: all are new. A period without any row is not
    reported, unless it is the report range.

    `top` keeps every item whose min rank is at most it, so ties may make more rows; `strict_n` cuts by
    ordinal. `share` and `cumulative_share` are fractions of the segment's total in the period before the
    cut, NULL when that is 0; `cumulative_share` runs in ordinal order.
    """
    _check_columns(parameters, present["items"])
    placing = place(engine, parameters, present["items"])
    segments = "TRUE"
    if parameters.segments is not None:
        segments = f"COALESCE(segment, '(all)') IN ({text_list(parameters.segments)})"
    engine.view(
        "ranking_placed",
        query("ranking", "placed", period=placing.number, segments=f"{segments} AND {placing.rows}"),
    )
    relation = "ranking_placed"
    if parameters.metric == "last":
        relation = "ranking_placed_last"
        engine.view(relation, query("ranking", "placed_last"))
    minimum = "TRUE" if parameters.min_metric is None else f"metric >= {literal(parameters.min_metric)}"
    aggregate = _METRICS[parameters.metric][0]
    engine.view(
        "ranking_metrics", query("ranking", "metrics", metric=aggregate, relation=relation, minimum=minimum)
    )
    engine.materialize("ranking_ranked", query("ranking", "ranked", direction=parameters.direction.upper()))
    shown, moving = _TIES[parameters.ties]
    engine.view("ranking_moved", query("ranking", "moved", shown=shown, moving=moving))
    cut = query("ranking", "cut", inside=_inside(parameters), reported=placing.reported)
    engine.materialize("ranking_cut", cut)
    result = query("ranking", "ranking", period_start=placing.start)
    if parameters.other:
        result = f"{result}\nUNION ALL\n{query('ranking', 'other', period_start=placing.start)}"
    engine.view("ranking", result)
    return {"ranking": "ranking"}


def _inside(parameters: Parameters) -> str:
    if parameters.top is None:
        return "TRUE"
    if parameters.strict_n:
        return f"COALESCE(ordinal, previous_ordinal) <= {parameters.top}"
    return f"COALESCE(rank_min, previous_rank_min) <= {parameters.top}"


ANALYSIS = Analysis(
    name="ranking",
    version=2,
    summary="top items by segment and period, with all tie methods, shares and movement",
    inputs=(ITEMS,),
    outputs=(
        OutputTable(
            "ranking",
            (
                bigint("period_start", unit="Unix seconds"),
                varchar("segment"),
                integer_column("rank", "by the parameter ties", nullable=True),
                integer_column("rank_max", nullable=True),
                integer_column("dense_rank", nullable=True),
                double("avg_rank", nullable=True),
                integer_column("ordinal", nullable=True),
                varchar("item"),
                double("metric", nullable=True),
                double("share", nullable=True, unit="fraction"),
                double("cumulative_share", nullable=True, unit="fraction"),
                double("percent_rank", nullable=True, unit="fraction"),
                double("cume_dist", nullable=True, unit="fraction"),
                integer_column("previous_rank", nullable=True),
                integer_column("movement", "positive is up", nullable=True),
                varchar("status", "new, dropped, up, down, same", nullable=True),
                double("previous_metric", nullable=True),
                double("change", nullable=True),
                double("lower_bound", "approximate rankings only", nullable=True),
                double("upper_bound", "approximate rankings only", nullable=True),
            ),
            key=("period_start", "segment", "item"),
            order="period_start, segment, ordinal NULLS LAST, previous_rank NULLS LAST, item",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
