"""Rankings: the top items of each segment and period, with stated ties, and how they moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses import periods, ranking_approx
from jobs.analyses.analysis import Analysis, Present, ReportRange
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import ITEMS, refuse_names
from jobs.analyses.ranking_periods import Placing, place, resolve
from jobs.analyses.ranking_scores import (
    AGEING,
    METRICS,
    SCORES,
    check_columns,
    has_shares,
    measure,
    unusable,
)
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import (
    choice,
    flag,
    instant,
    integer,
    listing,
    moment,
    number,
    optional,
    parameter,
    text,
    zone,
)
from jobs.contracts.tables import OutputTable, bigint, boolean, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query, text_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.engine.port import Engine

#: Tie method to (the rank that is shown, the rank that movement is taken from).
_TIES = {
    "min": ("rank_min", "rank_min"),
    "max": ("rank_max", "rank_max"),
    "dense": ("dense_rank", "dense_rank"),
    "average": ("rank_min", "avg_rank"),
    "ordinal": ("ordinal", "ordinal"),
}
_APPROXIMATE = ("sum", "count")


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters, ReportRange):
    """Parameters of `ranking`. With `period`, the report range selects the periods that start inside it."""

    from_: int | str | None = parameter(  # type: ignore[assignment]
        None, optional(moment()), "first second of the report range; a date is a day of the zone"
    )
    to: int | str | None = parameter(  # type: ignore[assignment]
        None, optional(moment()), "first second after the report range; a date is a day of the zone"
    )
    metric: str = parameter("sum", choice(*METRICS), "what items are ranked by")
    score: str | None = parameter(
        None, optional(choice(*SCORES)), "metric score: the formula", aliases=("formula",)
    )
    as_of: int | None = parameter(
        None,
        optional(instant()),
        "scores decay and hn: the moment that ages are taken at; never the clock's",
        unit="Unix seconds",
    )
    half_life: int = parameter(
        604_800, integer(1), "score decay: the age at which a row counts half", unit="seconds", aliases=("h",)
    )
    gravity: float = parameter(1.8, number(0), "score hn: how fast age pulls down", aliases=("g",))
    z: float = parameter(
        1.959963984540054, number(0), "score wilson_low: the normal quantile of the confidence"
    )
    prior: float = parameter(
        20.0, number(0), "score bayes: how many rows the common mean counts for", aliases=("m",)
    )
    base: str = parameter(
        "sum", choice("sum", "count", "count_distinct"), "score trending: what is compared over time"
    )
    previous: int = parameter(
        4, integer(4, 366), "score trending: how many periods before make the mean", aliases=("p",)
    )
    period: str | None = parameter(
        None,
        optional(choice(*periods.UNITS)),
        "the length of a period; when null the report range, else each period_start, else everything is one",
    )
    zone: str = parameter("UTC", zone(), "whose calendar the periods follow", aliases=("timezone",))
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
    approx: bool = parameter(
        False,
        flag(),
        "count in a summary of `slots` counters, with bounds; needs top, and metric sum or count",
    )
    slots: int = parameter(
        1_000, integer(1, 1_000_000), "approx: counters of each segment and period", aliases=("K",)
    )

    def __post_init__(self) -> None:
        """Refuse combinations that have no meaning."""
        if type(self.from_) is type(self.to):
            super().__post_init__()
        if self.top is None and (self.strict_n or self.other):
            raise ParameterError("parameters strict_n and other: they need top, the number of items to keep")
        self._check_score()
        if self.approx:
            self._check_approx()

    def _check_score(self) -> None:
        if (self.metric == "score") != (self.score is not None):
            raise ParameterError(
                f"parameters metric and score: metric {self.metric} with score {self.score} is not allowed;"
                f" give metric score together with a score: {', '.join(SCORES)}"
            )
        if self.score in AGEING and self.as_of is None:
            raise ParameterError(f"parameter as_of: score {self.score} needs it, to know how old things are")
        if self.score == "trending" and self.period is None:
            raise ParameterError("parameter period: score trending needs it: hour, day, week or month")
        if self.other and not has_shares(self):
            raise ParameterError(f"parameter other: scores {self.score} do not add up to anything")

    def _check_approx(self) -> None:
        if self.top is None or self.slots < self.top:
            raise ParameterError("parameter approx: it needs top, and at least as many slots")
        if self.metric not in _APPROXIMATE or self.direction != "desc" or self.min_metric is not None:
            raise ParameterError(
                "parameter approx: it knows the largest sums and counts only;"
                " give metric sum or count, direction desc and no min_metric"
            )


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Rank the items of each segment and period, and compare with the period before.

    The metric is a sum, a count of rows, a count of distinct users (ids of one user, as `identity_edges`
    joins them, count once), the value of the latest row (the larger one when several share that second), or
    a `score`. Rows that miss what the metric needs, or their period, are left out and counted in the
    manifest. Items below `min_metric` are not ranked.
    Equal metrics, after rounding to 9 decimals, are ties: `rank` follows `ties` (min: 1 + items that are
    better; max: items that are better or equal; dense: 1 + distinct better values; ordinal: by metric, then
    item in byte order), `rank_max`, `dense_rank`, `avg_rank` and `ordinal` are there in any case. With
    `average` the column `rank` holds the min rank, and movement is the difference of the average ranks cut
    to a whole number.

    Scores: decay is the sum of value (1 where the input has none) x 2^(-(as_of - time) / half_life). trending
    is (x - mean) / sqrt(variance + 1), with x the `base` metric and mean and (population) variance over the
    `previous` periods before, where a period without a row counts 0. hn is max(ups - 1, 0) / (age + 2) ^
    gravity, age in hours from the earliest `created` to as_of. reddit_hot is sign(s) log10(max(|s|, 1)) +
    (created - 1134028003) / 45000, s = ups - downs, rounded to 7 decimals. wilson_low is the lower end of
    Wilson's interval of ups / (ups + downs), 0 without votes. bayes is (sum + prior x C) / (rows + prior), C
    the mean of all rows of the segment and period. Rows later than as_of are left out and counted. An item's
    ups and downs are the sums of its rows. Shares exist for decay only: other scores do not add up.

    Periods are hours, days, Monday weeks or calendar months of `zone`, found from `period_start` or else
    `time`; rows without one are left out and counted. Without `period` the report range is one period,
    compared with the range of the same length before it (the same number of calendar months, when both ends
    are month starts, or of days, when both are midnights); rows are placed by `time` or else `period_start`.
    Without that too, each `period_start` is a period, compared with the one before at the same distance as
    all; where the distances differ, with the one before in the list. `movement` = previous rank - current
    rank, positive is up; status is new, dropped, up, down or same. Ranks compare before the cut: an item
    that fell out of the top is down, not dropped; a dropped item is listed when its previous rank was inside
    the cut. The first period has nothing before it: all are new. A period without any row is not reported,
    unless it is the report range.

    `top` keeps every item whose min rank is at most it, so ties may make more rows; `strict_n` cuts by
    ordinal. `share` and `cumulative_share` are fractions of the segment's total in the period before the
    cut, NULL when that is 0; `cumulative_share` runs in ordinal order.

    `approx` (Misra-Gries): at most `slots` counters are kept. `metric` and `lower_bound` are what an item
    counted for sure, `upper_bound` what it counted at most; they differ by no more than total / (slots + 1),
    and not at all while there are no more items than slots. The total, and with it the shares, is exact.
    `ranking_bounds` marks the items as guaranteed that are certainly in the top n: their lower bound is not
    below the upper bound of the item after the cut. An item outside the summary is unknown rather than
    gone, so movement, status, percent_rank and cume_dist are NULL.
    """
    columns = present["items"]
    check_columns(parameters, columns)
    parameters = resolve(engine, parameters, columns)
    placing = place(engine, parameters, columns)
    _place_rows(engine, parameters, placing, columns)
    total = "ROUND(SUM(metric) OVER (PARTITION BY segment, period), 9)"
    if parameters.approx:
        ranking_approx.summarize(engine, parameters, "ranking_placed")
        total = "exact_total"
    else:
        _measure(engine, parameters)
    if not has_shares(parameters):
        total = "CAST(NULL AS DOUBLE)"
    ranked = query("ranking", "ranked", direction=parameters.direction.upper(), total=total)
    engine.materialize("ranking_ranked", ranked)
    shown, moving = _TIES[parameters.ties]
    join = "LEFT OUTER" if parameters.approx else "FULL OUTER"
    engine.view("ranking_moved", query("ranking", "moved", shown=shown, moving=moving, join=join))
    cut = query("ranking", "cut", inside=_inside(parameters), reported=placing.reported)
    engine.materialize("ranking_cut", cut)
    return _outputs(engine, parameters, placing)


