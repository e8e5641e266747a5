"""Frequency, recency, age and money of every customer: the table that lifetime value models are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.analyses.analysis import SECONDS_PER_DAY, Analysis, Present
from jobs.analyses.identity import IDENTITY_EDGES, StitchParameters
from jobs.analyses.inputs import TRANSACTIONS
from jobs.analyses.zones import UTC_ONLY, Calendar, calendar
from jobs.contracts.errors import ParameterError
from jobs.contracts.parameters import choice, integer, moment, optional, parameter, zone
from jobs.contracts.tables import OutputTable, bigint, double, varchar
from jobs.engine.text import literal, query
from jobs.native.library import library
from jobs.native.purchases import BYTES_OF_ROW, summed_purchases

if TYPE_CHECKING:
    from jobs.engine.port import Engine

#: Small enough to be in the processor's cache still when the kernel reads what the engine has written.
_BATCH_ROWS = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Parameters(StitchParameters):
    """Parameters of `customer_summary`."""

    end: int | str | None = parameter(
        None,
        optional(moment()),
        "the last day that counts, included; the last day with a transaction when null",
        unit="Unix seconds",
        aliases=("as_of", "E", "E2", "holdout_end"),
    )
    calibration_end: int | str | None = parameter(
        None,
        optional(moment()),
        "also make customer_holdout: the summary up to this day, included, and what came after it",
        unit="Unix seconds",
        aliases=("E1",),
    )
    zone: str = parameter("UTC", zone(), "whose days and weeks they are", aliases=("timezone",))
    unit: str = parameter(
        "day",
        choice("day", "week"),
        "the purchase period: a day, or a Monday week",
        aliases=("period", "period_unit"),
    )
    freq_multiplier: int = parameter(
        1,
        integer(1),
        "recency and T are divided by it: 7 with unit day gives weeks as the literature counts them",
    )


def last_day(engine: Engine, cal: Calendar, given: int | str | None) -> int:
    """The day number that a report ends with: of the given moment or the last transaction, else 0."""
    days = Calendar(cal.dialect, "day", cal.offsets)
    if given is not None:
        return days.period_of(cal.moment(given))
    latest = engine.collect(query("staging", "latest", relation="transactions")).to_pylist()[0]["latest"]
    return 0 if latest is None else days.period_of(latest)


def compute(engine: Engine, parameters: Parameters, _present: Present) -> dict[str, str]:
    """Summarise each customer's purchases up to the day `end`, included; later rows are ignored.

    Purchases on the same day (or Monday week) of `zone` merge into one. A refund (amount below 0) is no
    purchase and no money here; a purchase of 0 counts. A customer with refunds only has no row.

    `frequency` counts purchase periods but the first. `recency` is last minus first period, `T` is the
    period of `end` minus the first, both in units of `unit` divided by `freq_multiplier`. `monetary_minor`
    is the mean of the sums of the repeat periods, 0 without any. There are no ties: one row for each
    customer.

    With `calibration_end` there is `customer_holdout`, too: the same numbers up to that day as `*_cal`, and
    for the days after it up to `end` the purchase periods (`frequency_holdout`), the mean of their sums
    (`monetary_holdout`, 0 without any) and `duration`, the time from one day to the other in the same unit
    as T. Customers who bought for the first time after `calibration_end` have no row there.
    """
    cal = calendar(
        engine, parameters.unit, parameters.zone, "transactions", parameters.end, parameters.calibration_end
    )
    day = last_day(engine, cal, parameters.end)
    # Every row lies before the end of the last day with a transaction.
    until = "TRUE" if parameters.end is None else _until(cal, day)
    _summarise(engine, parameters, cal, day, "customer_summary", until)
    if parameters.calibration_end is None:
        return {"customer_summary": "customer_summary"}
    split = last_day(engine, cal, parameters.calibration_end)
    if split >= day:
        raise ParameterError(
            f"parameter calibration_end: {parameters.calibration_end!r} is not allowed;"
            " give a day before `end`, so that something is held out"
        )
    _summarise(engine, parameters, cal, split, "customer_calibration", _until(cal, split))
    held = query(
        "customers",
        "held_out",
        period=cal.index("time"),
        day=cal.day("time"),
        after_day=literal(split),
        last_day=literal(day),
    )
    engine.view("customer_held_out", held)
    step = {"day": 1, "week": 7}[parameters.unit] * parameters.freq_multiplier
    engine.view(
        "customer_holdout",
        query("customers", "holdout", duration=literal((day - split) / step), unit=literal(parameters.unit)),
    )
    return {"customer_summary": "customer_summary", "customer_holdout": "customer_holdout"}


def _until(cal: Calendar, day: int) -> str:
    return f"{cal.day('time')} <= {literal(day)}"


def _summarise(  # noqa: PLR0917 - what a summary is made of
    engine: Engine, parameters: Parameters, cal: Calendar, day: int, name: str, until: str
) -> None:
    _know(engine, cal, f"{name}_known", until)
    utc = Calendar(cal.dialect, parameters.unit, UTC_ONLY)
    engine.view(
        name,
        query(
            "customers",
            "summary",
            known=f"{name}_known",
            multiplier=literal(parameters.freq_multiplier),
            last_period=literal(utc.period_of(day * SECONDS_PER_DAY)),
            unit=literal(parameters.unit),
        ),
    )


def _know(engine: Engine, cal: Calendar, known: str, until: str) -> None:
    """Every customer's periods as a relation: by the compiled kernel where rows stream, else by SQL."""
    period = cal.index("time")
    kernel = library() if engine.dialect.has_asof_join else None
    if kernel is None:
        periods = f"{known}_periods"
        engine.view(periods, query("customers", "purchase_periods", period=period, until=until))
        engine.view(known, query("customers", "known", periods=periods))
        return
    rows = engine.collect(query("staging", "count", relation="transactions")).to_pylist()[0]["n"]
    passes = 1 + rows * BYTES_OF_ROW // max(engine.spare_memory, 1)
    purchases = query("customers", "purchases", period=period, until=until)
    found = summed_purchases(kernel, lambda: engine.stream(purchases, _BATCH_ROWS, ahead=False), passes)
    engine.register_arrow(known, found)


ANALYSIS = Analysis(
    name="customer_summary",
    version=2,
    summary="frequency, recency, T and mean value of every customer",
    inputs=(TRANSACTIONS, IDENTITY_EDGES),
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
        OutputTable(
            "customer_holdout",
            (
                varchar("customer_id"),
                bigint("frequency_cal", "purchase periods but the first, up to calibration_end"),
                double("recency_cal", unit="unit x freq_multiplier"),
                double("T_cal", "calibration_end minus first period", unit="unit x freq_multiplier"),
                double("monetary_minor_cal", unit="minor currency units"),
                bigint("frequency_holdout", "purchase periods after calibration_end, up to end"),
                double(
                    "monetary_holdout", "mean of these periods' sums, else 0", unit="minor currency units"
                ),
                double("duration", "end minus calibration_end", unit="unit x freq_multiplier"),
                varchar("unit"),
            ),
            key=("customer_id",),
            order="customer_id",
            doc="only with calibration_end",
        ),
    ),
    parameters=Parameters,
    compute=compute,
)
