"""Which period a row of `items` belongs to, and which period another one is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from jobs.analyses import periods
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
        rows: the rows that take part.
        start: the first second of the period number `period`.
        reported: which periods, as `moved.period`, are in the result; the others are only compared with.
    """

    number: str
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


def _calendar(engine: Engine, parameters: Parameters, columns: frozenset[str]) -> Placing:
    unit = str(parameters.period)
    column = next((name for name in ("period_start", "time") if name in columns), None)
    if column is None:
        raise InputError("items: column period_start (Unix seconds) is missing; parameter period needs it")
    return Placing(
        periods.index(engine.dialect, unit, column),
        f"{column} IS NOT NULL",
        periods.start(engine.dialect, unit, "period"),
        f"{_SEEN} AND {parameters.covers(periods.start(engine.dialect, unit, 'moved.period'))}",
    )


def _range(parameters: Parameters, columns: frozenset[str]) -> Placing:
    """The range is period 1, the one before it period 0. A range open on one side has none before it."""
    column = next((name for name in ("time", "period_start") if name in columns), None)
    if column is None:
        raise InputError("items: parameters from and to need a column time or period_start (Unix seconds)")
    first, end = parameters.from_, parameters.to
    if first is None or end is None:
        return Placing("CAST(1 AS BIGINT)", parameters.covers(column), literal(first or 0))
    before = _range_before(first, end)
    return Placing(
        f"CAST(CASE WHEN {column} >= {first} THEN 1 ELSE 0 END AS BIGINT)",
        f"{column} >= {before} AND {column} < {end}",
        literal(first),
        "moved.period = 1",
    )


def _range_before(first: int, end: int) -> int:
    """Where the range of the same length before starts: as many calendar months earlier, or seconds."""
    ends = [datetime.fromtimestamp(second, UTC) for second in (first, end)]
    if any((day.day, day.hour, day.minute, day.second) != (1, 0, 0, 0) for day in ends):
        return first - (end - first)
    first_month, end_month = (day.year * 12 + day.month - 1 for day in ends)
    before = 2 * first_month - end_month
    return int(datetime(before // 12, before % 12 + 1, 1, tzinfo=UTC).timestamp())


def _listed(engine: Engine) -> Placing:
    """Each period_start is a period. Evenly spaced ones keep their gaps; others follow one another."""
    starts = [row["start"] for row in engine.collect(query("ranking", "starts")).to_pylist()]
    if not starts:
        return Placing("CAST(0 AS BIGINT)")
    if len(starts) == 1:
        return Placing("CAST(0 AS BIGINT)", "period_start IS NOT NULL", literal(starts[0]))
    first, step = starts[0], min(later - earlier for earlier, later in pairwise(starts))
    if all((start - first) % step == 0 for start in starts):
        number = f"CAST(FLOOR((period_start - {first}) / {step}) AS BIGINT)"
        return Placing(number, "period_start IS NOT NULL", f"({first} + period * {step})")
    if len(starts) > _MOST_UNEVEN_PERIODS:
        raise InputError(
            f"items: {len(starts)} values of period_start at uneven distances;"
            " say with the parameter period what a period is: hour, day, week or month"
        )
    numbers = " ".join(f"WHEN {start} THEN {number}" for number, start in enumerate(starts))
    values = " ".join(f"WHEN {number} THEN {start}" for number, start in enumerate(starts))
    return Placing(
        f"CAST(CASE period_start {numbers} END AS BIGINT)",
        "period_start IS NOT NULL",
        f"CAST(CASE period {values} END AS BIGINT)",
    )