def _place_rows(engine: Engine, parameters: Parameters, placing: Placing, columns: frozenset[str]) -> None:
    """The rows that can be ranked, with their periods."""
    left_out = unusable(parameters, columns, placing.column)
    usable = " AND ".join(f"NOT COALESCE({condition}, FALSE)" for _, condition in left_out) or "TRUE"
    rows = f"{_segments(parameters)} AND {usable} AND {placing.rows}"
    engine.view("ranking_placed", query("ranking", "placed", period=placing.number, segments=rows))


def _segments(parameters: Parameters) -> str:
    if parameters.segments is None:
        return "TRUE"
    return f"COALESCE(segment, '(all)') IN ({text_list(parameters.segments)})"


def _measure(engine: Engine, parameters: Parameters) -> None:
    """One number for each item, segment and period, exactly."""
    relation = "ranking_placed"
    if parameters.metric == "last":
        relation = "ranking_placed_last"
        engine.view(relation, query("ranking", "placed_last"))
    measured = query("ranking", "measured", metric=measure(parameters).aggregate, relation=relation)
    if parameters.score == "trending":
        engine.materialize("ranking_measured", measured)
        distances = ", ".join(f"({distance})" for distance in range(1, parameters.previous + 1))
        periods_before = literal(float(parameters.previous))
        measured = query("ranking", "trending", distances=distances, periods=periods_before)
    minimum = "TRUE" if parameters.min_metric is None else f"metric >= {literal(parameters.min_metric)}"
    engine.view("ranking_metrics", query("ranking", "metrics", measured=measured, minimum=minimum))


