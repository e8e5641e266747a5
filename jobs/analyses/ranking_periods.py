"""Which period a row of `items` belongs to, and which period another one is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobs.analyses.zones import Calendar, calendar
from jobs.contracts.errors import InputError
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.analyses.ranking import Parameters
    from jobs.engine.port import Engine

_MOST_UNEVEN_PERIODS = 1_000
#: A period without any row is not reported, unless it was asked for by its ends.
_SEEN = "moved.period IN (SELECT period FROM ranking_ranked)"


@dataclass(frozen=True, slots=True)
class Placing:
    """How rows and periods meet, as SQL.

    Attributes:
        number: a row's period; the period before has the number before.
        column: what that is found from; None where all rows are in one period.
        rows: the rows that take part, of those with the column.
        start: the first second of the period number `period`.
        reported: which periods, as `moved.period`, are in the result; the others are only compared with.
    """

    number: str
    column: str | None = None
    rows: str = "TRUE"
    start: str = "CAST(0 AS BIGINT)"
    reported: str = _SEEN


def place(engine: Engine, parameters: Parameters, columns: frozenset[str]) -> Placing:
    """Choose among the calendar, the report range, the listed period starts, and one period for all."""
    if parameters.period is not None:
        return _calendar(engine, parameters, columns)
    if parameters.from_ is not None or parameters.to is not None:
        return _range(parameters, columns)
    if "period_start" in columns:
        return _listed(engine)
    return Placing("CAST(0 AS BIGINT)")


def column_of(parameters: Parameters, columns: frozenset[str]) -> str | None:
    """The column that says in which period a row is; None where all rows are in one."""
    if parameters.period is not None:
        order: tuple[str, ...] = ("period_start", "time")
    elif parameters.from_ is not None or parameters.to is not None:
        order = ("time", "period_start")
    else:
        order = ("period_start",)
    return next((name for name in order if name in columns), None)


def resolve(engine: Engine, parameters: Parameters, columns: frozenset[str]) -> Parameters:
    """The parameters with the ends of the report range as seconds: a date is a day of the zone."""
    if not isinstance(parameters.from_, str) and not isinstance(parameters.to, str):
        return parameters
    cal = _zone_calendar(engine, parameters, columns)
    ends = [None if end is None else cal.moment(end) for end in (parameters.from_, parameters.to)]
    return replace(parameters, from_=ends[0], to=ends[1])


def _zone_calendar(engine: Engine, parameters: Parameters, columns: frozenset[str]) -> Calendar:
    column = column_of(parameters, columns) or "CAST(NULL AS BIGINT)"
    engine.view("ranking_times", query("ranking", "times", column=column))
    unit = parameters.period or "day"
    return calendar(engine, unit, parameters.zone, "ranking_times", parameters.from_, parameters.to)


def _calendar(engine: Engine, parameters: Parameters, columns: frozenset[str]) -> Placing:
    column = column_of(parameters, columns)
    if column is None:
        raise InputError("items: column period_start (Unix seconds) is missing; parameter period needs it")
    cal = _zone_calendar(engine, parameters, columns)
    return Placing(
        cal.index(column),
        column,
        "TRUE",
        cal.start("period"),
        f"{_SEEN} AND {parameters.covers(cal.start('moved.period'))}",
    )


def _range(parameters: Parameters, columns: frozenset[str]) -> Placing:
    """The range is period 1, the one before it period 0. A range open on one side has none before it."""
    column = column_of(parameters, columns)
    if column is None:
        raise InputError("items: parameters from and to need a column time or period_start (Unix seconds)")
    first, end = _second(parameters.from_), _second(parameters.to)
    if first is None or end is None:
        return Placing("CAST(1 AS BIGINT)", column, parameters.covers(column), literal(first or 0))
    before = _range_before(first, end, ZoneInfo(parameters.zone))
    return Placing(
        f"CAST(CASE WHEN {column} >= {first} THEN 1 ELSE 0 END AS BIGINT)",
        column,
        f"{column} >= {before} AND {column} < {end}",
        literal(first),
        "moved.period = 1",
    )


def _second(end: int | str | None) -> int | None:
    """An end of the range, which `resolve` has made a number."""
    return None if end is None else int(end)


def _range_before(first: int, end: int, zone: ZoneInfo) -> int:
    """Where the range of the same length before starts: as many calendar months, days, or seconds earlier."""
    begin, close = (datetime.fromtimestamp(second, zone) for second in (first, end))
    if any((moment.hour, moment.minute, moment.second) != (0, 0, 0) for moment in (begin, close)):
        return first - (end - first)
    if (begin.day, close.day) != (1, 1):
        day = begin.date() - (close.date() - begin.date())
        return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    first_month, end_month = (moment.year * 12 + moment.month - 1 for moment in (begin, close))
    before = 2 * first_month - end_month
    return int(datetime(before // 12, before % 12 + 1, 1, tzinfo=zone).timestamp())


def _listed(engine: Engine) -> Placing:
    """Each period_start is a period. Evenly spaced ones keep their gaps; others follow one another."""
    starts = [row["start"] for row in engine.collect(query("ranking", "starts")).to_pylist()]
    if not starts:
        return Placing("CAST(0 AS BIGINT)")
    if len(starts) == 1:
        return Placing("CAST(0 AS BIGINT)", "period_start", start=literal(starts[0]))
    first, step = starts[0], min(later - earlier for earlier, later in pairwise(starts))
    if all((start - first) % step == 0 for start in starts):
        number = f"CAST(FLOOR((period_start - {first}) / {step}) AS BIGINT)"
        return Placing(number, "period_start", start=f"({first} + period * {step})")
    if len(starts) > _MOST_UNEVEN_PERIODS:
        raise InputError(
            f"items: {len(starts)} values of period_start at uneven distances;"
            " say with the parameter period what a period is: hour, day, week or month"
        )
    numbers = " ".join(f"WHEN {start} THEN {number}" for number, start in enumerate(starts))
    values = " ".join(f"WHEN {number} THEN {start}" for number, start in enumerate(starts))
    return Placing(
        f"CAST(CASE period_start {numbers} END AS BIGINT)",
        "period_start",
        start=f"CAST(CASE period {values} END AS BIGINT)",
    )
