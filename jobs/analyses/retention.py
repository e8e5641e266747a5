"""Retention: of the users who started in a period, how many came back, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses import periods
from jobs.analyses.analysis import SECONDS_PER_DAY, Analysis, Present
from jobs.analyses.inputs import EVENTS
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, instant, integer, listing, optional, parameter, text
from jobs.contracts.tables import OutputTable, bigint, boolean, double, varchar
from jobs.contracts.tables import integer as integer_column
from jobs.engine.text import literal, query, text_literal

if TYPE_CHECKING:
    from jobs.engine.port import Engine

_USERS = {"day_n": "users_at", "rolling": "users_at", "unbounded": "users_from", "bracket": "users_within"}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of `retention`."""

    mode: str = parameter("day_n", choice(*_USERS), "what counts as retained at an age")
    period: str = parameter(
        "week",
        choice("day", "week", "month"),
        "the length of a cohort and of an age step",
        aliases=("period_unit", "unit"),
    )
    start_event: str | None = parameter(
        None, optional(text()), "the event that puts a user into a cohort; any when null", aliases=("start",)
    )
    return_event: str | None = parameter(
        None, optional(text()), "the event that counts as coming back; any when null", aliases=("return",)
    )
    data_through: int | None = parameter(
        None,
        optional(instant(end_of_day=True)),
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
        """Refuse rolling periods that are not days, and brackets that nobody can live through."""
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


def _last_period(engine: Engine, parameters: Parameters) -> tuple[int, int, bool]:
    """The last period included: its number, its last second, and whether the data reaches that second."""
    dialect, unit = engine.dialect, parameters.period
    latest = engine.collect(query("staging", "latest", relation="events")).to_pylist()[0]["latest"] or 0
    second = latest if parameters.data_through is None else parameters.data_through
    number = periods.index(dialect, unit, literal(second))
    following = periods.start(dialect, unit, f"({number} + 1)")
    found = engine.collect(f"SELECT {number} AS last, {following} - 1 AS last_second").to_pylist()[0]
    return found["last"], found["last_second"], max(second, latest) >= found["last_second"]


def compute(engine: Engine, parameters: Parameters, _present: Present) -> dict[str, str]:
    """Count, for each cohort and age, the users who came back.

    A user's cohort is the period (UTC day, Monday week or calendar month) of their first start event ever,
    so it does not depend on a report range. The age is the difference of period numbers: a return event
    anywhere in the cohort's period has age 0, so age 0 is 100 % when start and return event are the same.
    Events after the period of `data_through` do not count, those of that period all do.

    `day_n`: active in the period of that age. `unbounded`: last active at that age or later. `bracket`:
    active at any age low..high, both included; `age` is low. `rolling`: the age is the number of full
    24-hour days since the start's second, and its last day ends a calendar day later than with `day_n`.

    A cell exists only when the cohort has lived through it (cohort + age, or + high, is at most the
    period of `data_through`): later cells are absent, never zero. `mature` is false where the last period
    of the cell is that of `data_through` and neither `data_through` nor any event reaches its last
    second; for `rolling` also where the age's last day runs into a day that is not covered. `rate` is
    users / cohort_size, a fraction. `breakdown` is the property of the start event, `(all)` without one.
    `retention_pooled` adds up mature cells only.
    """
    dialect, unit = engine.dialect, parameters.period
    last, through, ended = _last_period(engine, parameters)
    engine.materialize(
        "retention_starts",
        query(
            "retention",
            "starts",
            period=periods.index(dialect, unit, "time"),
            is_start=_is(parameters.start_event),
            data_through=literal(through),
        ),
    )
    age = f"{periods.index(dialect, unit, 'events.time')} - starts.cohort"
    if parameters.mode == "rolling":
        age = f"CAST(FLOOR((events.time - starts.started_at) / {SECONDS_PER_DAY}) AS BIGINT)"
    engine.materialize(
        "retention_activity",
        query(
            "retention",
            "activity",
            age=age,
            is_return=_is(parameters.return_event),
            data_through=literal(through),
        ),
    )
    engine.view("retention_sizes", query("retention", "sizes"))
    engine.view("retention_grid", _grid(engine, parameters, last))
    engine.view("retention_users", query("retention", _USERS[parameters.mode]))
    mature_before = last + (1 if ended else 0) - (1 if parameters.mode == "rolling" else 0)
    engine.materialize(
        "retention",
        query(
            "retention",
            "cells",
            cohort_start=periods.start(dialect, unit, "grid.cohort"),
            unit=literal(unit),
            mode=literal(parameters.mode),
            mature_before=literal(mature_before),
        ),
    )
    engine.view("retention_pooled", query("retention", "pooled"))
    return {"retention": "retention", "retention_pooled": "retention_pooled"}


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
    version=2,
    summary="how many users of each cohort came back at each age",
    inputs=(EVENTS,),
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
