"""Churn: who is active in each period, who is new, who stayed, who came back, and who is gone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import Analysis, Present
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import EVENTS, TRANSACTIONS
from jobs.analyses.zones import Calendar, calendar
from jobs.contracts.errors import InputError, ParameterError
from jobs.contracts.parameters import choice, moment, optional, parameter, text, zone
from jobs.contracts.tables import OutputTable, bigint, boolean, double, varchar
from jobs.engine.text import literal, query, text_literal

if TYPE_CHECKING:
    from jobs.engine.port import Engine


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters):
    """Parameters of `churn`."""

    period: str = parameter(
        "month",
        choice("day", "week", "month"),
        "the length of a period: a day, a Monday week or a calendar month",
        aliases=("period_unit", "unit"),
    )
    event: str | None = parameter(
        None, optional(text()), "the event that makes a user active; any when null", aliases=("active_event",)
    )
    zone: str = parameter("UTC", zone(), "whose calendar the periods follow", aliases=("timezone",))
    data_through: int | str | None = parameter(
        None,
        optional(moment()),
        "a second of the last period included; a date means its whole day; the last row's second when null",
        unit="Unix seconds",
    )
    from_: int | str | None = parameter(
        None,
        optional(moment()),
        "a second of the first period reported; the first with anybody active when null",
        unit="Unix seconds",
    )


def _check_inputs(given: frozenset[str]) -> None:
    if len(given & {"events", "transactions"}) != 1:
        raise InputError("churn reads events or transactions: give one of the two, as --input events=FILE")


def compute(engine: Engine, parameters: Parameters, present: Present) -> dict[str, str]:
    """Count, for each period, the flows of users between active and not.

    A user is active in a period (day, Monday week or calendar month of `zone`) with at least one row in it:
    an event of the kind `event`, or a purchase (an amount of at least 0). `new`: never active before, in all
    of the history and not only in the report's range. `returning`: active in the period before, too.
    `resurrected`: active before, but not in the period before. So active = new + returning + resurrected.

    `churned`: active in the period before and not in this one; previous_active = returning + churned.
    `churn_rate` is churned / previous_active, a fraction, NULL when nobody was active before. A period in
    which nobody was active has a row with zeros. Rows after the period of `data_through` do not count.
    `mature` is false for the period of `data_through` when neither it nor any row reaches its last second:
    who is missing there may still come. Rows that make nobody active (other events, refunds) say how far the
    data reaches, too. There are no ties: a user counts once for each period.
    """
    table = relation = "events"
    if "events" not in present:
        table, relation = "transactions", "churn_purchases"
        engine.view(relation, query("churn", "purchases"))
        if parameters.event is not None:
            raise ParameterError("parameter event: transactions have no events; leave it out")
    given = (parameters.data_through, parameters.from_)
    cal = calendar(engine, parameters.period, parameters.zone, table, *given)
    first, last, ended = _bounds(engine, parameters, cal, table)
    engine.materialize(
        "churn_active",
        query(
            "churn",
            "active",
            period=cal.index("time"),
            relation=relation,
            is_active="TRUE" if parameters.event is None else f"event = {text_literal(parameters.event)}",
            data_through=literal(cal.start_of(last + 1) - 1),
        ),
    )
    engine.view("churn_flows", query("churn", "flows"))
    if first is None:
        row = engine.collect("SELECT MIN(period) AS first FROM churn_active").to_pylist()[0]
        first = last + 1 if row["first"] is None else row["first"]
    engine.view(
        "churn_grid", query("churn", "grid", periods=engine.dialect.series(literal(first), literal(last)))
    )
    engine.view(
        "churn",
        query(
            "churn",
            "churn",
            period_start=cal.start("grid.period"),
            unit=literal(parameters.period),
            new=engine.dialect.identifier("new"),
            returning=engine.dialect.identifier("returning"),
            mature_before=literal(last + int(ended)),
        ),
    )
    return {"churn": "churn"}


def _bounds(
    engine: Engine, parameters: Parameters, cal: Calendar, table: str
) -> tuple[int | None, int, bool]:
    """The first period reported, the last one, and whether the data reaches the last one's end."""
    latest = engine.collect(query("staging", "latest", relation=table)).to_pylist()[0]["latest"] or 0
    second = latest
    if parameters.data_through is not None:
        second = cal.moment(parameters.data_through, end_of_day=True)
    last = cal.period_of(second)
    ended = max(second, latest) >= cal.start_of(last + 1) - 1
    if parameters.from_ is None:
        return None, last, ended
    first = cal.period_of(cal.moment(parameters.from_))
    if first > last:
        raise ParameterError(
            f"parameters from and data_through: {parameters.from_}..{parameters.data_through or latest}"
            " holds no period; give from <= data_through"
        )
    return first, last, ended


ANALYSIS = Analysis(
    name="churn",
    version=2,
    summary="who is new, who stayed, who came back and who is gone, period by period",
    inputs=(
        dataclasses.replace(EVENTS, required=False),
        dataclasses.replace(TRANSACTIONS, required=False),
        IDENTITY_EDGES,
    ),
    outputs=(
        OutputTable(
            "churn",
            (
                bigint("period_start", "the period's first second", unit="Unix seconds"),
                varchar("period_unit"),
                bigint("active", "users"),
                bigint("new", "never active before"),
                bigint("returning", "active in the period before, too"),
                bigint("resurrected", "active before, but not in the period before"),
                bigint("churned", "active in the period before, not in this one"),
                bigint("previous_active", "returning + churned"),
                double("churn_rate", "churned / previous_active", nullable=True, unit="fraction"),
                boolean("mature", "the period is over"),
            ),
            key=("period_start",),
            order="period_start",
        ),
    ),
    parameters=Parameters,
    compute=compute,
    check_inputs=_check_inputs,
)
