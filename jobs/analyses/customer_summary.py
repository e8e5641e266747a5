"""Frequency, recency, age and money of every customer: the table that lifetime value models are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses import periods
from jobs.analyses.analysis import SECONDS_PER_DAY, Analysis, Present
from jobs.analyses.inputs import TRANSACTIONS
from jobs.contracts.parameters import choice, instant, integer, optional, parameter
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.engine.text import literal, query

if TYPE_CHECKING:
    from jobs.engine.port import Engine


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of `customer_summary`."""

    end: int | None = parameter(
        None,
        optional(instant()),
        "the last day that counts, included; the last day with a transaction when null",
        unit="Unix seconds",
        aliases=("as_of", "E"),
    )
    unit: str = parameter(
        "day",
        choice("day", "week"),
        "the purchase period: a UTC day, or a Monday week",
        aliases=("period", "period_unit"),
    )
    freq_multiplier: int = parameter(
        1,
        integer(1),
        "recency and T are divided by it: 7 with unit day gives weeks as the literature counts them",
    )


def last_day(engine: Engine, given: int | None) -> int:
    """The day number that a report ends with: of the given second or the last transaction, else 0."""
    if given is not None:
        return given // SECONDS_PER_DAY
    latest = engine.collect(query("staging", "latest", relation="transactions")).to_pylist()[0]["latest"]
    return 0 if latest is None else latest // SECONDS_PER_DAY


def compute(engine: Engine, parameters: Parameters, _present: Present) -> dict[str, str]:
    """Summarise each customer's purchases up to the day `end`, included; later rows are ignored.

    Purchases on the same UTC day (or Monday week) merge into one. A refund (amount below 0) is no purchase
    and no money here; a purchase of 0 counts. A customer with refunds only has no row.

    `frequency` counts purchase periods but the first. `recency` is last minus first period, `T` is the
    period of `end` minus the first, both in units of `unit` divided by `freq_multiplier`. `monetary_minor`
    is the mean of the sums of the repeat periods, 0 without any. There are no ties: one row for each
    customer.
    """
    day = last_day(engine, parameters.end)
    dialect = engine.dialect
    engine.view(
        "purchase_periods",
        query(
            "customers",
            "purchase_periods",
            period=periods.index(dialect, parameters.unit, "time"),
            last_day=literal(day),
        ),
    )
    engine.view(
        "customer_summary",
        query(
            "customers",
            "summary",
            multiplier=literal(parameters.freq_multiplier),
            last_period=periods.index(dialect, parameters.unit, literal(day * SECONDS_PER_DAY)),
            unit=literal(parameters.unit),
        ),
    )
    return {"customer_summary": "customer_summary"}


ANALYSIS = Analysis(
    name="customer_summary",
    version=1,
    summary="frequency, recency, T and mean value of every customer",
    inputs=(TRANSACTIONS,),
    outputs=(
        OutputTable(
            "customer_summary",
            (
                varchar("customer_id"),
                bigint("frequency", "purchase periods but the first"),
                double("recency", "last minus first purchase period", unit="unit x freq_multiplier"),
                double("T", "end minus first purchase period", unit="unit x freq_multiplier"),
                double(
                    "monetary_minor", "mean of the repeat periods' sums, else 0", unit="minor currency units"
                ),
                varchar("unit"),
            ),
            key=("customer_id",),
            order="customer_id",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