def _outputs(engine: Engine, parameters: Parameters, placing: Placing) -> dict[str, str]:
    is_exact = literal(not parameters.approx)
    result = query("ranking", "ranking", period_start=placing.start, is_exact=is_exact)
    if parameters.other:
        refuse_names(engine, "items", "item", ("(other)",), "what the cut leaves out")
        other = query("ranking", "other", period_start=placing.start, is_exact=is_exact)
        result = f"{result}\nUNION ALL\n{other}"
    engine.view("ranking", result)
    if not parameters.approx:
        return {"ranking": "ranking"}
    ranking_approx.bounds(engine, parameters, placing.start)
    return {"ranking": "ranking", "ranking_bounds": "ranking_bounds"}


def count_excluded(
    engine: Engine, parameters: Parameters, present: Present
) -> Mapping[str, Mapping[str, int]]:
    """Rows that `compute` left out because they miss their period or what the metric needs."""
    columns = present["items"]
    parameters = resolve(engine, parameters, columns)
    reasons = unusable(parameters, columns, place(engine, parameters, columns).column)
    if not reasons:
        return {}
    cases = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in reasons)
    rows = engine.collect(query("ranking", "unusable", cases=cases, segments=_segments(parameters)))
    return {"items": {row["reason"]: row["n"] for row in rows.to_pylist()}}


def _inside(parameters: Parameters) -> str:
    if parameters.top is None:
        return "TRUE"
    if parameters.strict_n:
        return f"COALESCE(ordinal, previous_ordinal) <= {parameters.top}"
    return f"COALESCE(rank_min, previous_rank_min) <= {parameters.top}"


ANALYSIS = Analysis(
    name="ranking",
    version=3,
    summary="top items by segment and period, with all tie methods, shares and movement",
    inputs=(ITEMS, IDENTITY_EDGES),
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
        OutputTable(
            "ranking_bounds",
            (
                bigint("period_start", unit="Unix seconds"),
                varchar("segment"),
                varchar("item"),
                double("lower_bound"),
                double("upper_bound"),
                boolean("guaranteed", "certainly among the top n"),
            ),
            key=("period_start", "segment", "item"),
            order="period_start, segment, lower_bound DESC, item",
            doc="with approx",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    count_excluded=count_excluded,
)
