"""Retention: of the users who started in a period, how many came back, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import SECONDS_PER_DAY, Analysis, Present
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import EVENTS
from jobs.analyses.zones import Calendar, calendar
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, integer, listing, moment, optional, parameter, text, zone
from jobs.contracts.tables import OutputTable, bigint, boolean, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query, text_literal

if TYPE_CHECKING:
    from jobs.engine.port import Engine

#: So many periods fit into the bits of a number, the sign left out.
BITS = 62
_USERS = {"day_n": "users_at", "rolling": "users_at", "unbounded": "users_from", "bracket": "users_within"}


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters):
    """Parameters of `retention`."""

    mode: str = parameter("day_n", choice(*_USERS), "what counts as retained at an age")
    period: str = parameter(
        None,
        optional(choice("day", "week", "month")),
        "the length of a cohort and of an age step; when null a week, or a day with mode rolling",
        aliases=("period_unit", "unit"),
    )
    start_event: str | None = parameter(
        None, optional(text()), "the event that puts a user into a cohort; any when null", aliases=("start",)
    )
    return_event: str | None = parameter(
        None, optional(text()), "the event that counts as coming back; any when null", aliases=("return",)
    )
    zone: str = parameter("UTC", zone(), "whose calendar the periods follow", aliases=("timezone",))
    data_through: int | str | None = parameter(
        None,
        optional(moment()),
        "a second of the last period included; a date means its whole day; the last event's second when null",
        unit="Unix seconds",
    )
    max_age: int | None = parameter(None, optional(integer(0)), "the largest age to report", unit="periods")
    brackets: tuple[tuple[int, int], ...] = parameter(
        ((0, 0), (1, 7), (8, 30)),
        listing(listing(integer(0), low=2, high=2), low=1),
        "ages [low, high], both included, for mode bracket",
        unit="periods",
    )

    def __post_init__(self) -> None:
        """Choose the period; refuse rolling ones but days, and brackets that nobody can live through."""
        if not self.period:  # given as null, or not at all
            object.__setattr__(self, "period", "day" if self.mode == "rolling" else "week")
        if self.mode == "rolling" and self.period != "day":
            raise ParameterError(
                f"parameter period: {self.period!r} is not allowed; mode rolling counts days of 24 hours"
            )
        lows = [low for low, _ in self.brackets]
        if any(low > high for low, high in self.brackets) or len(set(lows)) != len(lows):
            raise ParameterError(
                f"parameter brackets: {[list(pair) for pair in self.brackets]} is not allowed;"
                " give [low, high] with low <= high and no low twice"
            )


def _is(event: str | None) -> str:
    return f"event = {text_literal(event)}" if event is not None else "TRUE"


@dataclass(frozen=True, slots=True)
class _Last:
    """The last period included.

    Attributes:
        first: the number of the first period that holds an event.
        number: of the last period.
        second: its last one.
        ended: whether `data_through` or any event reaches that second.
    """

    first: int
    number: int
    second: int
    ended: bool


def _reach(engine: Engine, parameters: Parameters, cal: Calendar) -> _Last:
    """The first period that holds an event, and the last one included."""
    row = engine.collect(query("staging", "time_range", relation="events")).to_pylist()[0]
    latest = row["latest"] or 0
    second = latest
    if parameters.data_through is not None:
        second = cal.moment(parameters.data_through, end_of_day=True)
    number = cal.period_of(second)
    last_second = cal.start_of(number + 1) - 1
    ended = max(second, latest) >= last_second
    return _Last(cal.period_of(row["earliest"] or 0), number, last_second, ended)


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Count, for each cohort and age, the users who came back.

    A user's cohort is the period (day, Monday week or calendar month of `zone`) of their first start event
    ever, so it does not depend on a report range. The age is the difference of period numbers: a return event
    anywhere in the cohort's period has age 0, so age 0 is 100 % when start and return event are the same.
    Events after the period of `data_through` do not count, those of that period all do.

    `day_n`: active in the period of that age. `unbounded`: last active at that age or later. `bracket`:
    active at any age low..high, both included; `age` is low. `rolling`: the age is the number of full
    24-hour days since the start's second, and its last day ends a calendar day later than with `day_n`.

    A cell exists only when the cohort has lived through it (cohort + age, or + high, is at most the
    period of `data_through`): later cells are absent, never zero. `mature` is false where the last period
    of the cell is that of `data_through` and neither `data_through` nor any event reaches its last
    second; for `rolling` also where the age's 24 hours of the cohort's latest user are not all over. `rate`
    is users / cohort_size, a fraction. `breakdown` is the property of the start event, `(all)` without one.
    `retention_pooled` adds up mature cells only.
    """
    cal = calendar(engine, parameters.period, parameters.zone, "events", parameters.data_through)
    last = _reach(engine, parameters, cal)
    if parameters.mode != "rolling" and last.number - last.first < BITS:
        _by_patterns(engine, parameters, present, cal, last)
    else:
        _by_periods(engine, parameters, present, cal, last)
    engine.materialize(
        "retention",
        query(
            "retention",
            "cells",
            cohort_start=cal.start("grid.cohort"),
            unit=literal(parameters.period),
            mode=literal(parameters.mode),
            mature=_mature(parameters, cal, last),
        ),
    )
    engine.view("retention_pooled", query("retention", "pooled"))
    return {"retention": "retention", "retention_pooled": "retention_pooled"}


def _mature(parameters: Parameters, cal: Calendar, last: _Last) -> str:
    """Whether all of a cell's time is covered; a rolling day is that of the cohort's latest user."""
    running = last.number + int(last.ended)
    if parameters.mode != "rolling":
        return f"grid.cohort + grid.age_last < {literal(running)}"
    lived = f"{cal.start('(grid.cohort + 1)')} + (grid.age_last + 1) * {SECONDS_PER_DAY}"
    return f"{lived} <= {literal(cal.start_of(running))}"


def _of_users(parameters: Parameters, present: Present, last: _Last) -> dict[str, str]:
    """The places that both ways to read the events fill in."""
    is_start = _is(parameters.start_event)
    breakdown = "'(all)'"
    if "breakdown" in present["events"]:
        breakdown = f"MIN_BY(COALESCE(breakdown, '(all)'), (time, seq)) FILTER (WHERE {is_start})"
    return {
        "is_start": is_start,
        "is_return": _is(parameters.return_event),
        "breakdown": breakdown,
        "data_through": literal(last.second),
    }


def _by_patterns(
    engine: Engine, parameters: Parameters, present: Present, cal: Calendar, last: _Last
) -> None:
    """Count users by the set of their ages, in one pass that keeps one number for each user."""
    dialect = engine.dialect
    one, first = literal(1), last.first
    bit = dialect.shift_left(one, f"{cal.index('time')} - {first}")
    engine.materialize(
        "retention_user_patterns",
        query("retention", "user_patterns", bit=bit, **_of_users(parameters, present, last)),
    )
    engine.materialize(
        "retention_patterns",
        query(
            "retention",
            "patterns",
            period=cal.index("started_at"),
            ages=dialect.shift_right("pattern", f"cohort - {first}"),
        ),
    )
    engine.view("retention_sizes", query("retention", "pattern_sizes"))
    engine.view("retention_grid", _grid(engine, parameters, last.number))
    since = dialect.shift_right("patterns.pattern", "grid.age")
    width = f"LEAST(grid.age_last - grid.age + 1, {BITS})"
    retained = {
        "day_n": f"{since} % 2 = 1",
        "unbounded": f"{since} > 0",
        "bracket": f"{since} % {dialect.shift_left(one, width)} > 0",
    }
    engine.view(
        "retention_users",
        query("retention", "pattern_users", is_retained=f"grid.age < {BITS} AND {retained[parameters.mode]}"),
    )


def _by_periods(engine: Engine, parameters: Parameters, present: Present, cal: Calendar, last: _Last) -> None:
    """Count users by their ages, a row for each user and age: any number of periods, and rolling days."""
    places = _of_users(parameters, present, last)
    engine.materialize(
        "retention_user_periods", query("retention", "user_periods", period=cal.index("time"), **places)
    )
    engine.materialize("retention_starts", query("retention", "starts"))
    if parameters.mode == "rolling":
        activity = query(
            "retention",
            "rolling_activity",
            is_return=places["is_return"],
            data_through=places["data_through"],
        )
    else:
        activity = query("retention", "activity")
    engine.materialize("retention_activity", activity)
    engine.view("retention_sizes", query("retention", "sizes"))
    engine.view("retention_grid", _grid(engine, parameters, last.number))
    engine.view("retention_users", query("retention", _USERS[parameters.mode]))


def _grid(engine: Engine, parameters: Parameters, last: int) -> str:
    if parameters.mode == "bracket":
        listed = ", ".join(f"({literal(low)}, {literal(high)})" for low, high in parameters.brackets)
        return query("retention", "brackets", brackets=listed, last_period=literal(last))
    oldest = f"{literal(last)} - cohort"
    if parameters.max_age is not None:
        oldest = f"LEAST({oldest}, {literal(parameters.max_age)})"
    return query("retention", "series", ages=engine.dialect.series(literal(0), oldest))


ANALYSIS = Analysis(
    name="retention",
    version=3,
    summary="how many users of each cohort came back at each age",
    inputs=(EVENTS, IDENTITY_EDGES),
    outputs=(
        OutputTable(
            "retention",
            (
                bigint("cohort_start", "first second of the cohort's period", unit="Unix seconds"),
                varchar("period_unit"),
                bigint("cohort_size", "users"),
                integer_column("age", unit="periods"),
                bigint("users"),
                double("rate", "users / cohort_size", nullable=True, unit="fraction"),
                varchar("mode"),
                boolean("mature", "the cell's last period is over"),
                varchar("breakdown"),
            ),
            key=("breakdown", "cohort_start", "age"),
            order="breakdown, cohort_start, age",
        ),
        OutputTable(
            "retention_pooled",
            (
                varchar("period_unit"),
                integer_column("age", unit="periods"),
                varchar("mode"),
                varchar("breakdown"),
                bigint("users"),
                bigint("cohort_size", "users in cohorts whose cell is mature"),
                double("rate", nullable=True, unit="fraction"),
            ),
            key=("breakdown", "age"),
            order="breakdown, age",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
